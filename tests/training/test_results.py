"""What a trained student leaves behind."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from compress import evaluate
from compress.data.images import ImageSet
from compress.errors import InputError
from compress.models import cost, weights
from compress.models import registry as models
from compress.records.distill import StudentRow
from compress.records.run import EpochRecord
from compress.runs import Run
from compress.training.inputs import Normalize, TrainingImages, as_tensor
from compress.training.learner import Learner
from compress.training.results import finish, read_finished
from tests.tiny_training import CPU, digits, learner, open_run, plan, same_weights
from tests.tiny_training import run as train

PLAN = plan("tiny", settings={"alpha": 0.5})


def epochs(labels: list[str], count: int) -> list[EpochRecord]:
    numbers = {"loss": 1.0, "train_top1": 0.5, "val_top1": 0.5, "val_loss": 1.0}
    times = {"learning_rate": 0.1, "images_per_second": 1.0, "seconds": 1.0}
    return [
        EpochRecord(label=label, epoch=epoch, **numbers, **times)
        for epoch in range(1, count + 1)
        for label in labels
    ]


def trained() -> Learner:
    """A small_cnn after three epochs, of which the second is the chosen one."""
    torch.manual_seed(0)
    model = models.build("small_cnn", classes=10, image_size=8, options=PLAN.model.options)
    student = learner("tiny", model=model, epochs=3)
    chosen: list[dict[str, torch.Tensor]] = []
    train([student], epochs=3, save=lambda _: chosen.append(student.weights()))
    student.best, student.best_epoch, student.best_validation = chosen[1], 2, None
    return student


def finished(run: Run, student: Learner) -> StudentRow:
    run.write_epochs(epochs(["tiny"], 3))
    images = TrainingImages(digits().train, device=CPU)
    finish(run, digits(), PLAN, student, images)
    return read_finished(run, PLAN).row


def test_figures_are_those_of_the_chosen_epoch_in_the_kept_files(tmp_path: Path) -> None:
    run, student = open_run(tmp_path / "run"), trained()
    row = finished(run, student)
    read = weights.load(run.folder / "students" / "tiny.safetensors", {})
    model = weights.instantiate(read, digits().class_names)
    normalize = Normalize(
        read.header.mean, read.header.std, device=CPU, memory_format=torch.contiguous_format
    )

    def top1(split: ImageSet) -> float:
        with torch.no_grad():
            logits = model(normalize(as_tensor(split, CPU))).numpy()
        return float((logits.argmax(1) == split.known_labels).mean())

    assert student.best is not None
    assert same_weights(read.state, student.best)
    assert row.top1 == top1(digits().test)
    assert row.val_top1 == top1(digits().validation)
    assert row.train_top1 == top1(digits().train)
    assert (row.top1_low, row.top1_high) == evaluate.wilson(round(row.top1 * 60), 60)
    assert row.parameters == cost.parameters(model)
    assert row.macs == cost.macs(model, 8)
    assert (row.selected_epoch, row.seed, row.role) == (2, 0, "control")
    assert row.settings == {"alpha": 0.5}
    assert row.model == "small_cnn:dropout=0.5,width=0.25"


def test_the_last_epoch_is_kept_and_reported_beside_it(tmp_path: Path) -> None:
    run, student = open_run(tmp_path / "run"), trained()
    row = finished(run, student)
    read = weights.load(run.folder / "students" / "tiny.last.safetensors", {})
    assert same_weights(read.state, student.weights())
    logits = student.logits(as_tensor(digits().test, CPU))
    assert row.last_top1 == (logits.argmax(1) == digits().test.known_labels).mean()


def test_where_the_last_epoch_is_chosen_both_figures_agree(tmp_path: Path) -> None:
    run, student = open_run(tmp_path / "run"), trained()
    student.best, student.best_epoch, student.best_validation = student.weights(), 3, None
    row = finished(run, student)
    assert row.last_top1 == row.top1


@pytest.mark.parametrize("select", ["best", "last"])
def test_the_row_says_why_the_epoch_was_selected(tmp_path: Path, select: str) -> None:
    student = trained()
    student.select = select  # type: ignore[assignment]
    assert finished(open_run(tmp_path / "run"), student).select == select


def test_predictions_come_with_their_labels(tmp_path: Path) -> None:
    run, student = open_run(tmp_path / "run"), trained()
    row = finished(run, student)
    with np.load(run.folder / "predictions" / "tiny.npz") as arrays:
        assert {k: v.shape for k, v in arrays.items()} == {
            "val_logits": (60, 10),
            "test_logits": (60, 10),
            "val_labels": (60,),
            "test_labels": (60,),
        }
        assert (arrays["test_logits"].argmax(1) == arrays["test_labels"]).mean() == row.top1
        assert row.ece == pytest.approx(evaluate.ece(arrays["test_logits"], arrays["test_labels"]))
        assert row.nll == pytest.approx(evaluate.nll(arrays["test_logits"], arrays["test_labels"]))


def test_weight_files_say_nothing_of_the_run(tmp_path: Path) -> None:
    student = trained()
    files = []
    for name in ("one", "two"):
        run = open_run(tmp_path / name)
        finished(run, student)
        files.append((run.folder / "students" / "tiny.safetensors").read_bytes())
    assert files[0] == files[1]


@pytest.mark.parametrize("name", ["students/tiny.json", "predictions/tiny.npz"])
def test_what_is_missing_or_damaged_is_an_input_error(tmp_path: Path, name: str) -> None:
    run = open_run(tmp_path / "run")
    finished(run, trained())
    path = run.folder / name
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(InputError, match="missing or damaged"):
        read_finished(run, PLAN)
    path.unlink()
    with pytest.raises(InputError, match="missing or damaged"):
        read_finished(run, PLAN)


def test_a_row_is_plain_json(tmp_path: Path) -> None:
    run = open_run(tmp_path / "run")
    finished(run, trained())
    row = json.loads((run.folder / "students" / "tiny.json").read_text())
    assert row["label"] == "tiny"
    assert row["kd_gain"] is None
