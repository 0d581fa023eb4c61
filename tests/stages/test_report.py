"""Reading finished runs for a report."""

import hashlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from compress.config.report import ReportConfig
from compress.data import registry
from compress.errors import InputError
from compress.models import registry as models
from compress.models import weights
from compress.records.report import ReportRecord, RunReport
from compress.records.run import InputRecord
from compress.runs import MANIFEST, RECORD, read_manifest
from compress.stages.report import MOST_STUDENTS, report
from tests.fake_run import CLASSES, make_run
from tests.notes import Notes


@pytest.fixture
def run(workspace: Path) -> Path:
    return make_run(Path("runs") / "one")


def read(folder: Path, **options: object) -> RunReport:
    config = ReportConfig.model_validate({"runs": (str(folder),), **options})
    return report(config).runs[0]


def replace(folder: Path, name: str, content: bytes) -> None:
    """Give a finished run another file that its manifest agrees with."""
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["artifacts"][name]["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_confusion_counts_every_test_image_once(run: Path) -> None:
    with np.load(run / "predictions" / "small_cnn.npz") as arrays:
        logits, labels = arrays["test_logits"], arrays["test_labels"]
    told = next(one for one in read(run).answers if one.label == "small_cnn")
    expected = [[0] * 10 for _ in range(10)]
    for row, label in zip(logits, labels, strict=True):
        expected[label][int(np.argmax(row))] += 1
    assert [list(row) for row in told.confusion] == expected


def test_bins_of_confidence_hold_every_image_and_agree_with_the_error(run: Path) -> None:
    for told in read(run).answers:
        total = sum(one.count for one in told.reliability)
        assert total == 400
        error = sum(one.count * abs(one.top1 - one.confidence) for one in told.reliability) / total
        assert told.ece == pytest.approx(error)


def test_teacher_student_and_control_are_told_of_in_that_order(run: Path) -> None:
    told = read(run)
    assert [(one.label, one.role) for one in told.answers] == [
        ("teacher", "teacher"),
        ("small_cnn", "student"),
        ("small_cnn-control", "control"),
    ]
    assert len(told.epochs) == 2 * 20


def test_automatic_choices_are_written_for_people(run: Path) -> None:
    manifest = json.loads((run / MANIFEST).read_text())
    chosen = {"dtype": "bfloat16", "channels_last": True, "compiled": False, "calls": 0}
    named = {"name": "resnet56", "options": {"model": "resnet56"}}
    pins = [named, {"name": "other", "options": {}, "foreign": False}]
    manifest["choices"] = {"format of a": chosen, "teacher": pins, "threads": 2}
    (run / MANIFEST).write_text(json.dumps(manifest))
    assert read(run).choices == {
        "format of a": "dtype bfloat16, channels last, calls 0",
        "teacher": "name resnet56, options model resnet56; name other",
        "threads": "2",
    }


def test_samples_come_with_the_images_the_run_was_tested_on(workspace: Path) -> None:
    images = registry.load_test("digits")
    folder = make_run(Path("runs") / "digits", data="digits", labels=images.labels)
    told = read(folder)
    assert told.class_names == tuple("0123456789")
    assert told.notes == ()
    assert all(one.disagreements for one in told.answers if one.role == "student")
    assert not any(one.disagreements for one in told.answers if one.role != "student")


def test_without_the_images_samples_are_left_out_and_the_page_says_so(run: Path) -> None:
    notes = Notes()
    told = report(ReportConfig(runs=(str(run),)), progress=notes).runs[0]
    assert told.notes == ("sample images are left out: cifar10 is not at hand",)
    assert not any(one.disagreements for one in told.answers)
    assert any("cifar10 is in none of" in line for line in notes.notes)


def test_other_images_of_the_same_name_are_not_shown(workspace: Path) -> None:
    folder = make_run(Path("runs") / "digits", data="digits", images=360)
    assert read(folder).notes == (
        "sample images are left out: digits test is not what the run was tested on",
    )


def test_pictures_that_changed_are_not_shown_though_their_labels_are_the_same(
    workspace: Path,
) -> None:
    images = registry.load_test("digits")
    folder = make_run(Path("runs") / "digits", data="digits", labels=images.labels)
    manifest = read_manifest(folder)
    left_out = "sample images are left out: digits test is not what the run was tested on"
    for sha256, notes in ((images.sha256, ()), ("0" * 64, (left_out,))):
        pinned = {**manifest.inputs, "test images": InputRecord(source="digits", sha256=sha256)}
        changed = manifest.model_copy(update={"inputs": pinned})
        (folder / "manifest.json").write_text(changed.to_json())
        assert read(folder).notes == notes


def test_classes_are_called_what_the_weights_call_them(run: Path) -> None:
    shutil.rmtree(run)
    folder = make_run(run, command="train")
    assert read(folder).class_names == tuple("0123456789")
    shutil.rmtree(run)
    model = models.build("small_cnn", classes=10, image_size=8, options={"width": 0.25})
    header = weights.WeightsHeader(
        model="small_cnn",
        options=models.resolve_options("small_cnn", image_size=8, options={"width": 0.25}),
        class_names=CLASSES,
        image_size=8,
        mean=(0.5, 0.5, 0.5),
        std=(0.2, 0.2, 0.2),
    )
    weights.save(run.with_name("w.safetensors"), model.state_dict(), header)
    folder = make_run(run, command="train", weights=run.with_name("w.safetensors"))
    assert read(folder).class_names == CLASSES


def test_a_training_has_models_and_nobody_to_compare_them_with(workspace: Path) -> None:
    told = read(make_run(Path("runs") / "alone", command="train"))
    assert [(one.label, one.role) for one in told.answers] == [("small_cnn", "student")]
    assert told.answers[0].agreement is None
    assert told.notes == ()


def test_of_several_seeds_the_first_is_shown_in_detail(workspace: Path) -> None:
    told = read(make_run(Path("runs") / "seeds", seeds=(3, 5)))
    assert [one.label for one in told.answers] == [
        "teacher",
        "small_cnn-s3",
        "small_cnn-control-s3",
    ]
    assert "answers are shown in detail for the first seed of each student" in told.notes


def many(count: int) -> RunReport:
    """A run of students that are worse one by one on validation, all controls being better."""
    names = [f"small_cnn{place}" for place in range(count)]
    folder = make_run(Path("runs") / "many", models=names)
    record = json.loads((folder / RECORD).read_text())
    for place, row in enumerate(record["students"]):
        row["model"] = row["label"].removesuffix("-control")
        row["val_top1"] = 0.9 - 0.01 * place + 0.3 * (row["role"] == "control")
    replace(folder, RECORD, json.dumps(record).encode())
    return read(folder)


def test_of_many_students_the_best_on_validation_are_shown_in_detail(workspace: Path) -> None:
    told = many(10)
    shown = [one.label for one in told.answers if one.role == "student"]
    assert shown == [f"small_cnn{place}" for place in range(8)]
    assert len(shown) == MOST_STUDENTS
    note = "answers are shown in detail for the 8 of 10 students with the best validation top-1"
    assert note in told.notes


def test_controls_are_told_of_beside_their_students_and_take_no_place(workspace: Path) -> None:
    controls = [one.label for one in many(10).answers if one.role == "control"]
    assert controls == [f"small_cnn{place}-control" for place in range(8)]


def test_as_many_students_as_are_shown_are_all_there_are(workspace: Path) -> None:
    told = many(8)
    assert [one.role for one in told.answers].count("student") == 8
    assert not any("in detail" in note for note in told.notes)


def test_a_control_that_several_students_share_is_told_of_once(workspace: Path) -> None:
    """Both taught ones of a sweep over losses have it; that of another learning rate is apart."""
    folder = make_run(Path("runs") / "sweep", models=("small_cnn", "small_cnn2"))
    record = json.loads((folder / RECORD).read_text())
    taught, control, other, slow = record["students"]
    taught["settings"], other["settings"] = (
        {"loss": loss, "learning_rate": 0.1} for loss in ("kd", "dist")
    )
    control["settings"], slow["settings"] = {"learning_rate": 0.1}, {"learning_rate": 0.01}
    replace(folder, RECORD, json.dumps(record).encode())
    assert [one.label for one in read(folder).answers] == [
        *("teacher", "small_cnn", "small_cnn-control", "small_cnn2")
    ]


def test_models_of_a_training_count_like_students(workspace: Path) -> None:
    names = [f"small_cnn{place}" for place in range(9)]
    told = read(make_run(Path("runs") / "many", models=names, command="train"))
    assert len(told.answers) == 8
    assert any("the 8 of 9 students" in note for note in told.notes)


@pytest.mark.parametrize("file", ["record.json", "epochs.jsonl", "predictions/teacher.npz"])
def test_an_altered_file_is_refused(run: Path, file: str) -> None:
    with (run / file).open("ab") as stream:
        stream.write(b" ")
    with pytest.raises(InputError, match="differs from its manifest"):
        read(run)


def test_predictions_that_are_none_are_refused(run: Path) -> None:
    stream = io.BytesIO()
    np.savez(stream, other=np.zeros(3))
    replace(run, "predictions/small_cnn.npz", stream.getvalue())
    with pytest.raises(InputError, match=r"small_cnn\.npz is missing or damaged: .*test_logits"):
        read(run)


def test_a_run_without_stored_predictions_is_told_of_without_details(workspace: Path) -> None:
    folder = make_run(Path("runs") / "bare", predictions=False)
    told = read(folder)
    assert told.answers == ()
    assert any("no predictions of teacher" in note for note in told.notes)


def test_an_unfinished_run_is_refused(workspace: Path) -> None:
    folder = make_run(Path("runs") / "half", complete=False)
    with pytest.raises(InputError, match="is running"):
        read(folder)


def test_a_run_that_is_nowhere_is_named(workspace: Path) -> None:
    with pytest.raises(InputError, match="no run 'nowhere'"):
        report(ReportConfig(runs=("nowhere",)))


def test_the_pages_go_into_the_run_or_beside_several(workspace: Path) -> None:
    make_run(Path("runs") / "one")
    make_run(Path("runs") / "two")

    def folder(*runs: str, out: Path | None = None) -> str:
        return report(ReportConfig(runs=runs, out=out)).folder

    assert folder("one") == "runs/one/report"
    assert folder("one", "two") == "report"
    assert folder("one", out=Path("elsewhere")) == "elsewhere"
    assert folder("last") == "runs/two/report"


def test_a_run_named_twice_is_told_of_once(run: Path) -> None:
    record = report(ReportConfig(runs=("one", str(run), str(run.resolve()))))
    assert [one.result.run for one in record.runs] == ["one"]


def test_the_record_survives_its_json(run: Path) -> None:
    record = report(ReportConfig(runs=("one",)))
    again = ReportRecord.from_data(json.loads(record.to_json()), source="json")
    assert again == record


def test_reading_changes_nothing_in_the_run(run: Path) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    read(run)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
