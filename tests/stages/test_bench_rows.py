from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compress.config.specs import Reference
from compress.errors import ConfigError, InputError
from compress.measure.roofline import RULER
from compress.stages.bench_rows import Row, collect, counterpart, float_form, is_renamed
from tests.tiny_models import write_classifier, write_export


def rows(*targets: object, teacher: object = None) -> list[Row]:
    references = [Reference.parse(str(target)) for target in targets]
    return collect(references, teacher=None if teacher is None else Reference.parse(str(teacher)))[
        0
    ]


def labels(found: list[Row]) -> list[tuple[str, str]]:
    return [(row.label, row.role) for row in found]


def test_an_export_has_a_row_per_file_with_the_teacher_first(tmp_path: Path) -> None:
    found = rows(write_export(tmp_path))
    assert labels(found) == [
        ("big fp32", "teacher"),
        ("small fp32", "student"),
        ("small int8", "student"),
    ]


def test_one_artifact_and_one_file_can_be_named(tmp_path: Path) -> None:
    place = write_export(tmp_path)
    assert labels(rows(place / "small")) == [("small fp32", "student"), ("small int8", "student")]
    assert labels(rows(place / "small" / "model.int8.onnx")) == [("small int8", "student")]


def test_a_teacher_from_elsewhere_takes_the_place_of_the_exports_own(tmp_path: Path) -> None:
    place = write_export(tmp_path / "e")
    other = write_classifier(tmp_path / "huge.onnx", name="huge", role="student", work=1)
    found, notes = collect([Reference(target=str(place))], teacher=Reference(target=str(other)))
    assert [label for label, role in labels(found) if role == "teacher"] == ["huge fp32"]
    assert len(found) == 3
    assert "not with the teacher of" in notes[0]


def test_a_teacher_given_as_an_export_is_that_exports_teacher(tmp_path: Path) -> None:
    place = write_export(tmp_path)
    found = rows(place / "small", teacher=place)
    assert labels(found)[0] == ("big fp32", "teacher")


def test_an_export_without_a_teacher_is_none(tmp_path: Path) -> None:
    for work, name in enumerate(("a", "b")):
        write_classifier(tmp_path / name / "model.onnx", name=name, work=work)
    with pytest.raises(ConfigError, match="holds a, b and no teacher"):
        rows(tmp_path / "a", teacher=tmp_path)


def test_the_same_file_twice_is_one_row(tmp_path: Path) -> None:
    place = write_export(tmp_path)
    assert len(rows(place, place / "small", place)) == 3


def test_two_versions_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for version in ("old", "new"):
        folder = tmp_path / version / "small"
        write_classifier(folder / "model.onnx", name="small", gain=len(version))
        write_classifier(folder / "model.int8.onnx", name="small", precision="int8")
    write_classifier(tmp_path / "new" / "small" / "model.onnx", name="small", gain=0.5)
    found = rows(tmp_path / "old" / "small", tmp_path / "new" / "small" / "model.onnx")
    assert [row.name for row in found] == ["old/small", "old/small", "new/small"]


def test_a_file_from_elsewhere_is_named_like_its_file() -> None:
    (row,) = rows(RULER)
    assert (row.name, row.precision, row.role) == ("ruler", "fp32", "student")
    assert row.card.mean is None


