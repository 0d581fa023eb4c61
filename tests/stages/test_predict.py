"""`compress predict`: the right classes for pictures of any size and kind."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from compress import runtime
from compress.config.predict import PredictConfig
from compress.errors import ConfigError, InputError, MachineError, UnusableError
from compress.records.predict import PredictRecord
from compress.stages.predict import predict
from tests.notes import Notes
from tests.tiny_models import (
    COLOURS,
    coloured_images,
    in_ort_format,
    write_classifier,
    write_folder,
)
from tests.trained_run import exported_workspace

RED, GREEN, BLUE = (200, 20, 20), (20, 200, 20), (20, 20, 200)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model that tells colours apart."""
    return write_classifier(tmp_path / "model" / "model.onnx", name="colours")


def picture(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (20, 13)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def run(model: Path, *images: Path, **options: Any) -> PredictRecord:
    return predict(
        PredictConfig.model_validate({"artifact": str(model), "images": images, **options})
    )


def best(record: PredictRecord) -> list[str]:
    return [prediction.guesses[0].label for prediction in record.predictions]


def test_pictures_of_any_size_and_format_are_classified(model: Path, tmp_path: Path) -> None:
    record = run(
        model,
        picture(tmp_path / "a.png", RED, (300, 40)),
        picture(tmp_path / "b.jpg", GREEN, (3, 5)),
        picture(tmp_path / "c.bmp", BLUE, (8, 8)),
    )
    assert best(record) == ["red", "green", "blue"]
    assert record.unreadable == ()
    assert (record.label, record.precision) == ("colours", "fp32")


def test_probabilities_are_a_softmax_of_the_logits(model: Path, tmp_path: Path) -> None:
    record = run(model, picture(tmp_path / "a.png", RED))
    logits = 0.05 * np.array(RED)  # the model's gain times the channel means
    shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    guesses = record.predictions[0].guesses
    assert [guess.label for guess in guesses] == list(COLOURS)
    np.testing.assert_allclose([guess.probability for guess in guesses], shares, rtol=1e-4)


def test_as_many_classes_are_named_as_were_asked_for(model: Path, tmp_path: Path) -> None:
    image = picture(tmp_path / "a.png", RED)
    assert len(run(model, image, top_k=2).predictions[0].guesses) == 2
    assert len(run(model, image, top_k=50).predictions[0].guesses) == 3


def test_folders_are_searched_in_order(model: Path, tmp_path: Path) -> None:
    place = tmp_path / "pictures"
    picture(place / "sub" / "2.png", BLUE)
    picture(place / "1.png", GREEN)
    (place / "notes.txt").write_text("no picture")
    record = run(model, place, picture(tmp_path / "last.png", RED))
    assert best(record) == ["green", "blue", "red"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no pictures in"):
        run(model, tmp_path / "empty")


def test_more_pictures_than_fit_into_one_batch_keep_their_order(
    model: Path, tmp_path: Path
) -> None:
    colours = [RED, GREEN, BLUE]
    images = [picture(tmp_path / f"{k:03}.png", colours[k % 3], (4, 4)) for k in range(70)]
    assert best(run(model, *images)) == [COLOURS[k % 3] for k in range(70)]


def test_unreadable_pictures_are_named_and_skipped(model: Path, tmp_path: Path) -> None:
    good = picture(tmp_path / "good.png", BLUE)
    cut = tmp_path / "cut.png"
    cut.write_bytes(good.read_bytes()[:40])
    (tmp_path / "text.png").write_text("no picture")
    record = run(model, cut, tmp_path / "text.png", tmp_path / "gone.png", good)
    assert best(record) == ["blue"]
    assert [Path(item.image).name for item in record.unreadable] == [
        *("cut.png", "text.png", "gone.png")
    ]
    assert all(item.reason for item in record.unreadable)


def test_a_name_that_is_no_utf8_can_be_written_down(model: Path, tmp_path: Path) -> None:
    """As old archives and cameras leave them."""
    folder = tmp_path / "pictures"
    fine = picture(folder / "fine.png", BLUE).read_bytes()
    for name, content in ((b"caf\xe9.png", fine), (b"bad\xe9.png", b"x")):
        (folder / os.fsdecode(name)).write_bytes(content)
    record = run(model, folder)
    assert [Path(one.image).name for one in record.predictions] == ["caf\\xe9.png", "fine.png"]
    assert [Path(one.image).name for one in record.unreadable] == ["bad\\xe9.png"]
    assert PredictRecord.from_data(json.loads(record.to_json()), source="here") == record


def test_a_folder_of_only_unreadable_pictures_has_no_predictions(
    model: Path, tmp_path: Path
) -> None:
    (tmp_path / "text.png").write_text("no picture")
    record = run(model, tmp_path / "text.png")
    assert (record.predictions, len(record.unreadable)) == ((), 1)


def test_a_transparent_grey_or_turned_picture_is_seen_as_a_viewer_shows_it(
    model: Path, tmp_path: Path
) -> None:
    Image.new("RGBA", (9, 9), (*RED, 10)).save(tmp_path / "a.png")
    Image.new("L", (9, 9), 128).save(tmp_path / "b.png")
    record = run(model, tmp_path / "a.png", tmp_path / "b.png")
    assert best(record)[0] == "red"
    shares = {round(guess.probability, 4) for guess in record.predictions[1].guesses}
    assert shares == {0.3333}


def test_a_model_that_names_no_classes_answers_numbers(tmp_path: Path) -> None:
    path = write_classifier(tmp_path / "m.onnx", card=False)
    assert best(run(path, picture(tmp_path / "a.png", GREEN))) == ["1"]


def test_int8_is_used_where_there_is_one(tmp_path: Path) -> None:
    folder = exported_workspace() / "exported" / "digits-test-01234567"
    image = picture(tmp_path / "a.png", RED)
    record = run(folder, image)
    assert (record.label, record.precision) == ("small_cnn", "int8")
    assert run(folder / "teacher", image, precision="fp32").precision == "fp32"
    assert run(folder, image, student="teacher").label == "teacher"


def test_a_choice_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    folder = exported_workspace() / "exported" / "digits-test-01234567"
    image = picture(tmp_path / "a.png", RED)
    with pytest.raises(ConfigError, match="has no 'tiny'") as caught:
        run(folder, image, student="tiny")
    assert "teacher, small_cnn" in caught.value.hint
    shutil.copytree(folder / "small_cnn", tmp_path / "two" / "a")
    shutil.copytree(folder / "small_cnn", tmp_path / "two" / "b")
    with pytest.raises(ConfigError, match="several models called small_cnn") as caught:
        run(tmp_path / "two", image, student="small_cnn")
    assert f"name one folder: {tmp_path / 'two' / 'a'}, " in caught.value.hint
    with pytest.raises(ConfigError, match="several models"):
        run(tmp_path / "two", image)
    only = write_classifier(tmp_path / "one" / "model.onnx").parent
    with pytest.raises(ConfigError, match="has no int8 form") as caught:
        run(only, image, precision="int8")
    assert caught.value.hint == "it has fp32"


def test_answers_that_are_no_numbers_are_unusable(tmp_path: Path) -> None:
    model = write_classifier(tmp_path / "m.onnx", nan=True)  # for pictures without blue
    good = picture(tmp_path / "good.png", BLUE)
    assert best(run(model, good)) == ["blue"]
    with pytest.raises(UnusableError, match=r"NaN or infinity for .*bad\.png"):
        run(model, good, picture(tmp_path / "bad.png", (200, 20, 0)))


def test_int8_for_another_cpu_says_how_it_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "saturates", lambda: True)
    model = write_classifier(tmp_path / "m.onnx", precision="int8", target="vnni")
    notes = Notes()
    config = PredictConfig(artifact=str(model), images=(picture(tmp_path / "a.png", RED),))
    assert best(predict(config, progress=notes)) == ["red"]
    assert "run without saturation, as vnni computes" in notes.notes[-1]


def test_an_absent_provider_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="CoreMLExecutionProvider"):
        run(model, picture(tmp_path / "a.png", RED), provider="CoreMLExecutionProvider")


def test_probabilities_of_a_file_from_elsewhere_are_shown_as_they_are(tmp_path: Path) -> None:
    model = write_classifier(tmp_path / "m.onnx", card=False, softmax=True, gain=0.5)
    folder = write_folder(tmp_path / "pictures", coloured_images([0, 1, 2] * 30))
    found = predict(PredictConfig(artifact=str(model), images=(folder,)))
    assert len(found.predictions) == 90
    assert all(one.guesses[0].probability > 0.99 for one in found.predictions)


def test_a_file_that_would_saturate_here_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "saturates", lambda: True)
    model = write_classifier(tmp_path / "m.onnx", precision="int8", target="arm64")
    with pytest.raises(MachineError, match=r"m\.ort was made for arm64") as error:
        run(in_ort_format(model), picture(tmp_path / "a.png", RED))
    assert ".onnx" in error.value.hint
