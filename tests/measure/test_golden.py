"""Golden answers, and what counts as the same answer on another machine."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compress.errors import InputError
from compress.measure import golden
from compress.records.model_card import ModelCard

CARD = ModelCard(name="m", architecture="small_cnn", class_names=tuple("abc"), image_size=8)
EXACT = CARD.model_copy(
    update={"precision": "int8", "quantized_adds": 0, "kept_float": 0, "logit_step": 0.5}
)
LOOSE = EXACT.model_copy(update={"quantized_adds": 4})
SOFTMAX = CARD.model_copy(update={"output": "softmax"})
TOP_K = CARD.model_copy(update={"output": "top-k", "top_k": 2})


def logits(images: int = 20) -> dict[str, Any]:
    """Logits on the grid of a step of 0.5, class 0 well ahead."""
    values = np.tile(np.array([[6.0, 1.0, -2.5]], dtype=np.float32), (images, 1))
    return {"logits": values}


def moved(answers: dict[str, Any], image: int, output: int, by: float) -> dict[str, Any]:
    """The same answers with one number changed."""
    changed = {name: values.copy() for name, values in answers.items()}
    next(iter(changed.values()))[image, output] += by
    return changed


def made() -> golden.Golden:
    pixels = np.arange(2 * 192, dtype=np.uint8).reshape(2, 8, 8, 3)
    return golden.Golden(pixels, np.array([1, 2]), {"fp32": logits(2), "int8": logits(2)})


def test_golden_answers_come_back_from_the_file(tmp_path: Path) -> None:
    golden.save_golden(tmp_path / "golden.npz", made())
    found = golden.load_golden(tmp_path / "golden.npz")
    assert np.array_equal(found.inputs, made().inputs)
    assert found.labels.tolist() == [1, 2]
    assert set(found.expected) == {"fp32", "int8"}
    assert np.array_equal(found.expected["int8"]["logits"], logits(2)["logits"])


def test_equal_answers_make_equal_files_at_any_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    golden.save_golden(tmp_path / "a.npz", made())
    monkeypatch.setattr(time, "time", lambda: 2e9)
    golden.save_golden(tmp_path / "b.npz", made())
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04garbage", b"plain text"])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "golden.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        golden.load_golden(path)


def test_a_pickle_inside_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "golden.npz"
    np.savez(path, input=np.array([{"a": 1}], dtype=object), labels=np.zeros(1))
    with pytest.raises(InputError, match="damaged"):
        golden.load_golden(path)


def test_a_file_without_answers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "golden.npz"
    np.savez(path, input=np.zeros(1), labels=np.zeros(1))
    with pytest.raises(InputError, match="no golden answers"):
        golden.load_golden(path)
    answers: dict[str, Any] = {"fp32.logits": np.zeros((2, 3))}
    np.savez(path, input=np.zeros(1), labels=np.zeros(1), **answers)
    with pytest.raises(InputError, match="differ in number"):
        golden.load_golden(path)
    with pytest.raises(InputError, match="does not exist"):
        golden.load_golden(tmp_path / "other.npz")


@pytest.mark.parametrize(
    ("size", "layout", "expected"),
    [
        (32, "uint8-nhwc", 64),
        (224, "uint8-nhwc", 6),
        (32, "float-nchw", 64),
        (600, "float-nchw", 1),
    ],
)
def test_as_many_images_as_fit_into_a_mebibyte(
    tmp_path: Path, size: int, layout: str, expected: int
) -> None:
    card = CARD.model_copy(update={"image_size": size, "input_layout": layout})
    count = golden.how_many(card, 3)
    assert count == expected
    kind = np.uint8 if layout == "uint8-nhwc" else np.float32
    shape = (count, size, size, 3) if kind is np.uint8 else (count, 3, size, size)
    answers = {"logits": np.zeros((count, 3), dtype=np.float32)}
    full = golden.Golden(
        np.zeros(shape, dtype=kind),
        np.zeros(count, dtype=np.int64),
        {"fp32": answers, "fp16": answers, "int8": answers},
    )
    golden.save_golden(tmp_path / "golden.npz", full)
    assert (tmp_path / "golden.npz").stat().st_size <= 2**20 or count == 1


def test_exact_int8_must_be_bit_equal() -> None:
    assert golden.compare(logits(), logits(), EXACT).passed
    found = golden.compare(logits(), moved(logits(), 3, 2, 0.5), EXACT)
    assert not found.passed
    assert (found.different, found.top1_different, found.max_steps) == (1, 0, 1.0)
    assert found.allowed == "bit-equal logits"


def test_with_residual_adds_a_tenth_of_the_images_may_be_four_steps_off() -> None:
    two = moved(moved(logits(), 0, 2, 2.0), 7, 1, -2.0)
    found = golden.compare(logits(), two, LOOSE)
    assert found.passed
    assert (found.different, found.max_steps) == (2, 4.0)
    three = moved(two, 9, 2, 0.5)
    assert not golden.compare(logits(), three, LOOSE).passed
    assert not golden.compare(logits(), moved(logits(), 0, 2, 2.5), LOOSE).passed


def test_of_a_few_images_one_may_differ() -> None:
    assert golden.compare(logits(6), moved(logits(6), 0, 2, 0.5), LOOSE).passed


def test_another_best_class_fails_whatever_its_distance() -> None:
    near = {"logits": np.array([[1.0, 0.5, 0.0]] * 20, dtype=np.float32)}
    found = golden.compare(near, moved(near, 0, 1, 1.0), LOOSE)
    assert not found.passed
    assert found.top1_different == 1


def test_layers_in_float_make_int8_inexact() -> None:
    mixed = EXACT.model_copy(update={"kept_float": 1})
    assert golden.compare(logits(), moved(logits(), 0, 2, 0.5), mixed).passed


def noisy(answers: dict[str, Any], by: float) -> dict[str, Any]:
    """The same answers, every number moved a little."""
    return {name: values + np.float32(by) for name, values in answers.items()}


HEAD_IN_FLOAT = EXACT.model_copy(update={"quantized_adds": 4, "kept_float": 1, "logit_step": None})


def test_a_last_layer_in_float_may_differ_on_every_image() -> None:
    found = golden.compare(logits(), noisy(logits(), 3e-4), HEAD_IN_FLOAT)
    assert (found.passed, found.different) == (True, 0)
    # the logits span 8.5, so eight bits would make steps of 1/30: four of them are 0.133
    found = golden.compare(logits(), noisy(logits(), 0.13), HEAD_IN_FLOAT)
    assert (found.passed, found.different, found.max_steps) == (True, 20, None)
    assert found.allowed == "equal top-1, logits within 0.13"
    assert not golden.compare(logits(), moved(logits(), 0, 2, 0.14), HEAD_IN_FLOAT).passed
    assert not golden.compare(logits(), moved(logits(), 0, 1, 6.0), HEAD_IN_FLOAT).passed


@pytest.mark.parametrize("output", ["softmax", "top-k"])
def test_a_softmax_after_residual_adds_may_round_on_every_image(output: str) -> None:
    card = LOOSE.model_copy(update={"output": output, "top_k": 3})
    shares = np.tile(np.array([[0.7, 0.2, 0.1]], dtype=np.float32), (20, 1))
    answers: dict[str, Any] = {"probabilities": shares}
    if output == "top-k":
        answers["classes"] = np.tile(np.array([[2, 0, 1]]), (20, 1))
    given = {**answers, "probabilities": shares * np.float32(1.000001)}
    assert not np.array_equal(given["probabilities"], shares)
    found = golden.compare(answers, given, card)
    assert (found.passed, found.different) == (True, 0)
    # three images two steps off are more than a tenth
    given["probabilities"][:3] *= np.float32(0.7)
    found = golden.compare(answers, given, card)
    assert (found.passed, found.different) == (False, 3)


def test_infinite_answers_fail() -> None:
    endless = moved(logits(), 0, 0, np.inf)
    for card in (CARD, EXACT, LOOSE, HEAD_IN_FLOAT):
        found = golden.compare(logits(), endless, card)
        assert (found.passed, found.max_difference) == (False, np.inf)


def test_floats_must_agree_within_a_thousandth_of_the_largest_logit() -> None:
    assert golden.compare(logits(), moved(logits(), 0, 2, 0.005), CARD).passed
    found = golden.compare(logits(), moved(logits(), 0, 2, 0.007), CARD)
    assert not found.passed
    assert found.max_steps is None


def test_a_tie_within_the_tolerance_is_no_other_class() -> None:
    tie = {"logits": np.array([[5.0, 4.999, 0.0]], dtype=np.float32)}
    found = golden.compare(tie, moved(tie, 0, 1, 0.003), CARD)
    assert (found.top1_different, found.passed) == (0, True)


def test_answers_that_are_no_numbers_fail() -> None:
    for card in (CARD, EXACT, LOOSE, SOFTMAX, HEAD_IN_FLOAT):
        broken = moved(logits(), 0, 0, np.nan)
        assert not golden.compare(logits(), broken, card).passed


def test_probabilities_are_compared_as_logarithms() -> None:
    shares = {"probabilities": np.array([[0.9, 0.0999, 0.0001]] * 5, dtype=np.float32)}
    assert golden.compare(shares, shares, SOFTMAX).passed
    assert not golden.compare(shares, moved(shares, 0, 2, 0.0001), SOFTMAX).passed


def test_top_k_must_name_the_same_best_class() -> None:
    answers = {
        "probabilities": np.array([[0.7, 0.2]] * 3, dtype=np.float32),
        "classes": np.array([[2, 0]] * 3),
    }
    assert golden.compare(answers, answers, TOP_K).passed
    other = {**answers, "classes": np.array([[2, 0], [0, 2], [1, 2]])}
    found = golden.compare(answers, other, TOP_K)
    assert (found.top1_different, found.passed) == (2, False)


def test_other_outputs_are_refused() -> None:
    with pytest.raises(InputError, match="other outputs"):
        golden.compare(logits(), {"scores": logits()["logits"]}, CARD)
    with pytest.raises(InputError, match="other outputs"):
        golden.compare(logits(3), logits(4), CARD)
