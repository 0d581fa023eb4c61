"""`compress distill`, from its configuration to its run directory."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from compress import evaluate
from compress.errors import ConfigError, InputError, Interrupted
from compress.models import weights
from compress.records.distill import DistillRecord, StudentRow
from compress.runs import read_manifest
from compress.stages.distill import distill
from compress.training.answers import Teaching
from compress.training.inputs import Batch
from tests.notes import Notes
from tests.tiny_session import kill_at_save
from tests.tiny_stages import (
    MODEL,
    TINY,
    Disturbed,
    distill_flags,
    files,
    place,
    store_answers,
    tiny_distill,
    train_config,
)
from tests.tiny_training import Killed, teacher_file, trained_teacher_file

TEACHER = "teacher.safetensors"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path) -> Iterator[None]:
    with place(tmp_path / "here"):
        trained_teacher_file(Path(TEACHER))
        yield


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DistillRecord]:
    """A run of two alphas and two seeds with their controls and their averages."""
    with place(tmp_path_factory.mktemp("swept")) as folder:
        trained_teacher_file(Path(TEACHER))
        record = distill(
            tiny_distill(
                teacher=[TEACHER],
                sweep={"alpha": [0.5, 0.9]},
                seeds=[0, 1],
                ensemble=True,
                run_dir="run",
            )
        )
        return folder / "run", record


def taught(progress: Any = None, **changes: Any) -> DistillRecord:
    """Learn from the teacher in this folder."""
    return distill(tiny_distill(**{"teacher": [TEACHER], **changes}), progress=progress or Notes())


def by_label(record: DistillRecord) -> dict[str, StudentRow]:
    return {row.label: row for row in record.students}


def test_labels_say_what_was_swept_and_the_seed(swept: tuple[Path, DistillRecord]) -> None:
    run, record = swept
    expected = [
        *(f"small_cnn-a{alpha}-s{seed}" for alpha in (0.5, 0.9) for seed in (0, 1)),
        *(f"small_cnn-control-s{seed}" for seed in (0, 1)),
    ]
    assert [row.label for row in record.students] == expected
    assert sorted(files(run)) == sorted(
        f"{label}{kind}.safetensors" for label in expected for kind in ("", ".last")
    )
    assert by_label(record)["small_cnn-a0.5-s1"].settings == {"alpha": 0.5}


def test_gain_and_agreement_are_over_the_stored_predictions(
    swept: tuple[Path, DistillRecord],
) -> None:
    run, record = swept

    def predictions(label: str) -> tuple[np.ndarray, np.ndarray]:
        with np.load(run / "predictions" / f"{label}.npz") as arrays:
            return arrays["test_logits"].argmax(1), arrays["test_labels"]

    teacher, _ = predictions("teacher")
    for row in record.students:
        mine, labels = predictions(row.label)
        assert row.top1 == (mine == labels).mean()
        assert row.agreement == (mine == teacher).mean()
        if row.role == "control":
            assert (row.kd_gain, row.kd_gain_low, row.kd_gain_high) == (None, None, None)
            continue
        control, _ = predictions(f"small_cnn-control-s{row.seed}")
        assert row.kd_gain == pytest.approx((mine == labels).mean() - (control == labels).mean())
        assert (row.kd_gain_low, row.kd_gain_high) == evaluate.paired_interval(
            mine == labels, control == labels
        )


def test_the_teacher_has_a_row_and_predictions_of_its_own(
    swept: tuple[Path, DistillRecord],
) -> None:
    run, record = swept
    with np.load(run / "predictions" / "teacher.npz") as arrays:
        right = arrays["test_logits"].argmax(1) == arrays["test_labels"]
    assert record.teacher.name == "small_cnn"
    assert record.teacher.top1 == right.mean() > 0.5
    assert record.teacher.foreign
    assert record.teacher.seconds > 0
    assert record.soft_labels == "stored"


def test_seeds_are_summed_up_per_setting(swept: tuple[Path, DistillRecord]) -> None:
    _, record = swept
    rows = by_label(record)
    assert [(summary.label, summary.seeds) for summary in record.summary] == [
        ("small_cnn-a0.5", 2),
        ("small_cnn-a0.9", 2),
        ("small_cnn-control", 2),
    ]
    gains: list[Any] = [rows[f"small_cnn-a0.9-s{seed}"].kd_gain for seed in (0, 1)]
    assert record.summary[1].kd_gain_mean == pytest.approx(np.mean(gains))


def test_averages_of_students_are_rows(swept: tuple[Path, DistillRecord]) -> None:
    run, record = swept
    members = [row.label for row in record.students if row.role == "student"]
    total = np.zeros((360, 10))
    for label in members:
        with np.load(run / "predictions" / f"{label}.npz") as arrays:
            scores = np.exp(arrays["test_logits"].astype(np.float64))
            total += scores / scores.sum(axis=1, keepdims=True)
            labels = arrays["test_labels"]
    everyone = {row.label: row for row in record.ensembles}["average of 4 students"]
    assert everyone.members == 4
    assert everyone.top1 == (total.argmax(1) == labels).mean()
    assert everyone.mean_member_top1 == pytest.approx(
        np.mean([by_label(record)[label].top1 for label in members])
    )


def test_every_file_is_listed_with_its_digest(swept: tuple[Path, DistillRecord]) -> None:
    run, _ = swept
    manifest = read_manifest(run)
    assert manifest.status == "complete"
    on_disk = {p.relative_to(run).as_posix() for p in run.rglob("*") if p.is_file()}
    assert on_disk - set(manifest.artifacts) == {"lock", "manifest.json", "last.pt"}
    assert manifest.inputs.keys() == {"data", "test images", "teacher"}
    assert {"threads", "teacher", f"format of {MODEL}"} <= manifest.choices.keys()


def test_a_student_ends_the_same_alone_and_in_company(
    swept: tuple[Path, DistillRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = swept
    monkeypatch.setenv("COMPRESS_CACHE", str(run.parent / "cache"))  # one format trial for both
    record = taught(alpha=0.5, seed=1, control=False)
    alone = files(Path("runs") / record.run)
    assert [row.label for row in record.students] == ["small_cnn"]
    assert record.students[0].kd_gain is None
    assert alone["small_cnn.safetensors"] == files(run)["small_cnn-a0.5-s1.safetensors"]


def test_groups_of_one_end_as_all_together() -> None:
    together = taught(student=[MODEL, "two=two_block_cnn"], run_dir="together")
    single = taught(student=[MODEL, "two=two_block_cnn"], run_dir="single", group=1)
    assert files(Path("together")) == files(Path("single"))
    assert [row.label for row in together.students] == [row.label for row in single.students]
    assert [row.top1 for row in together.students] == [row.top1 for row in single.students]


def test_the_same_command_shows_a_complete_run_again() -> None:
    first, notes = taught(), Notes()
    assert taught(progress=notes) == first
    assert "is complete; --restart distils anew" in notes.text
    assert notes.started == []


def test_another_option_in_the_same_run_directory_is_named() -> None:
    taught(run_dir="mine", control=False, epochs=1, alpha=0.9)
    with pytest.raises(ConfigError, match=r"--alpha is 0\.9 in the run, 0\.3 now"):
        taught(run_dir="mine", control=False, epochs=1, alpha=0.3)


def test_resume_with_a_flag_that_differs_names_it() -> None:
    taught(run_dir="mine", control=False, epochs=1, temperature=4.0)
    flags = distill_flags(resume="mine", temperature=2.0, epochs=1)
    with pytest.raises(ConfigError, match=r"--temperature is 4\.0 in the run, 2\.0 now"):
        distill(tiny_distill(resume="mine", temperature=2.0, epochs=1), flags=flags)


def test_the_missing_teacher_is_trained_first_and_found_the_next_time() -> None:
    def config(**changes: Any) -> Any:
        asked = tiny_distill(control=False, epochs=1, **changes)
        return asked.model_copy(update={"teacher_training": train_config(epochs=3)})

    notes = Notes()
    curves: dict[Path, int] = {}
    record = distill(
        config(), progress=notes, watch=lambda run, epochs: curves.update({run: len(epochs)})
    )
    teacher = next(path for path in Path("runs").iterdir() if path.name != record.run)
    assert "no complete run of small_cnn:width=0.25 on digits under runs/: training" in notes.text
    manifest = read_manifest(Path("runs") / record.run)
    pin = manifest.choices["teacher"][0]
    assert pin["path"] == str(teacher / "students" / "small_cnn.safetensors")
    assert manifest.inputs["teacher"].sha256 == weights.load(Path(pin["path"]), {}).sha256
    assert not record.teacher.foreign
    assert curves == {teacher: 3, Path("runs") / record.run: 1}

    notes = Notes()
    distill(config(alpha=0.5), progress=notes)
    assert f"teacher: {teacher}, the newest complete run of small_cnn on this data" in notes.text
    assert not any("epoch 1/3" in task for task in notes.started)


def test_a_training_with_another_alpha_spends_no_time_on_the_teacher() -> None:
    first, second = taught(alpha=0.9), taught(alpha=0.1)
    assert first.teacher.seconds > 0
    assert second.teacher.seconds == 0
    assert second.teacher.top1 == first.teacher.top1


def test_labels_made_ahead_of_time_are_those_a_run_would_have_made() -> None:
    taught(run_dir="live")
    store_answers(TEACHER, Path("labels"))
    Path(TEACHER).unlink()
    taught(run_dir="ahead", soft_labels="labels", teacher=[])
    assert files(Path("live")) == files(Path("ahead"))


def test_losses_on_features_alone_fill_no_view() -> None:
    record = taught(loss=["fitnet:weight=1"], epochs=1, soft_labels="labels")
    assert record.soft_labels == "live"
    assert list(Path("labels").glob("*/views/*")) == []


def test_an_ensemble_teaches_under_its_own_name() -> None:
    teacher_file(Path("other.safetensors"), seed=5)
    record = taught(teacher=[TEACHER, TEACHER, "other.safetensors"], epochs=1)
    assert record.teacher.name == "ensemble of 3"
    manifest = read_manifest(Path("runs") / record.run)
    teachers = {f"teacher {number}" for number in (1, 2, 3)}
    assert manifest.inputs.keys() == {"data", "test images"} | teachers


def test_losses_on_features_run_the_teacher_live() -> None:
    notes = Notes()
    record = taught(loss=["kd", "fitnet:weight=1"], epochs=1, progress=notes)
    assert record.soft_labels == "both"
    assert "the teacher runs live at every step" in notes.text
    assert "fitnet has weight 1, its usual weight is 100: " in notes.text
    notes = Notes()
    taught(loss=["kd"], epochs=1, progress=notes)
    assert "stored soft labels; the teacher runs once per view" in notes.text


def test_the_teacher_stops_running_live_when_nobody_learns_from_it_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The student on features diverges in the first step; killed after an epoch, it stays away."""
    seen: list[set[str]] = []
    features = Teaching.features

    def watched(self: Teaching, batch: Batch) -> Mapping[str, Tensor]:
        found = features(self, batch)
        seen.append(set(found))
        return found

    monkeypatch.setattr(Teaching, "features", watched)
    asked: dict[str, Any] = {"sweep": {"loss": ["ce + kd", "ce + attention:weight=1e39"]}}
    with monkeypatch.context() as patch:
        kill_at_save(patch, 1)
        with pytest.raises(Killed):
            taught(**asked)
    assert seen[0] == {"stage1", "stage2", "stage3"}
    assert len(seen) > 1
    assert not any(seen[1:])
    record = taught(**asked)
    assert [row.label for row in record.diverged] == ["small_cnn-attention"]
    assert not any(seen[1:])


