"""Graphs are clean, small, the same every time, and compute what torch computes."""

from collections import Counter

import numpy as np
import onnx
import pytest
import torch
from onnx import ModelProto, TensorProto, helper
from torch import nn

from compress import runtime
from compress.errors import UnusableError
from compress.graph import write
from compress.graph.parity import torch_logits
from compress.models import registry
from compress.onnx_bytes import DIGEST_KEY, content_digest
from compress.records.model_card import ModelCard
from tests.graph.conftest import Written


def copy(model: ModelProto) -> ModelProto:
    other = ModelProto()
    other.CopyFrom(model)
    return other


def test_a_graph_computes_what_torch_computes(small_cnn: Written, resnet20: Written) -> None:
    for written in (small_cnn, resnet20):
        session = runtime.open_session(write.seal(written.graph, written.card))
        images = written.images[:100]
        expected = torch_logits(written.classifier, images)
        given = runtime.logits(session, runtime.read_card(session), images)
        np.testing.assert_allclose(given, expected, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("batch", ["1", "dynamic"])
def test_normalised_floats_can_be_the_input(small_cnn: Written, batch: str) -> None:
    classifier = small_cnn.classifier.get_submodule("model")
    size = small_cnn.card.image_size
    graph = write.write_graph(
        classifier, layout="float-nchw", image_size=size, batch="1" if batch == "1" else "dynamic"
    )
    card = small_cnn.changed(input_layout="float-nchw", batch=batch)
    session = runtime.open_session(write.seal(graph, card))
    assert session.get_inputs()[0].shape == [1 if batch == "1" else "batch", 3, size, size]
    expected = torch_logits(small_cnn.classifier, small_cnn.images[:40])
    given = runtime.logits(session, card, small_cnn.images[:40])
    np.testing.assert_allclose(given, expected, atol=1e-4)


def test_a_dynamic_graph_takes_any_number_of_images(small_cnn: Written) -> None:
    graph = write.write_graph(
        small_cnn.classifier,
        layout="uint8-nhwc",
        image_size=small_cnn.card.image_size,
        batch="dynamic",
    )
    session = runtime.open_session(write.seal(graph, small_cnn.changed(batch="dynamic")))
    many = session.run(None, {"image": small_cnn.images[:7]})[0]
    one = session.run(None, {"image": small_cnn.images[:1]})[0]
    assert many.shape == (7, 10)
    np.testing.assert_allclose(many[:1], one, atol=1e-5)


def test_batch_normalisation_is_folded_and_pooling_is_exact_in_integers(
    small_cnn: Written, resnet20: Written
) -> None:
    kinds = Counter(node.op_type for node in small_cnn.graph.graph.node)
    assert kinds["Conv"] == 6
    assert kinds["Gemm"] == 1
    assert kinds["GlobalAveragePool"] == 1
    for written in (small_cnn, resnet20):
        found = {node.op_type for node in written.graph.graph.node}
        assert not found & {"BatchNormalization", "ReduceMean"}


def test_layers_are_named_like_the_torch_modules(small_cnn: Written) -> None:
    assert write.layers(small_cnn.graph) == [
        *("stage1.0", "stage1.3", "stage2.0", "stage2.3", "stage3.0", "stage3.3", "linear")
    ]


def test_the_versions_are_the_oldest_that_hold_the_graph(small_cnn: Written) -> None:
    model = onnx.load_model_from_string(write.seal(small_cnn.graph, small_cnn.card))
    assert {(o.domain, o.version) for o in model.opset_import} == {("", 18)}
    assert model.ir_version == 8


def test_a_sealed_file_holds_nothing_of_how_it_was_built(small_cnn: Written) -> None:
    data = write.seal(small_cnn.graph, small_cnn.card)
    model = onnx.load_model_from_string(data)
    assert {entry.key.partition(".")[0] for entry in model.metadata_props} == {"compress"}
    assert all(not node.metadata_props for node in model.graph.node)
    assert all(not node.doc_string for node in model.graph.node)
    assert b"site-packages" not in data
    assert b"onnxsim" not in data


def test_a_sealed_file_holds_its_own_digest(small_cnn: Written) -> None:
    data = write.seal(small_cnn.graph, small_cnn.card)
    metadata = {e.key: e.value for e in onnx.load_model_from_string(data).metadata_props}
    assert metadata[DIGEST_KEY] == content_digest(data, source="x")


def test_writing_twice_gives_the_same_bytes(small_cnn: Written) -> None:
    again = write.write_graph(
        small_cnn.classifier, layout="uint8-nhwc", image_size=small_cnn.card.image_size
    )
    assert write.seal(again, small_cnn.card) == write.seal(small_cnn.graph, small_cnn.card)


def test_softmax_and_top_k_heads_follow_from_the_logits(small_cnn: Written) -> None:
    images = small_cnn.images[:20]
    logits = torch.from_numpy(torch_logits(small_cnn.classifier, images))
    shares = torch.softmax(logits, dim=1)
    softmax = write.add_head(small_cnn.graph, "softmax", classes=10, top_k=1)
    data = write.seal(softmax, small_cnn.changed(output="softmax"))
    given = runtime.raw_answers(runtime.open_session(data), images)
    np.testing.assert_allclose(given["probabilities"], shares.numpy(), atol=1e-5)
    best = write.add_head(small_cnn.graph, "top-k", classes=10, top_k=3)
    data = write.seal(best, small_cnn.changed(output="top-k", top_k=3))
    given = runtime.raw_answers(runtime.open_session(data), images)
    expected = shares.topk(3)
    np.testing.assert_allclose(given["probabilities"], expected.values.numpy(), atol=1e-5)
    assert given["classes"].tolist() == expected.indices.tolist()


def test_adding_a_head_leaves_the_graph_as_it_was(small_cnn: Written) -> None:
    before = small_cnn.graph.SerializeToString(deterministic=True)
    write.add_head(small_cnn.graph, "softmax", classes=10, top_k=1)
    assert small_cnn.graph.SerializeToString(deterministic=True) == before


def test_another_opset_is_refused(small_cnn: Written) -> None:
    model = copy(small_cnn.graph)
    model.opset_import[0].version = 17
    with pytest.raises(UnusableError, match="opset 17, asked for 18"):
        write.finish(model)


def test_an_invalid_graph_is_refused_in_one_line(small_cnn: Written) -> None:
    model = copy(small_cnn.graph)
    model.graph.node[4].input[0] = "nowhere"
    with pytest.raises(UnusableError, match="not valid") as caught:
        write.seal(model, small_cnn.card)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda m: setattr(m.graph.node[0], "doc_string", "made here"), "traces"),
        (lambda m: helper.set_model_props(m, {"onnxsim.x": "1"}), "onnxsim"),
        (lambda m: setattr(m.graph, "doc_string", "/home/me/model.py"), "/home/me"),
        (lambda m: setattr(m.graph.initializer[0], "data_location", TensorProto.EXTERNAL), "m: "),
    ],
)
def test_what_a_device_should_not_get_is_refused(
    small_cnn: Written, spoil: object, said: str
) -> None:
    model = onnx.load_model_from_string(write.seal(small_cnn.graph, small_cnn.card))
    assert callable(spoil)
    spoil(model)
    with pytest.raises(UnusableError, match=said):
        write.check_clean(model.SerializeToString(), source="m")