def test_options_complete_a_file_from_elsewhere() -> None:
    (row,) = rows(f"{RULER}:normalization=imagenet,role=control,name=mine")
    assert (row.name, row.role) == ("mine", "control")
    assert row.card.mean == (0.485, 0.456, 0.406)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("normalisation=none", "unknown option 'normalisation'"),
        ("normalization=imagnet", "unknown normalization 'imagnet'"),
        ("role=boss", "unknown role 'boss'"),
    ],
)
def test_wrong_options_name_the_known_ones(options: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        rows(f"{RULER}:{options}")
    assert "known" in error.value.hint


def test_options_after_what_describes_itself_are_refused(tmp_path: Path) -> None:
    place = write_export(tmp_path)
    with pytest.raises(ConfigError, match="describes itself"):
        rows(f"{place / 'small'}:normalization=none")
    with pytest.raises(ConfigError, match="holds 2 models"):
        rows(f"{place}:normalization=none")


def test_quantized_files_from_elsewhere_are_recognised(tmp_path: Path) -> None:
    plain = write_classifier(tmp_path / "plain.onnx", card=False)
    quantized = write_classifier(tmp_path / "quantized.onnx", card=False, quantized=True)
    assert [row.precision for row in rows(plain, quantized)] == ["fp32", "int8"]


def test_a_file_that_takes_no_image_is_refused() -> None:
    with pytest.raises(InputError, match="not one uint8 NHWC or float NCHW image"):
        rows(RULER.with_name("peak_int8.onnx"))


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.onnx"):
        rows(tmp_path / "nothing.onnx")


def test_a_baselines_row_is_the_one_of_the_same_name_or_the_only_models(tmp_path: Path) -> None:
    def found(name: str, *models: str) -> list[Row]:
        for model in models:
            write_classifier(tmp_path / name / model / "model.onnx", name=model)
        return collect([Reference(target=str(tmp_path / name))])[0]

    new, old, both = found("new", "a"), found("old", "b"), found("both", "a", "b")
    assert is_renamed(new, old)
    assert not is_renamed(new, both)
    assert not is_renamed(both, old)
    assert counterpart(new[0], both, renamed=True) is both[0]
    assert counterpart(new[0], old, renamed=True) is old[0]
    assert counterpart(new[0], old, renamed=False) is None


def test_a_teacher_that_is_named_again_is_no_other(tmp_path: Path) -> None:
    place = write_export(tmp_path)
    teacher = Reference(target=str(place / "teacher"))
    assert collect([Reference(target=str(place))], teacher=teacher)[1] == []


def test_a_foreign_file_may_be_called_half_precision(tmp_path: Path) -> None:
    write_classifier(tmp_path / "x" / "model.onnx", card=False)
    write_classifier(tmp_path / "x" / "model.fp16.onnx", card=False, gain=0.06)
    found, _ = collect([Reference(target=str(tmp_path / "x"))])
    assert [row.precision for row in found] == ["fp32", "fp16"]


def test_a_float_form_that_two_folders_share_stands_where_it_came_first(tmp_path: Path) -> None:
    """As two exports of one model with other calibration images are."""
    for folder, gain in (("a", 1.0), ("b", 0.5)):
        place = tmp_path / folder / "small"
        made_of: dict[str, Any] = {"name": "small", "weights_sha256": "5" * 64}
        write_classifier(place / "model.onnx", **made_of)
        write_classifier(place / "model.int8.onnx", precision="int8", gain=gain, **made_of)
    found = rows(tmp_path / "a", tmp_path / "b")
    assert [row.label for row in found] == ["a/small fp32", "a/small int8", "b/small int8"]


def test_other_weights_are_no_float_form_though_they_have_the_name(tmp_path: Path) -> None:
    """As a release of which only the new INT8 file and the old float file are at hand."""
    for folder, precision, weights in (("new", "int8", "1"), ("old", "fp32", "2")):
        name = "model.onnx" if precision == "fp32" else "model.int8.onnx"
        made_of: dict[str, Any] = {"precision": precision, "weights_sha256": weights * 64}
        write_classifier(tmp_path / folder / "small" / name, name="small", **made_of)
    new, old = (rows(tmp_path / folder)[0] for folder in ("new", "old"))
    assert float_form(new, [new, old]) is None
    unknown = replace(old, card=old.card.model_copy(update={"weights_sha256": None}))
    assert float_form(new, [new, unknown]) is unknown


def test_one_teacher_in_two_forms_is_one(tmp_path: Path) -> None:
    for folder, gain in (("a", 1.0), ("b", 0.5)):
        write_classifier(
            tmp_path / folder / "big" / "model.int8.onnx",
            name="big",
            role="teacher",
            precision="int8",
            gain=gain,
            weights_sha256="5" * 64,
        )
    _, notes = collect([Reference(target=str(tmp_path / folder)) for folder in "ab"])
    assert notes == []
