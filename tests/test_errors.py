"""Failures carry their exit code and what to do."""

import pytest

from compress import errors


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("ConfigError", 2),
        ("InputError", 3),
        ("MachineError", 4),
        ("UnusableError", 5),
        ("InconclusiveError", 6),
        ("Interrupted", 130),
    ],
)
def test_each_failure_ends_with_the_documented_code(name: str, code: int) -> None:
    assert getattr(errors, name).exit_code == code


def test_no_expected_failure_looks_like_a_failed_gate() -> None:
    codes = {kind.exit_code for kind in errors.CompressError.__subclasses__()}
    assert codes.isdisjoint({0, 1})


def test_message_and_hint_are_kept_apart() -> None:
    error = errors.InputError("a.onnx does not exist", hint="export it")
    assert (str(error), error.message, error.hint) == (
        "a.onnx does not exist",
        "a.onnx does not exist",
        "export it",
    )


def test_an_error_is_told_in_other_words_but_stays_what_it_is() -> None:
    error = errors.DivergedError("a", "the loss is not finite")
    error.retell("while the teacher was trained: a diverged", hint="train it by itself")
    assert str(error) == error.message == "while the teacher was trained: a diverged"
    assert (error.hint, error.exit_code) == ("train it by itself", 5)


def test_unknown_name_lists_the_known_ones_in_order() -> None:
    error = errors.unknown("model", "vgg", ["small_cnn", "resnet50"])
    assert isinstance(error, errors.ConfigError)
    assert error.message == "unknown model 'vgg'"
    assert error.hint == "known model names: resnet50, small_cnn"
