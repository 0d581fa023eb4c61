import os
import time
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import log_loss, top_k_accuracy_score

from compress import runtime
from compress.cache import cache_folder
from compress.data.images import ImageSet
from compress.errors import InputError, UnusableError
from compress.measure import accuracy
from compress.measure.accuracy import labels_for, logits, score
from compress.records.model_card import ModelCard
from tests.tiny_models import coloured_images, write_classifier

LABELS = [0, 1, 2] * 50


def opened(path: Path) -> ModelCard:
    return runtime.read_card(runtime.open_session(path))


def kept() -> list[Path]:
    return sorted((cache_folder() / "logits").glob("*.npy"))


def test_answers_come_in_the_order_of_the_images(tmp_path: Path) -> None:
    model = write_classifier(tmp_path / "m.onnx")
    images = coloured_images(LABELS)
    answers = logits(model, opened(model), images)
    expected = images.images[:].mean(axis=(1, 2)) * 0.05
    assert answers.dtype == np.float32
    np.testing.assert_allclose(answers, expected, rtol=1e-5)


def test_both_input_layouts_answer_the_same(tmp_path: Path) -> None:
    images = coloured_images(LABELS)
    answers = [
        logits(path, opened(path), images)
        for layout in ("uint8-nhwc", "float-nchw")
        for path in [write_classifier(tmp_path / f"{layout}.onnx", layout=layout)]
    ]
    np.testing.assert_allclose(answers[0], answers[1], rtol=1e-4)


def test_a_second_bench_computes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = write_classifier(tmp_path / "m.onnx")
    card, images = opened(model), coloured_images(LABELS)
    first = logits(model, card, images)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(runtime, "logits", refuse)
    np.testing.assert_array_equal(logits(model, card, images), first)


def test_another_model_or_other_images_are_computed_anew(tmp_path: Path) -> None:
    model = write_classifier(tmp_path / "m.onnx")
    other = write_classifier(tmp_path / "other.onnx", answers=(1, 0, 2))
    images = coloured_images(LABELS)
    logits(model, opened(model), images)
    logits(other, opened(other), images)
    logits(model, opened(model), coloured_images(LABELS, seed=1))
    logits(model, opened(model), images, unsaturated=True)
    assert len(kept()) == 4


def test_two_normalisations_of_one_file_do_not_share_their_answers(tmp_path: Path) -> None:
    model = write_classifier(tmp_path / "m.onnx", layout="float-nchw", card=False)
    images = coloured_images(LABELS)
    told = opened(model).model_copy(update={"mean": (0.0,) * 3, "std": (1.0,) * 3})
    plain = logits(model, told, images)
    halved = logits(model, told.model_copy(update={"std": (2.0,) * 3}), images)
    np.testing.assert_allclose(halved, plain / 2, rtol=1e-5)
    shifted = logits(model, told.model_copy(update={"mean": (0.1, 0.0, 0.0)}), images)
    assert not np.array_equal(shifted, plain)


def test_an_output_taken_for_probabilities_is_not_one_of_logits(tmp_path: Path) -> None:
    model = write_classifier(tmp_path / "m.onnx")
    card, images = opened(model), coloured_images(LABELS)
    plain = logits(model, card, images)
    found = logits(model, card.model_copy(update={"output": "softmax"}), images)
    np.testing.assert_allclose(found, np.log(plain), rtol=1e-5)


def test_another_version_of_this_program_computes_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_classifier(tmp_path / "m.onnx")
    images = coloured_images(LABELS)
    logits(model, opened(model), images)
    monkeypatch.setattr(accuracy, "VERSION", "0.0.0")
    logits(model, opened(model), images)
    assert len(kept()) == 2


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_damaged_kept_answers_are_computed_again(tmp_path: Path, damage: bytes | None) -> None:
    model = write_classifier(tmp_path / "m.onnx")
    card, images = opened(model), coloured_images(LABELS)
    first = logits(model, card, images)
    (place,) = kept()
    content = bytearray(place.read_bytes())
    content[-40] ^= 1
    place.write_bytes(bytes(content) if damage is None else damage)
    np.testing.assert_array_equal(logits(model, card, images), first)
    assert accuracy._read(place, len(LABELS)) is not None


