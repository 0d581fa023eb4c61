"""Forms of a model: proven, or left out with a reason."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compress import runtime
from compress.config.export import ExportConfig
from compress.data.images import ImageSet
from compress.environment import read_environment
from compress.errors import ConfigError, InputError, UnusableError
from compress.graph import quantize, write
from compress.progress import Silent
from compress.stages import export_forms, export_sources
from compress.stages.export_forms import FormMaker, Forms, calibration_images
from compress.stages.export_sources import Found
from tests.trained_run import digits, save_outliers, save_weights


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_weights(tmp_path_factory.mktemp("weights") / "w.safetensors", epochs=3)


def source(path: Path) -> Found:
    config = ExportConfig.model_validate({"source": str(path), "data": "digits"})
    return export_sources.find(config, Silent())


def make(path: Path, **options: Any) -> Forms:
    config = ExportConfig.model_validate({"source": str(path), "data": "digits", **options})
    found = source(path)
    return FormMaker(found.sources[0], found.splits, config, Silent()).make()


@pytest.fixture(scope="module")
def forms(weights_file: Path) -> Forms:
    """All three forms of a healthy network."""
    return make(weights_file, precision=("fp32", "fp16", "int8"))


def test_every_form_is_measured_against_the_one_it_came_from(forms: Forms) -> None:
    assert list(forms.files) == ["fp32", "fp16", "int8"]
    assert [(f.precision, f.reference, f.images) for f in forms.fidelity] == [
        ("fp32", "torch", 360),
        ("fp16", "fp32", 360),
        ("int8", "fp32", 360),
    ]
    assert forms.problems == []
    assert forms.calibration is not None
    assert forms.calibration.images == 300
    assert all(f.agreement > 0.97 and (f.top1 or 0) > 0.8 for f in forms.fidelity)


def test_int8_is_small_and_all_in_integers(forms: Forms) -> None:
    assert len(forms.files["int8"]) <= 0.3 * len(forms.files["fp32"])
    assert forms.quantization is not None
    assert (forms.quantization.layers, forms.quantization.float_layers) == (7, ())
    card = forms.cards["int8"]
    assert (card.quantized_adds, card.kept_float, card.target) == (0, 0, "portable")
    assert card.exact
    assert card.logit_step is not None
    assert card.weight_bytes is not None
    assert forms.cards["fp32"].weight_bytes is not None
    assert forms.cards["fp32"].weight_bytes > 3.9 * card.weight_bytes


def test_a_broken_graph_is_refused(weights_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = write.write_graph

    def broken(*args: Any, **options: Any) -> Any:
        graph = real(*args, **options)
        for tensor in graph.graph.initializer:
            if tensor.name == "linear.bias":
                tensor.raw_data = np.ones(10, dtype=np.float32).tobytes()
        return graph

    monkeypatch.setattr(export_forms, "write_graph", broken)
    with pytest.raises(UnusableError, match="does not compute what torch computes"):
        make(weights_file)


def test_layers_that_cost_too_much_stay_in_float(tmp_path: Path) -> None:
    path = save_outliers(tmp_path / "w.safetensors", stages=(1,), factor=300.0)
    forms = make(path)
    found = forms.quantization
    assert found is not None
    assert set(found.kept_float) == {"stage1.0", "stage1.3"} == set(found.float_layers)
    assert found.noise[0].sqnr_db < 10 < found.noise[2].sqnr_db
    assert forms.problems == []
    assert forms.cards["int8"].kept_float == 2


def test_int8_is_left_out_when_nothing_helps(tmp_path: Path) -> None:
    path = save_outliers(tmp_path / "w.safetensors", stages=(1, 2, 3), factor=1000.0)
    forms = make(path)
    assert list(forms.files) == ["fp32"]
    assert forms.quantization is not None
    assert not forms.quantization.usable
    assert len(forms.quantization.noise) == 7
    (problem,) = forms.problems
    assert "half of its layers in float" in problem
    assert " dB" in problem


def test_a_layer_that_stays_in_float_unasked_is_named(
    weights_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = quantize.quantize

    def forgetful(calibrated: Any, **options: Any) -> Any:
        return real(calibrated, **{**options, "keep_float": ["stage2.3"]})

    monkeypatch.setattr(quantize, "quantize", forgetful)
    forms = make(weights_file)
    assert list(forms.files) == ["fp32"]
    assert forms.problems == [
        "int8 left out: 1 layers stay in float on this CPU, 0 were meant to (stage2.3)"
    ]


def test_a_cpu_that_saturates_runs_full_range_without(
    weights_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = read_environment().model_copy(
        update={"system": "Linux x86_64", "instruction_sets": ("avx2",)}
    )
    monkeypatch.setattr(runtime, "read_environment", lambda: old)
    opened: list[bool] = []
    real = runtime.open_session

    def spy(model: Any, **options: Any) -> Any:
        opened.append(bool(options.get("unsaturated")))
        return real(model, **options)

    monkeypatch.setattr(runtime, "open_session", spy)
    forms = make(weights_file, target="vnni")
    assert [f.unsaturated for f in forms.fidelity] == [False, True]
    assert any(opened)
    assert forms.quantization is not None
    assert forms.quantization.weight_bits == 8


@pytest.mark.parametrize(("output", "top_k"), [("softmax", None), ("top-k", 3)])
def test_heads_are_shipped_and_described(
    weights_file: Path, output: str, top_k: int | None
) -> None:
    forms = make(weights_file, output=output, **({"top_k": top_k} if top_k else {}))
    for precision, data in forms.files.items():
        session = runtime.open_session(data)
        card = runtime.read_card(session)
        assert card == forms.cards[precision]
        assert card.output == output
        assert card.top_k == top_k
        images = digits().test.images[:20]
        found = runtime.logits(session, card, images).argmax(axis=1)
        assert (found == digits().test.known_labels[:20]).mean() > 0.7


def test_more_classes_than_there_are_cannot_be_answered(weights_file: Path) -> None:
    with pytest.raises(ConfigError, match="--top-k 11 is above the 10 classes"):
        make(weights_file, output="top-k", top_k=11)


def test_calibration_images_are_training_images_of_every_class() -> None:
    train = digits().train
    found = calibration_images(train, 300, typed=False)
    assert found.count == 300
    assert np.bincount(found.known_labels, minlength=10).min() >= 28
    known = {image.tobytes() for image in train.images[:]}
    assert all(image.tobytes() in known for image in found.images[:])
    assert calibration_images(train, 300, typed=False).sha256 == found.sha256


def test_calibration_needs_more_than_one_class() -> None:
    train = digits().train
    with pytest.raises(ConfigError, match="all of one class") as caught:
        calibration_images(train, 1, typed=True)
    assert "raise --calibration-images" in caught.value.hint
    with pytest.raises(ConfigError, match="above the 1293 training images") as caught:
        calibration_images(train, 5000, typed=True)
    assert "leave it out" in caught.value.hint
    assert calibration_images(train, 5000, typed=False).count == 1293
    same = ImageSet("one", train.images[:20], np.zeros(20, dtype=np.int64), train.class_names)
    with pytest.raises(InputError, match="all of one class"):
        calibration_images(same, 20, typed=True)
