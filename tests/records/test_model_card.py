"""What a model file says about itself survives the trip through its metadata."""

import pytest

from compress.errors import InputError
from compress.records.model_card import ModelCard

CARD = ModelCard(
    name="tiny",
    role="control",
    architecture="small_cnn",
    options={"width": 0.5, "stem": "cifar", "flag": True, "depth": 3},
    dataset="digits",
    class_names=("null", "1", "Äpfel, 'grün'"),
    image_size=8,
    mean=(0.1, 0.2, 0.30000000000000004),
    std=(0.4, 0.5, 0.6),
    precision="int8",
    target="portable",
    parameters=12,
    quantized_adds=0,
    kept_float=0,
    logit_step=0.125,
)


def test_a_card_comes_back_from_metadata_unchanged() -> None:
    assert ModelCard.from_metadata(CARD.to_metadata(), source="file") == CARD


def test_texts_are_written_as_they_are_and_the_rest_as_json() -> None:
    metadata = CARD.to_metadata()
    assert metadata["compress.name"] == "tiny"
    assert metadata["compress.image_size"] == "8"
    assert metadata["compress.mean"] == "[0.1, 0.2, 0.30000000000000004]"
    assert "compress.macs" not in metadata


def test_a_name_that_looks_like_json_stays_a_name() -> None:
    card = CARD.model_copy(update={"name": "null", "dataset": "12"})
    assert ModelCard.from_metadata(card.to_metadata(), source="file") == card


def test_foreign_keys_are_ignored_and_alone_make_no_card() -> None:
    assert ModelCard.from_metadata({"author": "somebody"}, source="file") is None
    metadata = {**CARD.to_metadata(), "author": "somebody", "compress.content_sha256": "00"}
    assert ModelCard.from_metadata(metadata, source="file") == CARD


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("compress.mean", "[0.1, 0.2", "damaged metadata"),
        ("compress.image_size", "0", "image_size"),
        ("compress.role", "chef", "role"),
        ("compress.format", "2", "format 2"),
    ],
)
def test_damaged_metadata_are_refused_in_one_line(key: str, value: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        ModelCard.from_metadata({**CARD.to_metadata(), key: value}, source="m.onnx")
    assert "m.onnx" in caught.value.message
    assert "\n" not in caught.value.message


def test_a_missing_key_is_named() -> None:
    metadata = CARD.to_metadata()
    del metadata["compress.image_size"]
    with pytest.raises(InputError, match="image_size"):
        ModelCard.from_metadata(metadata, source="m.onnx")


def test_only_int8_without_adds_and_float_layers_is_exact() -> None:
    assert CARD.exact
    assert not CARD.model_copy(update={"quantized_adds": 2}).exact
    assert not CARD.model_copy(update={"kept_float": 1}).exact
    assert not CARD.model_copy(update={"precision": "fp32"}).exact
    assert not CARD.model_copy(update={"logit_step": None}).exact  # an ensemble averages in floats


def test_a_card_without_architecture_is_foreign() -> None:
    assert ModelCard(name="x", image_size=8).foreign
    assert not CARD.foreign
    assert CARD.classes == 3