def test_nodes_in_the_wrong_order_are_sorted(small_cnn: Written) -> None:
    model = copy(small_cnn.graph)
    nodes = list(reversed(model.graph.node))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    finished = write.finish(model)
    names = [node.name for node in finished.graph.node]
    assert names == [node.name for node in small_cnn.graph.graph.node]


def test_bytes_moved_are_weights_and_maps_of_each_layer() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(4 * 64, 5))
    graph = write.write_graph(model.eval(), layout="float-nchw", image_size=8)
    weights = 4 * 3 * 9 + 5 * 256
    maps = (3 * 64 + 4 * 64) + (4 * 64 + 5)
    assert write.bytes_moved(graph, "fp32") == (4 * (weights + 9), 4 * maps)
    assert write.bytes_moved(graph, "int8") == (weights + 4 * 9, maps)
    assert write.bytes_moved(graph, "fp16") == (2 * (weights + 9), 2 * maps)


def test_every_model_can_be_written_at_its_smallest_size() -> None:
    for name in ("alexnet", "two_block_cnn"):
        torch.manual_seed(0)
        network = registry.build(name, classes=3, image_size=32, options={}).eval()
        graph = write.write_graph(network, layout="float-nchw", image_size=32)
        card = ModelCard(name=name, image_size=32, input_layout="float-nchw")
        session = runtime.open_session(write.seal(graph, card))
        images = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            expected = network(images).numpy()
        np.testing.assert_allclose(
            session.run(None, {"image": images.numpy()})[0], expected, atol=1e-5
        )
