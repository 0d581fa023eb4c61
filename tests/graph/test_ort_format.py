"""ONNX Runtime's own format, the same bytes every time."""

from pathlib import Path

import numpy as np

from compress import runtime
from compress.graph import ort_format, quantize
from compress.graph.ort_format import to_ort_format
from compress.graph.write import seal
from tests.graph.conftest import Written
from tests.tiny_models import write_classifier


def test_converting_again_gives_the_same_bytes(
    small_cnn: Written, calibrated: quantize.Calibrated
) -> None:
    # onnxruntime's own order differed in 6 of 6 conversions; eight equal ones are no accident
    card = small_cnn.changed(precision="int8")
    data = seal(quantize.quantize(calibrated, target="portable"), card)
    assert len({to_ort_format(data) for _ in range(8)}) == 1


def test_the_converted_model_answers_the_same_and_keeps_its_card(
    small_cnn: Written, resnet20: Written
) -> None:
    for written in (small_cnn, resnet20):
        data = seal(written.graph, written.card)
        session = runtime.open_session(to_ort_format(data))
        assert runtime.read_card(session) == written.card
        images = written.images[:10]
        np.testing.assert_allclose(
            runtime.logits(session, written.card, images),
            runtime.logits(runtime.open_session(data), written.card, images),
            atol=1e-4,
        )


def test_a_name_that_the_graph_has_too_stays_with_the_graph(tmp_path: Path) -> None:
    """Its reduction has an input called `axes`, as the operator's definition does."""
    data = write_classifier(tmp_path / "model.onnx").read_bytes()
    converted = {to_ort_format(data) for _ in range(8)}
    assert len(converted) == 1
    runtime.open_session(converted.pop())


def test_int8_answers_are_bit_equal(small_cnn: Written, calibrated: quantize.Calibrated) -> None:
    card = small_cnn.changed(precision="int8")
    data = seal(quantize.quantize(calibrated, target="portable"), card)
    given = runtime.logits(runtime.open_session(to_ort_format(data)), card, small_cnn.images[:50])
    expected = runtime.logits(runtime.open_session(data), card, small_cnn.images[:50])
    assert np.array_equal(given, expected)


def test_what_is_written_anew_says_the_same() -> None:
    from flatbuffers import encode
    from flatbuffers.packer import uoffset
    from flatbuffers.table import Table

    resolver = {
        ":Conv:11": {"T": [(0, 1), (1, 0)], "W": []},
        ":Add:14": {"T": [(0, 0)]},
    }
    blob = ort_format._write(resolver)
    assert ort_format._read(Table(blob, encode.Get(uoffset, blob, 0))) == resolver
    other = {key: dict(reversed(list(value.items()))) for key, value in reversed(resolver.items())}
    assert ort_format._write(other) == blob
