"""Options of `compress export`."""

import pytest

from compress.config.export import ExportConfig
from compress.config.recipes import build
from compress.errors import ConfigError


def test_the_defaults_are_those_of_the_contract() -> None:
    config = build(ExportConfig, {"source": "last"})
    assert config.source.target == "last"
    assert config.precision == ("fp32", "int8")
    assert (config.target, config.input, config.batch) == ("portable", "uint8-nhwc", "1")
    assert (config.output, config.max_quant_drop, config.calibration_images) == (
        "logits",
        0.01,
        300,
    )
    assert config.teacher
    assert (config.ort, config.force) == (False, False)


def test_a_weights_file_is_described_after_its_name() -> None:
    config = build(ExportConfig, {"source": "a/b.pt:model=resnet56,normalization=imagenet"})
    assert config.source.target == "a/b.pt"
    assert config.source.options == {"model": "resnet56", "normalization": "imagenet"}


def test_a_recipe_may_write_single_values_and_numbers() -> None:
    config = build(
        ExportConfig, {"source": "last", "precision": "int8", "student": "a", "batch": 1}
    )
    assert (config.precision, config.student, config.batch) == (("int8",), ("a",), "1")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"precision": ("int4",)}, "precision"),
        ({"precision": ()}, "at least one"),
        ({"precision": ("int8", "int8")}, "twice"),
        ({"target": "gpu"}, "--target gpu"),
        ({"batch": "2"}, "--batch 2"),
        ({"max_quant_drop": 1.5}, "--max-quant-drop 1.5"),
        ({"calibration_images": 0}, "--calibration-images 0"),
        ({"top_k": 0}, "--top-k 0"),
        ({"outptu": "softmax"}, "outptu"),
    ],
)
def test_wrong_values_are_named(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(ExportConfig, {"source": "last", **options})
    assert said in caught.value.message


def test_a_number_of_classes_goes_with_the_output_that_has_it() -> None:
    with pytest.raises(ConfigError, match="--top-k 3 has no meaning with --output logits") as error:
        build(ExportConfig, {"source": "last", "top_k": 3})
    assert error.value.hint == "add --output top-k"
    assert build(ExportConfig, {"source": "last", "top_k": 3, "output": "top-k"}).top_k == 3
