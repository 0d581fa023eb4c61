"""Students averaged into one answer, trained in groups, and distilled back into one student."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from compress.config.distill import DistillConfig, distill_config, plan_students
from compress.config.recipes import build
from compress.config.train import TrainConfig
from compress.data.images import Splits
from compress.errors import ConfigError
from compress.evaluate import softmax
from compress.records.distill import DistillRecord
from compress.runs import read_manifest
from compress.stages import distill as stage
from compress.stages.distill import check_plans, distill
from compress.stages.ensembles import average
from compress.stages.train import train
from compress.training.predictions import read_predictions
from compress.training.results import Finished
from tests.fake_run import student
from tests.tiny_training import digits
from tests.trained_run import save_weights

EMPTY = np.zeros((0, 10), np.float32)
RUNS = ("together", "apart")


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that know the digits somewhat."""
    return save_weights(tmp_path_factory.mktemp("teacher") / "teacher.safetensors")


def distilled(teacher: str | Path, **changes: Any) -> DistillRecord:
    """One epoch on the digits at 8 pixels."""
    layer = {
        "data": "digits",
        "image_size": 8,
        "teacher": str(teacher),
        "student": "small_cnn:width=0.25",
        "epochs": 1,
        "batch_size": 128,
        "amp": "off",
        **changes,
    }
    return distill(build(DistillConfig, layer))


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory, teacher: Path) -> Path:
    """A run of one student and its control."""
    folder = tmp_path_factory.mktemp("runs") / "members"
    distilled(teacher, run_dir=folder)
    return folder


def finished(label: str, probability_of_the_label: list[float], splits: Splits, **row: Any) -> Any:
    """Answers that give the true class these probabilities, image by image, the next the rest."""
    labels = splits.test.known_labels
    p = np.resize(probability_of_the_label, len(labels))
    logits = np.full((len(labels), splits.classes), -30.0)
    logits[np.arange(len(labels)), labels] = np.log(p)
    logits[np.arange(len(labels)), (labels + 1) % splits.classes] = np.log(1 - p)
    top1 = float((p > 0.5).mean())
    return Finished(student(label, top1=top1, **row), EMPTY, logits.astype(np.float32))


def test_members_are_averaged_as_probabilities() -> None:
    """0.99, 0.45, 0.45 average to 0.63: right, though two of three are wrong.

    0.999, 0.2, 0.2 average to 0.47: wrong, though the mean of their logits is right.
    """
    splits = digits()
    members = [
        finished("a-s0", [0.99, 0.999], splits, seed=0),
        finished("a-s1", [0.45, 0.2], splits, seed=1),
        finished("a-s2", [0.45, 0.2], splits, seed=2),
    ]
    (row,) = average(members, splits.test.known_labels)
    assert (row.label, row.members) == ("average of 3 students", 3)
    assert row.top1 == 0.5
    assert row.mean_member_top1 == pytest.approx((1 + 0 + 0) / 3)
    assert row.top1_low < 0.5 < row.top1_high


def test_the_gain_over_the_members_is_paired_by_image() -> None:
    """Of two images the ensemble gets one right and each time a third of its members does.

    So the difference is 2/3 or -1/3 by turns: 1/6 on average, with a standard deviation of 1/2.
    """
    splits = digits()
    members = [
        finished("a-s0", [0.99, 0.999], splits, seed=0),
        finished("a-s1", [0.45, 0.2], splits, seed=1),
        finished("a-s2", [0.45, 0.2], splits, seed=2),
    ]
    (row,) = average(members, splits.test.known_labels)
    half = 1.96 * 0.5 / splits.test.count**0.5
    assert row.gain == pytest.approx(1 / 6)
    assert (row.gain_low, row.gain_high) == pytest.approx((1 / 6 - half, 1 / 6 + half), abs=0.01)


def test_an_average_of_equals_gains_nothing() -> None:
    splits = digits()
    members = [finished(f"a-s{seed}", [0.9, 0.1], splits, seed=seed) for seed in (0, 1)]
    (row,) = average(members, splits.test.known_labels)
    assert row.gain == 0.0
    assert row.gain_low is not None
    assert row.gain_high == -row.gain_low
    # of 62 images two differ, by one half each: the standard error is 1 in 62
    assert row.gain_high == pytest.approx(1.96 / 62, abs=1e-5)


