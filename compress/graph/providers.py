"""How well a graph fits mobile accelerators, as ONNX Runtime's own tool sees it."""

import tempfile
from pathlib import Path

import onnx
from onnx import ModelProto
from onnxruntime.tools.mobile_helpers import usability_checker as checker
from onnxruntime.tools.onnx_model_utils import ModelProtoWithShapeInfo, optimize_model

from compress.records.artifact import ProviderFit
from compress.records.model_card import Precision

COREML = {
    "CoreML NeuralNetwork": "coreml_supported_neuralnetwork_ops.md",
    "CoreML MLProgram": "coreml_supported_mlprogram_ops.md",
}
VERDICTS = {"NO": "no", "MAYBE": "maybe", "YES": "yes"}


def provider_fit(model: ModelProto, precision: Precision) -> list[ProviderFit]:
    """Ask the tool about NNAPI and both forms of CoreML.

    Args:
        model: A graph with one image a call, or any number.
        precision: Of the graph, for the table.
    """
    with tempfile.TemporaryDirectory(prefix="compress-") as folder:
        path, optimized = Path(folder) / "model.onnx", Path(folder) / "basic.onnx"
        onnx.save_model(model, path)
        # as the tool does before it looks: constants folded, nothing fused
        optimize_model(path, optimized)
        shaped = ModelProtoWithShapeInfo(optimized).model_with_shape_info
    found = {"NNAPI": checker.check_nnapi_partitions(shaped, True)}
    for name, operators in COREML.items():
        found[name] = checker.check_coreml_partitions(shaped, True, operators)
    return [
        ProviderFit.model_validate(
            {
                "precision": precision,
                "provider": name,
                "nodes": info.num_nodes,
                "supported_nodes": info.num_supported_nodes,
                "partitions": info.num_partitions,
                "verdict": VERDICTS[info.suitability().name],
                "unsupported": tuple(sorted(info.unsupported_ops)),
            }
        )
        for name, info in found.items()
    ]
