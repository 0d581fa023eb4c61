from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from compress.config.bench import BenchConfig
from compress.config.specs import Reference
from compress.data.images import ImageSet
from compress.errors import ConfigError, InputError, UnusableError
from compress.progress import Silent
from compress.stages import bench_answers
from compress.stages.bench import Wanted, measure_rows
from compress.stages.bench_answers import Answers, AskedImages, load_images, missing_notes, quality
from compress.stages.bench_rows import Row, collect
from tests.tiny_models import coloured_images, write_classifier, write_export, write_folder

LABELS = [0, 1, 2] * 40


def rows(place: Path) -> dict[str, Row]:
    return {row.label: row for row in collect([Reference(target=str(place))])[0]}


def asked(images: ImageSet, *, named: bool = True, name: str = "colours") -> AskedImages:
    return AskedImages(name, {images.image_size: images}, images.count, named=named)


def ask(found: dict[str, Row], images: AskedImages) -> Answers:
    return bench_answers.ask(
        list(found.values()), images, provider="CPUExecutionProvider", progress=Silent()
    )


def fields(
    label: str, found: dict[str, Row], images: AskedImages, **partners: Any
) -> dict[str, Any]:
    given = {"teacher": None, "fp32": None, "baseline": None, "per_class": False, **partners}
    return quality(found[label], ask(found, images), images, **given)


def load(found: dict[str, Row], **options: Any) -> AskedImages:
    config = BenchConfig.model_validate({"targets": ["x"], **options})
    return load_images(list(found.values()), config, Silent())


def test_accuracies_are_those_of_the_labels(tmp_path: Path) -> None:
    found = rows(write_export(tmp_path))
    images = asked(coloured_images(LABELS))
    top1 = {label: fields(label, found, images)["top1"] for label in found}
    assert top1 == pytest.approx({"big fp32": 2 / 3, "small fp32": 1, "small int8": 2 / 3})


def test_agreement_is_with_the_teacher_right_or_wrong(tmp_path: Path) -> None:
    found = rows(write_export(tmp_path))
    images = asked(coloured_images(LABELS))
    # the teacher says 1, 1, 2 and the int8 form 0, 2, 2 for red, green and blue
    result = fields("small int8", found, images, teacher=found["big fp32"])
    assert result["agreement"] == pytest.approx(1 / 3)
    assert result["agreement_low"] < 1 / 3 < result["agreement_high"]


def test_agreement_follows_class_names_not_their_order(tmp_path: Path) -> None:
    write_classifier(tmp_path / "a" / "model.onnx", name="a", role="teacher")
    write_classifier(
        tmp_path / "b" / "model.onnx", name="b", class_names=("blue", "red", "green"),
        answers=(1, 2, 0),
    )  # fmt: skip
    found = rows(tmp_path)
    images = asked(coloured_images(LABELS))
    result = fields("b fp32", found, images, teacher=found["a fp32"])
    assert (result["top1"], result["agreement"]) == (1.0, 1.0)


def test_forms_of_one_model_are_compared_image_by_image(tmp_path: Path) -> None:
    found = rows(write_export(tmp_path))
    images = asked(coloured_images([0] * 80 + [1] * 6))
    difference = fields("small int8", found, images, fp32=found["small fp32"])["fp32_difference"]
    assert difference.to == "small fp32"
    assert difference.top1_drop == pytest.approx(6 / 86)
    assert difference.low < 6 / 86 < difference.high
    # only the fp32 form is right on the six green images
    assert difference.p_value == pytest.approx(stats.binomtest(6, 6, 0.5).pvalue)


def test_classes_are_counted_on_request(tmp_path: Path) -> None:
    found = rows(write_export(tmp_path))
    images = asked(coloured_images([0] * 5 + [1] * 3))
    result = fields("small int8", found, images, per_class=True)["per_class"]
    assert [(row.name, row.images, row.top1) for row in result] == [
        ("red", 5, 1.0),
        ("green", 3, 0.0),
        ("blue", 0, None),
    ]
    assert "per_class" not in fields("small int8", found, images)


