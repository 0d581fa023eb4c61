"""Float16 form: weights and activations in half precision, input and output as they were."""

import warnings

from onnx import ModelProto
from onnxruntime.transformers.float16 import convert_float_to_float16

from compress.graph.quantize import preprocessing
from compress.graph.write import finish


def to_float16(model: ModelProto) -> ModelProto:
    """Convert a float graph; the preprocessing stays in float32.

    Args:
        model: A float graph that answers logits; left as it is.

    Returns:
        A graph with float16 weights that takes and answers what the float graph did.
    """
    source = ModelProto()
    source.CopyFrom(model)
    with warnings.catch_warnings():
        # tiny weights become the smallest float16 numbers: its notice says so for each tensor
        warnings.simplefilter("ignore")
        converted: ModelProto = convert_float_to_float16(
            source, keep_io_types=True, node_block_list=preprocessing(source)
        )
    return finish(converted)