def test_projectors_are_saved_and_do_not_depend_on_company() -> None:
    asked = {"student": [f"a={MODEL}", f"b={MODEL}"], "sweep": {"loss": ["kd + fitnet", "kd"]}}
    taught(run_dir="whole", **asked)
    taught(run_dir="parts", group=1, **asked)
    with pytest.raises(Interrupted):
        taught(run_dir="broken", progress=Disturbed(3), **asked)
    taught(run_dir="broken", **asked)
    assert files(Path("whole")) == files(Path("parts")) == files(Path("broken"))


def test_losses_on_features_take_no_ensemble_of_a_runs_students(
    swept: tuple[Path, DistillRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(*_arguments: object, **_options: object) -> None:
        pytest.fail("the ensemble was made ready")

    monkeypatch.setattr("compress.stages.teaching.make_teacher", made)
    with pytest.raises(ConfigError, match="needs one teacher, not an ensemble"):
        taught(teacher=[f"{swept[0]}:students=all"], loss=["rkd"])


def test_a_teacher_at_chance_is_refused_and_the_run_failed() -> None:
    teacher_file(Path("fool.safetensors"))
    fool = weights.load(Path("fool.safetensors"), {})
    state = {name: value * 0 for name, value in fool.state.items()}
    weights.save(Path("fool.safetensors"), state, fool.header)
    with pytest.raises(InputError, match=r"fool\.safetensors has 10\.\d% test top-1"):
        taught(teacher=["fool.safetensors"], run_dir="mine")
    assert read_manifest(Path("mine")).status == "failed"


def test_a_teacher_of_other_classes_is_refused() -> None:
    teacher_file(Path("animals.safetensors"), class_names=("cat", "dog"))
    with pytest.raises(InputError, match="2 classes"):
        taught(teacher=["animals.safetensors"])


def test_a_loss_that_needs_plain_labels_is_refused_with_mixing() -> None:
    with pytest.raises(ConfigError, match="loss dkd is not defined for mixed labels"):
        taught(loss=["dkd"], augmentation={"mixup": 1.0})
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"student": ["small_cnn:wdth=1"]}, "wdth"),
        ({"loss": ["kdd"]}, "unknown loss 'kdd'"),
        ({"ensemble": True}, "--ensemble of 1 student"),
        ({"sweep": {"speed": [1]}}, "unknown sweep key 'speed'"),
        ({"sweep": {"gamma": [0.1, 0.2]}}, "--sweep gamma changes nothing with the schedule"),
        ({"loss": ["kd", "rkd"], "teacher": [TEACHER, TEACHER]}, "needs one teacher"),
        (
            {"sweep": {"loss": ["kd", "rkd"]}, "teacher": [], "soft_labels": "labels"},
            "needs the teacher itself",
        ),
    ],
)
def test_what_cannot_work_is_refused_before_anything_begins(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        taught(**changes)
    assert not Path("runs").exists()


def test_a_teacher_that_changed_since_the_run_began_is_refused() -> None:
    with pytest.raises(Interrupted):
        taught(progress=Disturbed(3))
    teacher_file(Path(TEACHER), seed=9)
    with pytest.raises(InputError, match=r"teacher\.safetensors changed since the run began"):
        taught()


def test_an_interrupted_run_goes_on_to_the_same_end() -> None:
    expected = taught(run_dir="whole", epochs=3)
    with pytest.raises(Interrupted, match="stopped after epoch 2 of 3"):
        taught(run_dir="broken", epochs=3, progress=Disturbed(13))
    record = taught(run_dir="broken", epochs=3)
    assert files(Path("broken")) == files(Path("whole"))
    assert without_times(record) == without_times(expected)


def without_times(record: DistillRecord) -> dict[str, Any]:
    text = json.loads(record.to_json())
    text.pop("seconds")
    text.pop("run")
    for row in (text["teacher"], *text["students"]):
        row.pop("seconds")
    return text


def test_the_format_of_the_teacher_is_settled_once_per_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from compress.training.teachers import Teacher

    with pytest.raises(Interrupted):
        taught(progress=Disturbed(3))
    monkeypatch.setattr(Teacher, "choose_format", lambda *_: pytest.fail("chosen again"))
    assert taught().teacher.top1 > 0.5


def test_places_are_no_part_of_the_name_of_a_run() -> None:
    one = taught(epochs=1)
    other = taught(epochs=1, soft_labels="labels", workers=1)
    assert one.run == other.run
    assert TINY["data"] in one.run