def test_unlabelled_images_give_agreement_alone(tmp_path: Path) -> None:
    found = rows(write_export(tmp_path))
    images = asked(coloured_images(LABELS, labelled=False))
    result = fields("small fp32", found, images, teacher=found["big fp32"])
    assert result["agreement"] == pytest.approx(2 / 3)
    assert "top1" not in result
    assert result["not_judged"] == "coloured test has no labels"
    assert missing_notes(images, 8) == ["colours has no labels: latency and agreement only"]


def test_a_missing_class_is_named(tmp_path: Path) -> None:
    images = asked(coloured_images([0, 2] * 40))
    assert missing_notes(images, 8) == ["no test images of green"]
    assert fields("small int8", rows(write_export(tmp_path)), images)["top1"] == 1.0


@pytest.mark.parametrize("removed", [True, False])
def test_a_class_without_pictures_in_a_folder_is_named(tmp_path: Path, removed: bool) -> None:
    found = rows(write_export(tmp_path / "e"))
    folder = write_folder(tmp_path / "mine", coloured_images(LABELS))
    for picture in (folder / "test" / "green").iterdir():
        picture.unlink()
    if removed:
        (folder / "test" / "green").rmdir()
    images = load(found, data=str(folder))
    assert missing_notes(images, 8) == ["no test images of green"]
    result = fields("small int8", found, images, per_class=True)
    assert result["top1"] == 1.0
    classes = {row.name: (row.images, row.top1) for row in result["per_class"]}
    assert classes == {"red": (40, 1.0), "green": (0, None), "blue": (40, 1.0)}


def test_images_of_other_classes_are_not_said_to_lack_the_models(tmp_path: Path) -> None:
    names = ("cat", "dog", "emu")
    folder = write_folder(tmp_path / "mine", coloured_images(LABELS, class_names=names))
    images = load(rows(write_export(tmp_path / "e")), data=str(folder))
    assert missing_notes(images, 8) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"dataset": "birds"}, "trained for birds, not colours: name one with --data"),
        ({"class_names": ("red", "green", "grey")}, "does not know the class 'blue'"),
        ({"channels": 1}, "takes 1 channels, images have 3"),
        ({"card": False, "layout": "float-nchw"}, "does not tell its normalisation"),
        ({"card": False, "class_names": ("a", "b", "c", "d")}, "answers 4 classes, coloured test"),
    ],
)
def test_a_row_that_does_not_fit_the_images_says_why(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    found = rows(write_classifier(tmp_path / "m.onnx", **change))
    (label,) = found
    result = fields(label, found, asked(coloured_images(LABELS), named="dataset" not in change))
    assert reason in result["not_judged"]
    assert "top1" not in result


def test_a_model_without_class_names_is_judged_by_number(tmp_path: Path) -> None:
    found = rows(write_classifier(tmp_path / "m.onnx", card=False))
    images = asked(coloured_images(LABELS))
    assert fields("m fp32", found, images)["top1"] == 1.0
    assert ask(found, images).notes == [
        "m fp32: names no classes, so those of coloured test are taken in their order"
    ]


def test_nan_answers_end_the_bench(tmp_path: Path) -> None:
    found = rows(write_classifier(tmp_path / "m.onnx", nan=True))
    images = coloured_images(LABELS)
    pixels = np.asarray(images.images[:]).copy()
    pixels[..., 2] = 0
    broken = ImageSet("b", pixels, images.labels, images.class_names)
    with pytest.raises(UnusableError, match="NaN"):
        ask(found, asked(broken))


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


def test_models_of_two_sizes_see_the_same_images(tmp_path: Path) -> None:
    write_export(tmp_path / "e")
    write_classifier(tmp_path / "e" / "wide" / "model.onnx", name="wide", size=16)
    folder = write_folder(tmp_path / "mine", coloured_images(LABELS, size=16))
    found = rows(tmp_path / "e")
    images = load(found, data=str(folder))
    assert sorted(images.of_size) == [8, 16]
    result = fields("small fp32", found, images, teacher=found["wide fp32"])
    assert result["agreement"] == 1.0