def test_students_and_controls_are_averaged_apart_and_each_student_over_its_seeds() -> None:
    splits = digits()
    members = [
        finished(f"{label}-s{seed}", [0.9], splits, seed=seed, role=role)
        for label, role in (("a", "student"), ("b", "student"), ("a-control", "control"))
        for seed in (0, 1)
    ]
    assert [(row.label, row.members) for row in average(members, splits.test.known_labels)] == [
        ("average of 2 a", 2),
        ("average of 2 b", 2),
        ("average of 4 students", 4),
        ("average of 2 controls", 2),
    ]


def test_an_ensemble_of_one_is_refused_before_anything_is_trained() -> None:
    config = build(DistillConfig, {"student": "small_cnn", "ensemble": True})
    with pytest.raises(ConfigError, match="--ensemble of 1 student"):
        check_plans(config, plan_students(config))


def test_one_seed_takes_the_ensemble_out_of_a_recipe(tmp_path: Path) -> None:
    recipe = tmp_path / "ten.toml"
    recipe.write_text("[distill]\nensemble = true\nseeds = [0, 1]\n")
    assert distill_config({"recipe": str(recipe)}).ensemble
    alone = distill_config({"recipe": str(recipe), "seed": 3})
    assert (alone.all_seeds, alone.ensemble) == ((3,), False)


def test_groups_change_neither_the_members_nor_their_average(
    workspace: Path, teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it whether the average was asked for before or after the training."""
    first, second = (workspace / name for name in RUNS)
    together = distilled(teacher, seeds=[0, 1, 2], ensemble=True, run_dir=first)
    assert distilled(teacher, seeds=[0, 1, 2], group=1, run_dir=second).ensembles == ()
    monkeypatch.setattr(stage, "train_students", lambda *_: pytest.fail("trained again"))
    apart = distilled(teacher, seeds=[0, 1, 2], ensemble=True, group=1, run_dir=second)
    own = {"run", "seconds", "students", "teacher"}
    assert together.model_dump(exclude=own) == apart.model_dump(exclude=own)
    for one, other in zip(together.students, apart.students, strict=True):
        assert one.model_dump(exclude={"seconds"}) == other.model_dump(exclude={"seconds"})
        files = [workspace / run / "students" / f"{one.label}.safetensors" for run in RUNS]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_an_ensemble_is_distilled_back_into_one_student(workspace: Path, teacher: Path) -> None:
    members = distilled(
        teacher, seeds=[0, 1], ensemble=True, run_dir=workspace / "members", epochs=2
    )
    student = distilled("members:students=all", run_dir=workspace / "student", control=False)
    assert student.teacher.name == "ensemble of 2"
    assert student.teacher.top1 == members.ensembles[0].top1
    answers = [
        softmax(read_predictions(workspace / "members", f"small_cnn-s{seed}")[1]) for seed in (0, 1)
    ]
    taught_by = softmax(read_predictions(workspace / "student", "teacher")[1])
    assert taught_by == pytest.approx(np.mean(answers, axis=0), abs=1e-5)
    inputs = read_manifest(workspace / "student").inputs
    assert [inputs[f"teacher {number}"].source for number in (1, 2)] == [
        "members:student=small_cnn-s0",
        "members:student=small_cnn-s1",
    ]


def test_all_models_of_a_training_may_teach_together(workspace: Path) -> None:
    layer = {"data": "digits", "image_size": 8, "epochs": 1, "batch_size": 128, "amp": "off"}
    model = {"model": "small_cnn:width=0.25", "seeds": [0, 1], "learning_rate": 0.2}
    train(build(TrainConfig, {**layer, **model, "run_dir": workspace / "two"}))
    student = distilled("two:students=all", control=False)
    assert student.teacher.name == "ensemble of 2"


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("members", "holds several models: small_cnn, small_cnn-control"),
        ("members:student=nobody", "has no students/nobody.safetensors"),
        ("members:students=some", "a run has no option students=some"),
        ("members:model=resnet56", "a run has no option model=resnet56"),
        ("members:student=small_cnn,students=all", "two ways to choose"),
    ],
)
def test_a_choice_of_a_runs_models_must_be_clear(
    workspace: Path, members: Path, reference: str, message: str
) -> None:
    (workspace / "members").symlink_to(members)
    with pytest.raises(Exception, match=message) as caught:
        distilled(reference)
    assert hasattr(caught.value, "exit_code")
