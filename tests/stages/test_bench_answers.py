from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto
from scipy import stats

from compress import runtime
from compress.config.specs import Reference
from compress.data.images import ImageSet
from compress.errors import UnusableError
from compress.progress import Silent
from compress.stages import bench_answers
from compress.stages.bench_answers import Answers, quality
from compress.stages.bench_images import AskedImages, missing_notes
from compress.stages.bench_rows import Row, collect
from tests.bench_rows import LABELS, load, rows
from tests.tiny_models import (
    COLOURS,
    coloured_images,
    in_ort_format,
    write_classifier,
    write_export,
    write_folder,
    write_identity,
    write_more,
)


def asked(images: ImageSet, *, named: bool = True, name: str = "colours") -> AskedImages:
    return AskedImages(name, {images.image_size: images}, all_images=images.count, named=named)


def ask(found: dict[str, Row], images: AskedImages) -> Answers:
    return bench_answers.ask(
        list(found.values()), images, provider="CPUExecutionProvider", progress=Silent()
    )


def fields(
    label: str, found: dict[str, Row], images: AskedImages, **partners: Any
) -> dict[str, Any]:
    given = {"teacher": None, "fp32": None, "baseline": None, "per_class": False, **partners}
    return quality(found[label], ask(found, images), images, **given)


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


@pytest.mark.parametrize("names", [COLOURS, ()], ids=["named", "those of the images"])
def test_agreement_follows_class_names_not_their_order(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    """Of a teacher that names none, too: its classes are those of the images, in their order."""
    write_classifier(tmp_path / "a" / "model.onnx", name="a", role="teacher")
    write_classifier(
        tmp_path / "b" / "model.onnx", name="b", class_names=("blue", "red", "green"),
        answers=(1, 2, 0),
    )  # fmt: skip
    found = rows(tmp_path)
    card = found["a fp32"].card.model_copy(update={"class_names": names})
    found["a fp32"] = replace(found["a fp32"], card=card)
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


def test_models_of_two_sizes_see_the_same_images(tmp_path: Path) -> None:
    write_export(tmp_path / "e")
    write_classifier(tmp_path / "e" / "wide" / "model.onnx", name="wide", size=16)
    folder = write_folder(tmp_path / "mine", coloured_images(LABELS, size=16))
    found = rows(tmp_path / "e")
    images = load(found, data=str(folder))
    assert sorted(images.of_size) == [8, 16]
    result = fields("small fp32", found, images, teacher=found["wide fp32"])
    assert result["agreement"] == 1.0


def test_a_class_without_pictures_is_asked_of_nobody(tmp_path: Path) -> None:
    found = rows(write_export(tmp_path))
    images = coloured_images(LABELS)
    besides = ImageSet("mine", images.images, images.labels, (*images.class_names, "masks"))
    answers = ask(found, asked(besides))
    assert set(answers.correct) == set(found)
    assert answers.correct["small fp32"].all()


def test_what_is_no_classifier_is_not_judged(tmp_path: Path) -> None:
    path = write_identity(tmp_path / "m.onnx", TensorProto.FLOAT, [1, 3, 8, 8])
    (row,) = collect([Reference.parse(f"{path}:normalization=none")])[0]
    answers = ask({"m": row}, asked(coloured_images(LABELS)))
    assert "not one number for each class" in answers.reasons[row.key]
    assert answers.logits == {}


def test_probabilities_of_a_foreign_file_are_taken_as_such_and_said(tmp_path: Path) -> None:
    path = write_classifier(tmp_path / "m.onnx", card=False, softmax=True)
    found = rows(path)
    images = asked(coloured_images(LABELS))
    (label,) = found
    alike = rows(write_classifier(tmp_path / "n.onnx", card=False))
    (other,) = alike
    assert fields(label, found, images)["nll"] == pytest.approx(
        fields(other, alike, images)["nll"], rel=1e-4
    )
    assert any("or their logarithms" in note for note in ask(found, images).notes)
    assert not any("logarithms" in note for note in ask(alike, images).notes)


def test_an_output_that_is_none_of_images_is_no_hindrance_unless_it_is_the_first(
    tmp_path: Path,
) -> None:
    beside = rows(write_more(write_classifier(tmp_path / "a.onnx"), "logits", "loss", "label"))
    assert fields("tiny fp32", beside, asked(coloured_images(LABELS)))["top1"] == 1.0
    for number, outputs in enumerate([("loss", "logits"), ("label", "logits")]):
        path = write_classifier(tmp_path / f"{number}.onnx", card=False)
        (row,) = rows(write_more(path, *outputs)).values()
        reason = ask({"m": row}, asked(coloured_images(LABELS))).reasons[row.key]
        assert "answer for each image" in reason or "one number for each class" in reason


def test_a_file_that_would_saturate_here_is_not_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In ONNX Runtime's own format it cannot be run without; the .onnx file can."""
    monkeypatch.setattr(runtime, "saturates", lambda: True)
    model = write_classifier(tmp_path / "m.onnx", precision="int8", target="arm64")
    images = asked(coloured_images(LABELS))
    for place, reason in ((model, None), (in_ort_format(model), "name the .onnx file")):
        said = fields("tiny int8", rows(place), images)["not_judged"]
        assert said is None if reason is None else reason in said
