from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compress.config.bench import BenchConfig
from compress.data import places, registry
from compress.errors import ConfigError, InputError
from compress.progress import Silent
from compress.runtime import CPU
from compress.stages.bench import Wanted, measure_rows
from compress.stages.bench_answers import ask
from compress.stages.bench_images import missing_notes
from tests.bench_rows import LABELS, load, rows
from tests.tiny_models import coloured_images, write_classifier, write_export, write_folder


def test_images_of_other_classes_are_not_said_to_lack_the_models(tmp_path: Path) -> None:
    names = ("cat", "dog", "emu")
    folder = write_folder(tmp_path / "mine", coloured_images(LABELS, class_names=names))
    images = load(rows(write_export(tmp_path / "e")), data=str(folder))
    assert missing_notes(images, 8) == []


def test_images_are_those_the_user_named(tmp_path: Path) -> None:
    found = rows(write_export(tmp_path / "e"))
    folder = write_folder(tmp_path / "mine", coloured_images(LABELS))
    images = load(found, data=str(folder))
    assert images.named
    assert images.record(8) is not None
    assert images.of_size[8].count == len(LABELS)


def test_images_named_by_the_artifact_are_looked_for_and_not_missed(tmp_path: Path) -> None:
    images = load(rows(write_export(tmp_path)))
    assert images.name is None
    assert "unknown data 'colours'" in images.reason
    assert missing_notes(images, 8)[0].startswith("no accuracy: unknown data 'colours'")


def test_an_artifact_that_names_no_data_says_so(tmp_path: Path) -> None:
    images = load(rows(write_classifier(tmp_path / "m.onnx")))
    assert images.reason == "no --data, and the models do not say what they are for"


def test_absent_cifar_of_the_artifact_is_no_error_and_never_downloaded(tmp_path: Path) -> None:
    found = rows(write_classifier(tmp_path / "m.onnx", dataset="cifar10"))
    images = load(found, data_dir=tmp_path)
    assert images.name is None
    assert "cifar10 is in none of" in images.reason


def test_data_that_the_user_named_must_be_there(tmp_path: Path) -> None:
    found = rows(write_export(tmp_path))
    with pytest.raises(InputError, match="cifar10 is in none of"):
        load(found, data="cifar10", data_dir=tmp_path)
    with pytest.raises(InputError, match="there is no folder"):
        load(found, data=str(tmp_path / "nofolder"))


def test_one_bad_picture_of_the_folder_the_user_named_is_an_error(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "mine", coloured_images(LABELS))
    (folder / "test" / "red" / "00000.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"cannot read picture .*00000\.png"):
        load(rows(write_export(tmp_path / "e")), data=str(folder))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": "./nofolder"}, "there is no folder ./nofolder"),
        ({"data_dir": "nowhere"}, "there is no folder nowhere"),
    ],
)
def test_mistyped_places_are_refused_where_no_image_is_needed(
    options: dict[str, str], message: str
) -> None:
    config = BenchConfig.model_validate({"targets": ["x"], **options})
    with pytest.raises(InputError, match=message):
        measure_rows([], config, Wanted(answers=False, times=False), progress=Silent())


def test_an_unknown_name_is_an_error_when_the_user_gave_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown data 'cifar11'"):
        load(rows(write_export(tmp_path)), data="cifar11")


def test_a_limit_takes_images_evenly_from_all_classes(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "mine", coloured_images([0] * 20 + [1] * 20 + [2] * 20))
    images = load(rows(write_export(tmp_path / "e")), data=str(folder), limit=6)
    record = images.record(8)
    assert record is not None
    assert (record.images, record.of) == (6, 60)
    assert np.bincount(images.of_size[8].known_labels).tolist() == [2, 2, 2]
    assert "accuracy on 6 of 60 test images" in missing_notes(images, 8)


def test_images_of_another_size_are_resized_or_refused(tmp_path: Path) -> None:
    found = rows(write_export(tmp_path / "e"))
    folder = write_folder(tmp_path / "mine", coloured_images(LABELS, size=16))
    assert load(found, data=str(folder)).of_size[8].image_size == 8
    with pytest.raises(InputError, match="are 16 pixels wide, a model takes 8"):
        load(found, data=str(folder), strict=True)


def test_strict_refuses_pictures_of_mixed_sizes(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "mine", coloured_images([0, 1, 2]))
    write_folder(tmp_path / "other", coloured_images([0], size=9))
    picture = tmp_path / "other" / "test" / "red" / "00000.png"
    picture.rename(folder / "test" / "red" / "99999.png")
    with pytest.raises(InputError, match="differ in size"):
        load(rows(write_export(tmp_path / "e")), data=str(folder), strict=True)


