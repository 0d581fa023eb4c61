"""Opening models, and asking them about images, whatever their layout and output."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from compress import runtime
from compress.environment import read_environment
from compress.errors import InputError, MachineError
from compress.evaluate import softmax
from compress.measure.artifact import open_artifact
from compress.records.model_card import ModelCard
from tests.tiny_models import COLOURS, coloured_images, write_classifier, write_identity

IMAGES = coloured_images([0, 1, 2, 2, 1, 0, 0])
LABELS = [0, 1, 2, 2, 1, 0, 0]


def test_a_model_answers_images_of_either_layout(tmp_path: Path) -> None:
    for layout in ("uint8-nhwc", "float-nchw"):
        path = write_classifier(tmp_path / f"{layout}.onnx", layout=layout)
        session = runtime.open_session(path)
        card = runtime.read_card(session)
        answers = runtime.logits(session, card, IMAGES.images[:])
        assert answers.dtype == np.float32
        assert answers.argmax(axis=1).tolist() == LABELS


def test_normalised_input_is_what_the_formula_says() -> None:
    card = ModelCard(
        name="x", image_size=8, mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 2.0),
        input_layout="float-nchw",
    )  # fmt: skip
    images = IMAGES.images[:2]
    expected = (images / 255 - [0.5, 0.25, 0.0]) / [0.5, 0.25, 2.0]
    given = runtime.prepare(images, card)
    assert given.shape == (2, 3, 8, 8)
    assert given.dtype == np.float32
    np.testing.assert_allclose(given, expected.transpose(0, 3, 1, 2), atol=2e-7)


def test_the_number_of_workers_does_not_change_the_answers(tmp_path: Path) -> None:
    session = runtime.open_session(write_classifier(tmp_path / "m.onnx"))
    card = runtime.read_card(session)
    images = coloured_images(np.arange(100) % 3).images[:]
    one = runtime.logits(session, card, images)
    assert np.array_equal(one, runtime.logits(session, card, images, workers=3))
    assert runtime.logits(session, card, images[:0]).shape == (0, 3)


def test_images_of_another_size_are_refused(tmp_path: Path) -> None:
    session = runtime.open_session(write_classifier(tmp_path / "m.onnx", size=16))
    card = runtime.read_card(session)
    with pytest.raises(InputError, match="takes images of 16x16x3, got 8x8x3"):
        runtime.logits(session, card, IMAGES.images[:])


def test_floats_without_normalisation_are_refused(tmp_path: Path) -> None:
    path = write_classifier(tmp_path / "m.onnx", layout="float-nchw", card=False)
    session = runtime.open_session(path)
    with pytest.raises(InputError, match="does not tell its mean and std"):
        runtime.prepare(IMAGES.images[:], runtime.read_card(session))


@pytest.mark.parametrize(
    ("layout", "said"), [("uint8-nhwc", "uint8-nhwc"), ("float-nchw", "float-nchw")]
)
def test_a_foreign_file_shows_its_input(tmp_path: Path, layout: str, said: str) -> None:
    path = write_classifier(tmp_path / "m.onnx", layout=layout, card=False)
    card = runtime.read_card(runtime.open_session(path), name="theirs")
    assert card.foreign
    assert (card.name, card.image_size, card.channels, card.batch) == ("theirs", 8, 3, "1")
    assert (card.input_layout, card.parameters, card.class_names) == (said, None, ())


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        (TensorProto.FLOAT, [1, 5]),
        (TensorProto.INT64, [1, 3, 8, 8]),
        (TensorProto.FLOAT, [1, 3, 8, 9]),
        (TensorProto.FLOAT, [1, 3, "height", "width"]),
    ],
)
def test_a_foreign_file_that_takes_no_image_is_refused(
    tmp_path: Path, kind: int, shape: list[int | str]
) -> None:
    session = runtime.open_session(write_identity(tmp_path / "m.onnx", kind, shape))
    with pytest.raises(InputError, match="theirs takes"):
        runtime.read_card(session, name="theirs")


@pytest.mark.parametrize(("batch", "said"), [(1, "1"), ("n", "dynamic"), (None, "dynamic")])
def test_a_foreign_batch_is_one_or_any(tmp_path: Path, batch: Any, said: str) -> None:
    path = write_identity(tmp_path / "m.onnx", TensorProto.FLOAT, [batch, 3, 8, 8])
    assert runtime.read_card(runtime.open_session(path)).batch == said


def test_a_foreign_file_with_a_larger_batch_is_refused_by_its_name(tmp_path: Path) -> None:
    path = write_identity(tmp_path / "m.onnx", TensorProto.FLOAT, [4, 3, 8, 8])
    with pytest.raises(InputError, match=r"m\.onnx takes exactly 4 images a call") as caught:
        open_artifact(path)
    assert "batch 1" in caught.value.hint


def test_a_foreign_file_of_two_inputs_is_refused_by_its_name(tmp_path: Path) -> None:
    image = [1, 3, 8, 8]
    graph = helper.make_graph(
        [helper.make_node("Add", ["left", "right"], ["y"])],
        "graph",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, image) for n in ("left", "right")],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, image)],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(InputError, match=r"m\.onnx takes 2 inputs \(left, right\), not one image"):
        open_artifact(tmp_path / "m.onnx")


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x08\x08" * 40])
def test_a_corrupt_file_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"cannot open .*m\.onnx") as caught:
        runtime.open_session(path)
    assert "\n" not in caught.value.message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.onnx does not exist"):
        runtime.open_session(tmp_path / "nothing.onnx")


def test_an_operator_that_onnxruntime_does_not_know_is_named(tmp_path: Path) -> None:
    path = write_classifier(tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes().replace(b"ReduceMean", b"ReduceMein"))
    with pytest.raises(InputError, match="ReduceMein"):
        runtime.open_session(path)


def test_an_absent_provider_is_refused_and_the_present_ones_are_listed(tmp_path: Path) -> None:
    path = write_classifier(tmp_path / "m.onnx")
    with pytest.raises(MachineError, match="TensorrtExecutionProvider") as caught:
        runtime.open_session(path, provider="TensorrtExecutionProvider")
    assert "CPUExecutionProvider" in caught.value.hint


def test_the_optimized_graph_is_saved_in_the_format_of_its_suffix(tmp_path: Path) -> None:
    path = write_classifier(tmp_path / "m.onnx")
    for name, magic in (("o.onnx", b"onnx"), ("o.ort", b"ORTM")):
        runtime.open_session(path, optimized_path=tmp_path / name)
        data = (tmp_path / name).read_bytes()
        assert (data[4:8] == magic) == (name == "o.ort")
        session = runtime.open_session(tmp_path / name)
        answers = runtime.logits(session, runtime.read_card(session), IMAGES.images[:])
        assert answers.argmax(axis=1).tolist() == LABELS


def test_probabilities_come_back_as_logarithms() -> None:
    card = ModelCard(name="x", image_size=8, class_names=("a", "b", "c"), output="softmax")
    shares = np.array([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]], dtype=np.float32)
    found = runtime._as_logits({"probabilities": shares}, card)
    np.testing.assert_allclose(np.exp(found), shares, atol=1e-6)
    assert np.isfinite(found).all()


def test_classes_that_top_k_leaves_out_share_the_rest() -> None:
    card = ModelCard(name="x", image_size=8, class_names=tuple("abcd"), output="top-k", top_k=2)
    answers = {
        "probabilities": np.array([[0.5, 0.3], [0.9, 0.1]], dtype=np.float32),
        "classes": np.array([[2, 0], [1, 3]]),
    }
    found = np.exp(runtime._as_logits(answers, card))
    np.testing.assert_allclose(found[0], [0.3, 0.1, 0.5, 0.1], atol=1e-6)
    np.testing.assert_allclose(found[1], [0, 0.9, 0, 0.1], atol=1e-6)


@pytest.mark.parametrize(
    ("classes", "shares"), [("ab", [0.6]), ("abc", [0.4, 0.35]), ("abc", [0.5, 0.25]), ("a", [1.0])]
)
def test_a_share_that_top_k_answers_stays_what_it_is(classes: str, shares: list[float]) -> None:
    given = {"class_names": tuple(classes), "output": "top-k", "top_k": len(shares)}
    card = ModelCard.model_validate({"name": "x", "image_size": 8, **given})
    order = np.arange(len(shares))[None, ::-1]
    values = np.array([shares], dtype=np.float32)
    answers: dict[str, NDArray[Any]] = {"probabilities": values, "classes": order}
    logits = runtime._as_logits(answers, card)
    np.testing.assert_allclose(softmax(logits)[0, order[0]], shares, atol=1e-5)
    assert logits[0].argmax() == order[0, 0]


@pytest.mark.parametrize(
    ("system", "sets", "expected"),
    [
        ("Linux x86_64", ("avx2",), True),
        ("Linux x86_64", ("avx2", "avx512f"), True),
        ("Linux x86_64", ("avx2", "avx_vnni"), False),
        ("Linux x86_64", ("avx2", "avx512_vnni"), False),
        ("Linux aarch64", ("asimddp",), False),
    ],
)
def test_only_x86_without_vnni_saturates(
    monkeypatch: pytest.MonkeyPatch, system: str, sets: tuple[str, ...], expected: bool
) -> None:
    found = read_environment().model_copy(update={"system": system, "instruction_sets": sets})
    monkeypatch.setattr(runtime, "read_environment", lambda: found)
    assert runtime.saturates() == expected
    assert runtime.lacks_arithmetic("vnni") == expected
    assert runtime.lacks_arithmetic("arm64") == expected
    assert not runtime.lacks_arithmetic("portable")
    assert not runtime.lacks_arithmetic(None)


def test_the_session_takes_the_options_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    real = onnxruntime.InferenceSession

    def spy(model: str, options: onnxruntime.SessionOptions, **rest: object) -> object:
        seen.append(options)
        return real(model, options, **rest)

    monkeypatch.setattr(onnxruntime, "InferenceSession", spy)
    path = write_classifier(tmp_path / "m.onnx")
    runtime.open_session(path, threads=2, unsaturated=True, spinning=False)
    entry = seen[0].get_session_config_entry
    assert seen[0].intra_op_num_threads == 2
    assert entry("session.x64quantprecision") == "1"
    assert entry("session.intra_op.allow_spinning") == "0"


def test_the_colours_are_told_apart_by_name(tmp_path: Path) -> None:
    session = runtime.open_session(write_classifier(tmp_path / "m.onnx"))
    assert runtime.read_card(session).class_names == COLOURS


def test_the_sides_of_one_that_pooling_leaves_are_no_part_of_an_answer() -> None:
    card = ModelCard(name="x", image_size=8)
    answers = np.arange(6, dtype=np.float32).reshape(2, 3)
    found = runtime._as_logits({"y": answers[:, :, None, None]}, card)
    assert np.array_equal(found, answers)


@pytest.mark.parametrize(
    "answers",
    [
        np.zeros((2, 3, 4, 1), np.float32),
        np.zeros(2, np.float32),
        np.zeros((2, 1), np.int64),
    ],
)
def test_an_answer_that_is_no_number_for_each_class_is_refused(answers: Any) -> None:
    card = ModelCard(name="theirs", image_size=8)
    with pytest.raises(runtime.NoClassesError, match=r"theirs answers .* not one number for each"):
        runtime._as_logits({"y": answers}, card)


def test_nothing_falls_back_to_another_provider(tmp_path: Path) -> None:
    session = runtime.open_session(write_classifier(tmp_path / "m.onnx"))
    assert not session._enable_fallback


def test_answers_are_probabilities_only_where_those_of_all_images_are() -> None:
    foreign = ModelCard(name="x", image_size=8)
    shares = np.full((70, 4), 0.25, dtype=np.float32)
    np.testing.assert_allclose(runtime.settled(shares, foreign), np.log(0.25))
    shares[69, 0] = 0.3
    assert np.array_equal(runtime.settled(shares, foreign), shares)
    shares[69] = (2, -1, 0, 0)
    assert np.array_equal(runtime.settled(shares, foreign), shares)


def test_logits_are_log_probabilities_only_where_those_of_all_images_are() -> None:
    logits = np.full((70, 4), np.log(0.25), dtype=np.float32)
    assert runtime.are_log_probabilities(logits)
    logits[69, 0] = np.log(0.3)
    assert not runtime.are_log_probabilities(logits)
    assert not runtime.are_log_probabilities(np.full((70, 4), 500, dtype=np.float32))


def test_an_output_whose_shape_depends_on_the_image_is_left_out(tmp_path: Path) -> None:
    """As that of a detector: (1, 4, k), with as many k as numbers are not 0."""
    nodes = [
        helper.make_node("Cast", ["x"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("NonZero", ["floats"], ["places"]),
        helper.make_node("Unsqueeze", ["places", "first"], ["found"]),
    ]
    constant = helper.make_tensor("first", TensorProto.INT64, [1], [0])
    outputs = [
        helper.make_tensor_value_info("found", TensorProto.INT64, [1, 4, "k"]),
        helper.make_tensor_value_info("floats", TensorProto.FLOAT, [1, 8, 8, 3]),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.UINT8, [1, 8, 8, 3])]
    pixels = np.zeros((2, 8, 8, 3), dtype=np.uint8)
    pixels[1, 0, 0, 0] = 1
    for order in (outputs, outputs[::-1]):
        graph = helper.make_graph(nodes, "g", inputs, order, [constant])
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
        session = runtime.open_session(tmp_path / "m.onnx")
        if order is outputs:
            with pytest.raises(InputError, match="'found' has no answer for each image"):
                runtime.raw_answers(session, pixels)
        else:
            assert list(runtime.raw_answers(session, pixels)) == ["floats"]
