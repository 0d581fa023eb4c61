"""How values are written on a command line."""

from typing import Any

import pytest
from pydantic import ValidationError

from compress.config.specs import (
    SOFTENED,
    Augmentation,
    LossTerm,
    ModelSpec,
    Reference,
    StudentSpec,
    format_options,
    parse_scalar,
    split_options,
    underscored,
)
from compress.errors import ConfigError
from compress.losses.registry import OPTIONS

pytest.importorskip("hypothesis")
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("False", False),
        ("3", 3),
        ("-2", -2),
        ("0.5", 0.5),
        ("5e-4", 0.0005),
        ("imagenet", "imagenet"),
        ("", ""),
    ],
)
def test_a_scalar_is_read_as_a_person_means_it(text: str, value: object) -> None:
    read = parse_scalar(text)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("small_cnn", "small_cnn", {}),
        ("mobilenet_v2:width=0.5,stem_stride=1", "mobilenet_v2", {"width": 0.5, "stem_stride": 1}),
        ("t.pt:model=resnet56", "t.pt", {"model": "resnet56"}),
        ("C:/w/t.pt", "C:/w/t.pt", {}),
        ("C:/w/t.pt:model=resnet56", "C:/w/t.pt", {"model": "resnet56"}),
        ("a=b/t.pt", "a=b/t.pt", {}),
        ("runs/x:y", "runs/x:y", {}),
    ],
)
def test_options_follow_the_last_colon_with_an_equals_sign(
    text: str, name: str, options: dict[str, Any]
) -> None:
    assert split_options(text) == (name, options)


@pytest.mark.parametrize("text", ["m:width=", "m:=1", "m:width=1,", "m:width=1,deep"])
def test_a_malformed_option_is_shown(text: str) -> None:
    with pytest.raises(ConfigError, match="is not key=value"):
        split_options(text)


def test_an_option_written_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="'width' is written twice"):
        split_options("m:width=1,width=2")


_KEYS = st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True)
_WORDS = st.from_regex(r"[a-z]{1,8}", fullmatch=True).filter(
    lambda word: word not in {"true", "false", "inf", "nan", "infinity"}
)
_SCALARS = st.one_of(
    st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), _WORDS
)


@given(_WORDS, st.dictionaries(_KEYS, _SCALARS, min_size=1))
def test_writing_options_and_reading_them_gives_them_back(name: str, options: Any) -> None:
    assert split_options(f"{name}:{format_options(options)}") == (name, options)


def test_a_reference_keeps_the_path_and_the_options_apart() -> None:
    reference = Reference.parse("t.safetensors:normalization=imagenet,model=resnet56")
    assert reference.target == "t.safetensors"
    assert str(reference) == "t.safetensors:model=resnet56,normalization=imagenet"


@pytest.mark.parametrize("kind", [Reference, ModelSpec])
def test_nothing_before_the_options_is_refused(kind: type[Reference] | type[ModelSpec]) -> None:
    with pytest.raises(ConfigError):
        kind.parse(":width=1")


def test_several_students_in_one_option_are_told_apart_from_a_label() -> None:
    with pytest.raises(ConfigError, match="names several students") as caught:
        StudentSpec.parse("small_cnn:width=0.25,small_cnn:width=0.5")
    assert caught.value.hint.startswith("repeat the option: --student MODEL")


def test_a_student_may_have_a_label() -> None:
    spec = StudentSpec.parse("tiny=mobilenet_v2:width=0.35")
    assert (spec.label, spec.model.name, spec.model.options) == (
        "tiny",
        "mobilenet_v2",
        {"width": 0.35},
    )
    assert StudentSpec.parse("small_cnn").label is None


@pytest.mark.parametrize(
    "label", ["", "a/b", "..", ".hidden", "-x", "a b", "teacher", "small_cnn.last"]
)
def test_a_label_that_cannot_name_files_is_refused(label: str) -> None:
    with pytest.raises(ConfigError, match="student label"):
        StudentSpec.parse(f"{label}=small_cnn")


