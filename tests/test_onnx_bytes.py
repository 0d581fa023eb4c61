"""Reading an ONNX file's envelope without the onnx package, against what that package writes."""

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compress.errors import InputError
from compress.onnx_bytes import (
    DIGEST_KEY,
    content_digest,
    external_data,
    read_checked,
    read_metadata,
)


def model(**metadata: str) -> onnx.ModelProto:
    """One matrix product, with metadata."""
    weight = numpy_helper.from_array(np.ones((400, 2), dtype=np.float32), "weight")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "weight"], ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 400])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
        [weight],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    helper.set_model_props(made, metadata)
    return made


def sealed() -> bytes:
    """A model that holds its own digest."""
    made = model(a="1")
    digest = content_digest(made.SerializeToString(), source="x")
    helper.set_model_props(made, {"a": "1", DIGEST_KEY: digest})
    data: bytes = made.SerializeToString()
    return data


def test_metadata_are_read_as_onnx_wrote_them() -> None:
    written = {"compress.name": "tiny", "empty": "", "long": "ä" * 300}
    data = model(**written).SerializeToString()
    assert read_metadata(data, source="x") == written


def test_the_digest_covers_everything_but_its_own_entry() -> None:
    plain = model(a="1").SerializeToString()
    # with no digest inside, it is the plain sha256 of the file
    assert content_digest(plain, source="x") == hashlib.sha256(plain).hexdigest()
    assert content_digest(sealed(), source="x") == hashlib.sha256(plain).hexdigest()
    other = model(a="2").SerializeToString()
    assert content_digest(other, source="x") != content_digest(plain, source="x")


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(sealed())
    data, metadata = read_checked(path)
    assert data == sealed()
    assert metadata["a"] == "1"


def test_one_flipped_bit_anywhere_is_noticed(tmp_path: Path) -> None:
    data = sealed()
    path = tmp_path / "model.onnx"
    for place in range(0, len(data), 97):
        damaged = bytearray(data)
        damaged[place] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"altered|no ONNX model|outside"):
            read_checked(path)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    for length in (0, 1, 50, len(sealed()) // 2, len(sealed()) - 1):
        path.write_bytes(sealed()[:length])
        with pytest.raises(InputError, match=r"truncated|altered"):
            read_checked(path)


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * 100)
    with pytest.raises(InputError, match="no ONNX model"):
        read_checked(path)
    with pytest.raises(InputError, match="does not exist"):
        read_checked(tmp_path / "other.onnx")


def test_a_foreign_file_without_digest_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(model().SerializeToString())
    assert read_checked(path)[1] == {}


def test_weights_outside_the_file_are_found_and_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save_model(
        model(), path, save_as_external_data=True, location="weights.bin", size_threshold=100
    )
    assert external_data(path.read_bytes(), source="x") == ["weights.bin"]
    with pytest.raises(InputError, match=r"outside the file, in weights\.bin"):
        read_checked(path)


def _outside(name: str) -> TensorProto:
    """A tensor whose values lie in `name`.bin."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[2])
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", f"{name}.bin"
    return tensor


def _constant(name: str) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=_outside(name))


def _branch(name: str) -> onnx.GraphProto:
    return helper.make_graph([_constant(name)], name, [], [])


def test_weights_outside_are_found_wherever_a_tensor_may_be() -> None:
    graph = helper.make_graph([_constant("constant")], "g", [], [])
    node = helper.make_node("If", ["x"], ["y"], then_branch=_branch("then"))
    node.attribute.append(helper.make_attribute("more", [_branch("one_of_many")]))
    node.attribute.append(helper.make_attribute("tensors", [_outside("in_a_list")]))
    graph.node.append(node)
    sparse = graph.sparse_initializer.add()
    sparse.values.CopyFrom(_outside("values"))
    sparse.indices.CopyFrom(_outside("indices"))
    made = helper.make_model(graph)
    function = made.functions.add()
    function.node.append(_constant("in_a_function"))
    names = ("constant", "then", "one_of_many", "in_a_list", "values", "indices", "in_a_function")
    found = external_data(made.SerializeToString(), source="x")
    assert found == sorted(f"{name}.bin" for name in names)


def test_an_absolute_path_of_external_data_is_named(tmp_path: Path) -> None:
    made = model()
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/somewhere/else.bin"
    path = tmp_path / "model.onnx"
    path.write_bytes(made.SerializeToString())
    with pytest.raises(InputError, match="/somewhere/else"):
        read_checked(path)
