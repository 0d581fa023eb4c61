"""Training on a CUDA device: what other tests show of the CPU, and what only a GPU can show."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from compress.config.distill import StudentPlan
from compress.errors import InputError
from compress.models import weights
from compress.training import state as checkpoints
from compress.training import students
from compress.training.answers import Teaching
from compress.training.device import pick_device
from compress.training.distributed import World
from compress.training.formats import Format
from compress.training.inputs import Batch, TrainingImages
from compress.training.learner import Learner, State
from compress.training.memory import split_forward
from compress.training.results import Finished
from compress.training.session import train_students
from compress.training.soft_labels import SoftLabels
from compress.training.teachers import Trust
from compress.training.workplace import Workplace
from tests.notes import Notes
from tests.tiny_training import (
    CPU,
    Killed,
    digits,
    hungry,
    learner,
    network,
    objective,
    open_run,
    plan,
    schedule,
    teacher,
)

pytestmark = pytest.mark.gpu
MODEL = "small_cnn:width=0.25"  # no dropout: the generators of CPU and CUDA differ
PLANS = (plan("a", MODEL, terms=["kd"]), plan("control", MODEL))


@pytest.fixture(scope="module")
def cuda() -> torch.device:
    return pick_device("cuda")


def train(
    folder: Path, device: torch.device, plans: tuple[StudentPlan, ...] = PLANS, **changes: Any
) -> list[Finished]:
    """Distil in a run directory, with a teacher that fills the views on the device."""
    run = open_run(folder / "run")

    def source(images: TrainingImages) -> Teaching:
        asked = teacher(folder / "teacher", device=device)
        store = SoftLabels(folder / "store" / "t", limit_bytes=10**9)
        return Teaching(store, asked, images, place=Workplace(device, progress=Notes()))

    try:
        return train_students(
            run,
            digits(),
            plans,
            schedule(folder / "cache", **changes),
            source,
            place=Workplace(device, progress=Notes()),
        )
    finally:
        run.close()


def kept(folder: Path, label: str = "a") -> State:
    """The weights after the last epoch."""
    path = folder / "run" / "students" / f"{label}.last.safetensors"
    return dict(weights.load(path, {}).state)


def assert_close(one: State, other: State, *, atol: float) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.allclose(value.float(), other[name].float(), rtol=0, atol=atol), name


def test_an_epoch_of_distillation_is_that_of_the_cpu_to_rounding(
    tmp_path: Path, cuda: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """float32 without TF32; the sums of convolutions have another order."""
    monkeypatch.setattr(students, "_choose_format", lambda *_, **__: Format())
    there = train(tmp_path / "cuda", cuda, epochs=1)
    train(tmp_path / "cpu", CPU, epochs=1)
    for label in ("a", "control"):
        assert_close(kept(tmp_path / "cuda", label), kept(tmp_path / "cpu", label), atol=1e-3)
    assert [one.row.label for one in there] == ["a", "control"]
    assert all(one.row.seconds > 0 for one in there)


@pytest.mark.parametrize("every", [0, 3])
def test_a_killed_run_ends_as_one_that_was_not_to_rounding(
    tmp_path: Path, cuda: torch.device, monkeypatch: pytest.MonkeyPatch, every: int
) -> None:
    """cuDNN may choose other algorithms, so bits may differ; dropout must not."""

    plans = (plan("a", "small_cnn:width=0.25,dropout=0.5", terms=["kd"]),)
    monkeypatch.setattr(students, "_choose_format", lambda *_, **__: Format())
    train(tmp_path / "whole", cuda, plans, checkpoint_every=every)
    save, saved = checkpoints.save, [0]

    def then_die(*arguments: Any) -> None:
        save(*arguments)
        saved[0] += 1
        if saved[0] == 1:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save", then_die)
        with pytest.raises(Killed):
            train(tmp_path / "killed", cuda, plans, checkpoint_every=every)
    train(tmp_path / "killed", cuda, plans, checkpoint_every=every)
    assert_close(kept(tmp_path / "killed"), kept(tmp_path / "whole"), atol=1e-3)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_teacher_answers_in_a_lower_format(
    tmp_path: Path, cuda: torch.device, dtype: str
) -> None:
    """fp16 has 11 bits and bf16 has 8: the logits of an untrained net are below 1."""
    exact, low = teacher(tmp_path, device=cuda), teacher(tmp_path, device=cuda)
    low.trust = Trust(Format(dtype=dtype))
    view = schedule(tmp_path).view(digits(), 0)
    images = TrainingImages(digits().train, device=cuda)
    logits = [one.answer(images, view, lambda _: None) for one in (exact, low)]
    assert logits[1].dtype == np.float32
    assert logits[1].shape == (150, 10)
    assert np.abs(logits[0] - logits[1]).max() < (0.02 if dtype == "float16" else 0.15)
    assert not np.array_equal(logits[0], logits[1])


def test_a_teacher_answers_the_same_in_both_layouts_and_any_batch_to_rounding(
    tmp_path: Path, cuda: torch.device
) -> None:
    view = schedule(tmp_path).view(digits(), 0)
    images = TrainingImages(digits().train, device=cuda)
    logits = []
    for channels_last, size in ((True, 512), (False, 512), (True, 32)):
        asked = teacher(tmp_path, device=cuda)
        asked.trust, asked.batch_size = Trust(Format(channels_last=channels_last)), size
        logits.append(asked.answer(images, view, lambda _: None))
    assert np.allclose(logits[1], logits[0], atol=1e-3)
    assert np.allclose(logits[2], logits[0], atol=1e-3)


def test_features_of_a_live_teacher_are_made_in_parts(
    tmp_path: Path, cuda: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = TrainingImages(digits().train, device=cuda)
    view = schedule(tmp_path).view(digits(), 0)
    batch = next(iter(images.batches(view, 32, share=lambda size: slice(0, size))))
    store = SoftLabels(tmp_path / "store" / "t", limit_bytes=10**9)
    asked = teacher(tmp_path, device=cuda)
    source = Teaching(store, asked, images, place=Workplace(cuda, progress=Notes()))
    source.tap(("stage1",))
    whole = source.features(batch)["stage1"]
    monkeypatch.setattr(nn.Conv2d, "forward", hungry(lambda some: len(some) > 9))
    assert torch.allclose(source.features(batch)["stage1"], whole, atol=1e-3)


def steps(student: Learner, cuda: torch.device, count: int = 3) -> None:
    images = TrainingImages(digits().train, device=cuda)
    view = schedule(Path()).view(digits(), 0)
    dealt: Iterator[Batch] = images.batches(view, 32, share=lambda size: slice(0, size))
    for step, batch in zip(range(count), dealt, strict=False):
        student.step(batch, None, {}, step=step)


def test_a_student_learns_in_float16(cuda: torch.device) -> None:
    student = learner(
        model=network(dropout=0.0), format=Format(dtype="float16"), device=cuda, epochs=1
    )
    exact = learner(model=network(dropout=0.0), device=cuda, epochs=1)
    for one in (student, exact):
        steps(one, cuda)
    assert student.is_finite()
    assert student.state()["scaler"]["scale"] > 0
    assert np.isfinite(student.figures()[0])
    assert student.figures()[0] == pytest.approx(exact.figures()[0], rel=0.05)


def test_dropout_depends_on_seed_and_step_only(cuda: torch.device) -> None:
    losses = []
    for disturb in (False, True):
        student = learner(device=cuda, epochs=1)
        if disturb:
            torch.rand(1000, device=cuda)
        steps(student, cuda)
        losses.append(student.figures()[0])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.filterwarnings("ignore::UserWarning")  # the compiler recommends TF32
def test_a_trial_tries_compiled_candidates_too(tmp_path: Path, cuda: torch.device) -> None:
    """Where the compiler does not work, that is told and the eager one is taken."""
    notes = Notes()
    chosen = students._choose_format(
        plan(model=MODEL),
        digits(),
        schedule(tmp_path, amp="bf16"),
        place=Workplace(cuda, progress=notes),
    )
    assert chosen.dtype == "bfloat16"
    assert all("compiled is left out" in note for note in notes.notes)
    assert not (notes.notes and chosen.compiled)


@pytest.mark.filterwarnings("ignore::UserWarning")  # the compiler recommends TF32
def test_a_compiled_student_learns_what_an_eager_one_does(cuda: torch.device) -> None:
    eager, compiled = (
        learner(
            model=network(dropout=0.0),
            goal=objective(),
            format=Format(compiled=kind),
            device=cuda,
            epochs=1,
        )
        for kind in (False, True)
    )
    for one in (eager, compiled):
        steps(one, cuda)
    assert_close(compiled.weights(), eager.weights(), atol=1e-3)


def test_memory_that_really_runs_out_splits_a_forward_pass(cuda: torch.device) -> None:
    """Four images take 1.6 times the memory there is; one takes less than half of it."""
    share = int(0.4 * torch.cuda.get_device_properties(cuda).total_memory)
    sizes: list[int] = []

    def forward(images: Tensor) -> Tensor:
        sizes.append(len(images))
        taken = torch.empty(len(images) * share, dtype=torch.uint8, device=cuda)
        return images * 2 + 0 * taken[:1]

    images = torch.arange(4.0, device=cuda).view(4, 1)
    assert torch.equal(split_forward(forward, images), images * 2)
    assert sizes[0] == 4
    assert max(sizes[1:]) <= 2


@pytest.fixture
def nccl(cuda: torch.device) -> Iterator[World]:
    """A group of one process, which believes that there are two: every message is really sent."""
    store = dist.HashStore()  # type: ignore[attr-defined]
    dist.init_process_group("nccl", store=store, rank=0, world_size=1, device_id=cuda)
    yield World(rank=0, size=2)
    dist.destroy_process_group()


def test_messages_between_ranks_go_over_nccl(nccl: World, cuda: torch.device) -> None:
    layer = nn.Linear(2, 1).to(cuda)
    layer(torch.ones(1, 2, device=cuda)).sum().backward()
    nccl.average_gradients(layer.parameters())
    assert layer.weight.grad is not None
    assert layer.weight.grad.tolist() == [[0.5, 0.5]]  # the sum of one, over two
    assert nccl.sum(torch.tensor([2.0], device=cuda)).tolist() == [2.0]
    assert nccl.agree(flag=True) is True
    assert nccl.agree(flag=False) is False
    values = np.arange(6, dtype=np.float16)
    assert np.array_equal(nccl.from_main(lambda: values), values)
    nccl.barrier()

    def refuse() -> None:
        raise InputError("no such file")

    with pytest.raises(InputError, match="no such file"):
        nccl.from_main(refuse)