def test_the_longest_unused_answers_go_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_classifier(tmp_path / "m.onnx")
    card = opened(model)
    sets = [coloured_images(LABELS, seed=seed) for seed in range(3)]
    monkeypatch.setattr(accuracy, "CACHE_BYTES", 4500)  # one file has 128 + 150 * 3 * 4 + 32
    places = []
    for age, images in ((300, sets[0]), (200, sets[1])):
        before = set(kept())
        logits(model, card, images)
        (place,) = set(kept()) - before
        os.utime(place, (time.time() - age,) * 2)
        places.append(place)
    logits(model, card, sets[0])  # written first, used last
    logits(model, card, sets[2])
    assert len(kept()) == 2
    assert places[0] in kept()
    assert places[1] not in kept()


def test_a_cache_that_cannot_be_written_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setenv("COMPRESS_CACHE", str(blocked))
    model = write_classifier(tmp_path / "m.onnx")
    assert len(logits(model, opened(model), coloured_images(LABELS))) == len(LABELS)


def test_nan_answers_are_refused_with_the_first_image(tmp_path: Path) -> None:
    model = write_classifier(tmp_path / "m.onnx", nan=True)
    images = coloured_images(LABELS)
    pixels = np.asarray(images.images[:]).copy()
    pixels[[7, 100], ..., 2] = 0
    broken = ImageSet("b", pixels, images.labels, images.class_names)
    with pytest.raises(UnusableError, match=r"NaN .* 2 of 150 images, first for number 7"):
        logits(model, opened(model), broken)


def test_a_failing_model_stops_the_other_cores(tmp_path: Path) -> None:
    model = write_classifier(tmp_path / "m.onnx")
    with pytest.raises(InputError, match="takes images of 8x8x3"):
        logits(model, opened(model), coloured_images([0] * 2000, size=16))


def test_after_a_failure_nothing_more_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_classifier(tmp_path / "m.onnx")
    card, begun = opened(model), []

    def fail(*_: object) -> None:
        begun.append(1)
        time.sleep(0.01)
        raise InputError("no")

    monkeypatch.setattr(runtime, "logits", fail)
    monkeypatch.setattr(accuracy, "cores", lambda: 2)
    images = coloured_images([0] * 100 * accuracy.BLOCK)
    with pytest.raises(InputError, match="no"):
        logits(model, card, images)
    assert len(begun) < 50, "of 100 blocks"


def test_scores_equal_scikit_learns() -> None:
    generator = np.random.Generator(np.random.Philox(3))
    answers = generator.normal(0, 2, size=(400, 10)).astype(np.float32)
    labels = generator.integers(0, 10, size=400)
    found = score(answers, labels)
    everything = range(10)
    assert found.images == 400
    assert found.top1 == pytest.approx(
        top_k_accuracy_score(labels, answers, k=1, labels=everything)
    )
    assert found.top5 == pytest.approx(
        top_k_accuracy_score(labels, answers, k=5, labels=everything)
    )
    probabilities = np.exp(answers.astype(np.float64))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    assert found.nll == pytest.approx(log_loss(labels, probabilities, labels=everything))
    assert found.low < found.top1 < found.high


def test_a_graph_that_names_three_classes_has_no_top5() -> None:
    logits = np.eye(10, dtype=np.float32)
    assert score(logits, np.arange(10), named=3).top5 is None
    assert score(logits, np.arange(10), named=5).top5 == 1.0


def test_five_classes_have_no_top5() -> None:
    assert score(np.eye(5, dtype=np.float32), np.arange(5)).top5 is None


def card(*names: str) -> ModelCard:
    return ModelCard(name="m", architecture="small_cnn", class_names=names, image_size=8)


def test_labels_are_matched_by_class_name() -> None:
    images = coloured_images([0, 1, 2, 2], class_names=("red", "green", "blue"))
    found = labels_for(card("green", "grey", "blue", "red"), images)
    assert found is not None
    assert found.tolist() == [3, 0, 2, 2]


def test_a_model_without_class_names_is_taken_to_have_the_images() -> None:
    found = labels_for(card(), coloured_images([2, 0]))
    assert found is not None
    assert found.tolist() == [2, 0]


def test_a_class_the_model_does_not_know_is_named() -> None:
    with pytest.raises(InputError, match="does not know the class 'green'"):
        labels_for(card("red", "blue"), coloured_images([0, 1]))
    found = labels_for(card("blue", "red"), coloured_images([0, 2]))
    assert found is not None
    assert found.tolist() == [1, 0]


def test_unlabelled_images_have_no_labels() -> None:
    assert labels_for(card("red"), coloured_images([0], labelled=False)) is None
