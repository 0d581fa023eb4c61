"""The manifest of an artifact."""

import pytest

from compress.errors import InputError
from compress.records.artifact import ArtifactManifest, Fidelity
from compress.records.model_card import ModelCard


def fidelity(**fields: object) -> Fidelity:
    base = {
        "precision": "fp32",
        "reference": "torch",
        "split": "test",
        "images": 1000,
        "max_difference": 1e-5,
        "agreement": 1.0,
        "top1": 0.9,
        "reference_top1": 0.9,
    }
    return Fidelity.model_validate({**base, **fields})


def manifest(*found: Fidelity) -> ArtifactManifest:
    card = ModelCard(name="m", architecture="small_cnn", image_size=8)
    return ArtifactManifest(
        label="m", role="student", card=card, files={}, fidelity=found, licence="", data_note=""
    )


def test_fp32_accuracy_is_that_on_the_most_images() -> None:
    int8 = fidelity(
        precision="int8", reference="fp32", images=10_000, top1=0.91, reference_top1=0.92
    )
    assert manifest(fidelity()).top1("fp32") == 0.9
    assert manifest(fidelity(), int8).top1("fp32") == 0.92
    assert manifest(fidelity(), int8).top1("int8") == 0.91
    assert manifest(fidelity()).top1("int8") is None


def test_a_manifest_comes_back_from_its_json() -> None:
    made = manifest(fidelity(drop=0.0, sqnr_db=130.5))
    assert ArtifactManifest.model_validate_json(made.to_json()) == made


def test_another_schema_is_refused() -> None:
    with pytest.raises(InputError, match="schema 7"):
        ArtifactManifest.from_data({"schema": 7}, source="manifest.json")