@pytest.fixture
def trained_on(tmp_path: Path) -> Path:
    """A folder of pictures that a model was trained for on this machine; it is called `digits`."""
    folder = tmp_path / "photos" / "digits"
    images = coloured_images(LABELS)
    write_folder(folder, images)
    (folder / "test").rename(folder / "train")
    write_folder(folder, coloured_images(LABELS, seed=1))
    registry.load(str(folder))
    return folder


def card(folder: Path) -> dict[str, Any]:
    """What a model says of the folder it was trained for."""
    sha256 = registry.load_test(str(folder)).sha256
    return {"dataset": folder.name, "dataset_kind": "folder", "dataset_sha256": sha256}


@pytest.mark.parametrize("limit", [None, 60])
def test_the_folder_a_model_was_trained_for_is_found_again(
    tmp_path: Path, trained_on: Path, limit: int | None
) -> None:
    found = rows(write_classifier(tmp_path / "m.onnx", **card(trained_on)))
    images = load(found, limit=limit)
    assert (images.name, images.all_images, images.named) == ("digits", 120, False)
    assert images.of_size[8].class_names == ("blue", "green", "red")


def test_a_folder_that_changed_since_is_not_judged_by(tmp_path: Path, trained_on: Path) -> None:
    found = rows(write_classifier(tmp_path / "m.onnx", **card(trained_on)))
    next((trained_on / "test" / "red").iterdir()).unlink()
    images = load(found)
    assert images.name is None
    assert "the test images of digits here are not those of tiny fp32" in images.reason


def test_a_folder_is_not_taken_for_a_data_set_of_its_name(tmp_path: Path, trained_on: Path) -> None:
    found = rows(write_classifier(tmp_path / "m.onnx", **card(trained_on)))
    trained_on.rename(tmp_path / "moved")
    images = load(found)
    assert images.name is None
    assert images.reason.startswith("unknown data 'digits'")


@pytest.mark.parametrize("known", [True, False])
def test_another_folder_of_that_name_in_the_working_directory_is_not_judged_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    write_folder(tmp_path / "mine", coloured_images(LABELS))
    monkeypatch.chdir(tmp_path)
    said: dict[str, Any] = {"dataset_sha256": "0" * 64} if known else {}
    images = load(rows(write_classifier(tmp_path / "m.onnx", dataset="mine", **said)))
    assert images.name is None
    expected = "are not those of tiny fp32" if known else "unknown data 'mine'"
    assert expected in images.reason


def test_each_row_is_asked_about_its_own_images_only(tmp_path: Path, trained_on: Path) -> None:
    write_classifier(tmp_path / "e" / "a" / "model.onnx", name="a", **card(trained_on))
    other = {**card(trained_on), "dataset_sha256": "0" * 64}
    write_classifier(tmp_path / "e" / "b" / "model.onnx", name="b", **other)
    found = rows(tmp_path / "e")
    answers = ask(list(found.values()), load(found), provider=CPU, progress=Silent())
    assert set(answers.correct) == {"a fp32"}
    assert "here are not those of b fp32" in answers.reasons["b fp32"]


def test_images_the_user_names_may_be_others(tmp_path: Path, trained_on: Path) -> None:
    found = rows(write_classifier(tmp_path / "m.onnx", **card(trained_on)))
    mine = write_folder(tmp_path / "mine", coloured_images(LABELS, seed=2))
    answers = ask(
        list(found.values()), load(found, data=str(mine)), provider=CPU, progress=Silent()
    )
    assert set(answers.correct) == {"tiny fp32"}


def test_a_teacher_of_older_images_takes_nobodys_accuracy_away(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "mine", coloured_images(LABELS))
    sha = registry.load_test(str(folder)).sha256
    places.remember(sha, folder)
    data: dict[str, Any] = {"dataset": "mine", "dataset_kind": "folder"}
    for name, role, known in (("big", "teacher", "0" * 64), ("small", "student", sha)):
        write_classifier(
            tmp_path / "e" / name / "model.onnx", name=name, role=role, dataset_sha256=known, **data
        )
    found = rows(tmp_path / "e")
    images = load(found)
    assert images.name == "mine"
    answers = ask(list(found.values()), images, provider=CPU, progress=Silent())
    assert list(answers.correct) == ["small fp32"]
    assert "are not those of big fp32" in answers.reasons["big fp32"]
    teacher = load({"big fp32": found["big fp32"]})
    assert teacher.name is None