def test_a_loss_term_takes_its_own_keys_out_of_the_options() -> None:
    term = LossTerm.parse("dkd:weight=2,ramp_epochs=20,beta=8")
    assert (term.name, term.weight, term.ramp_epochs, term.ramp_from) == ("dkd", 2, 20, 0)
    assert term.options == {"beta": 8}


@pytest.mark.parametrize(
    "text",
    [
        "kd",
        "kd:temperature=4",
        "dkd:weight=0.5,beta=8,ramp_epochs=20",
        "dkd:ramp_epochs=0",
        "dkd:ramp_from=0.5",
    ],
)
def test_a_loss_term_reads_what_it_writes(text: str) -> None:
    term = LossTerm.parse(text)
    assert LossTerm.parse(str(term)) == term


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kd:weight=heavy", "weight=heavy in 'kd:weight=heavy' is not a number"),
        ("kd:ramp_epochs=-1", "ramp_epochs in 'kd:ramp_epochs=-1': Input should be greater"),
        ("kd:ramp_from=-1", "ramp_from in 'kd:ramp_from=-1': Input should be greater"),
        ("kd:ramp_from=0.5", "'kd:ramp_from=0.5': ramp_from goes with ramp_epochs above 0"),
        ("ce:ramp_from=0", "'ce:ramp_from=0': ramp_from goes with ramp_epochs above 0"),
        ("kd:ramp_epochs=0,ramp_from=2", "ramp_from goes with ramp_epochs above 0"),
        ("dkd:ramp_epochs=0,ramp_from=2", "ramp_from goes with ramp_epochs above 0"),
        ("ce:weight=0,ramp_epochs=5,ramp_from=1", "weight 0 ends no ramp"),
    ],
)
def test_a_loss_term_out_of_bounds_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        LossTerm.parse(text)
    assert "\n" not in caught.value.message


def test_a_loss_term_that_an_older_run_noted_is_read_as_it_is() -> None:
    noted = {"name": "kd", "weight": 1.0, "ramp_epochs": None, "ramp_from": 0.5, "options": {}}
    assert LossTerm.model_validate(noted).ramp_from == 0.5


def test_the_losses_with_a_temperature_are_those_that_take_one() -> None:
    assert {name for name, options in OPTIONS.items() if "temperature" in options} == SOFTENED


@pytest.mark.parametrize("key", ["learning_rate", "learning-rate"])
def test_a_key_may_be_spelled_in_two_ways(key: str) -> None:
    assert underscored({key: 1, "alpha": 2}, "--sweep") == {"learning_rate": 1, "alpha": 2}


def test_a_key_in_both_spellings_is_refused() -> None:
    with pytest.raises(ConfigError, match="--sweep learning_rate is given twice"):
        underscored({"learning-rate": 1, "learning_rate": 2}, "--sweep")


def test_augmentation_does_nothing_unless_told() -> None:
    assert not any(Augmentation().model_dump(exclude={"randaugment_magnitude"}).values())
    assert not Augmentation().mixes


@pytest.mark.parametrize("mixing", [{"mixup": 0.2}, {"cutmix": 1.0}])
def test_augmentation_tells_whether_labels_mix(mixing: dict[str, float]) -> None:
    assert Augmentation.model_validate(mixing).mixes


def test_two_mixings_at_once_are_refused() -> None:
    with pytest.raises(ValidationError, match="cannot both be on"):
        Augmentation(mixup=0.2, cutmix=1.0)


def test_values_cannot_be_changed_and_unknown_keys_are_refused() -> None:
    spec = ModelSpec(name="small_cnn")
    with pytest.raises(ValidationError, match="frozen"):
        spec.name = "x"  # type: ignore[misc]
    with pytest.raises(ValidationError, match="Extra inputs"):
        ModelSpec.model_validate({"name": "a", "layers": 3})
