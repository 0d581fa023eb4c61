"""Students made ready to learn."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from compress.config.distill import StudentPlan
from compress.errors import ConfigError, MachineError
from compress.losses.features import Projector
from compress.models import registry as models
from compress.models.pointwise import MatmulConv2d
from compress.training import students
from compress.training.answers import Teaching
from compress.training.distributed import World
from compress.training.formats import Format
from compress.training.inputs import TrainingImages
from compress.training.learner import Learner
from compress.training.loop import Nobody
from compress.training.soft_labels import SoftLabels
from compress.training.workplace import Workplace
from tests.notes import Notes
from tests.tiny_training import (
    CPU,
    PLAIN,
    digits,
    hungry,
    objective,
    open_run,
    plan,
    same_weights,
    schedule,
    teacher,
)


def built(
    folder: Path,
    asked: StudentPlan,
    source: Any = None,
    notes: Notes | None = None,
    **changes: Any,
) -> Learner:
    run = open_run(folder / "run")
    try:
        return students.build_learner(
            run,
            digits(),
            asked,
            schedule(folder / "cache", **changes),
            source or Nobody(),
            place=Workplace(CPU, progress=notes or Notes()),
        )
    finally:
        run.close()


def teaching(folder: Path) -> Teaching:
    return Teaching(
        SoftLabels(folder / "store" / "t", limit_bytes=10**9),
        teacher(folder),
        TrainingImages(digits().train, device=CPU),
        place=Workplace(CPU, progress=Notes()),
    )


def test_the_first_weights_come_from_the_seed_alone(tmp_path: Path) -> None:
    student = built(tmp_path, plan(seed=5))
    torch.manual_seed(5)
    alone = models.build(
        "small_cnn", classes=10, image_size=8, options={"width": 0.25, "dropout": 0.5}
    )
    assert same_weights(student.model.state_dict(), alone.state_dict())
    other = built(tmp_path, plan(seed=6))
    assert not same_weights(student.model.state_dict(), other.model.state_dict())


def test_batchnorm_is_synchronised_on_cuda_only(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="--sync-batchnorm: PyTorch synchronises"):
        built(tmp_path, plan(), sync_batchnorm=True)


@pytest.mark.gpu
def test_batchnorm_of_a_projector_is_synchronised_in_place() -> None:
    projectors = nn.ModuleList([Projector(4, 8)])
    students._synchronized(projectors, torch.device("cuda"))
    kinds = {type(module) for module in projectors.modules()}
    assert nn.SyncBatchNorm in kinds
    assert nn.BatchNorm2d not in kinds


def test_synchronised_batchnorm_keeps_the_names_of_the_weights() -> None:
    model = models.build("small_cnn", classes=10, image_size=8, options={})
    names = list(model.state_dict())
    converted = students._synchronized(model, torch.device("cuda"))
    assert list(converted.state_dict()) == names
    kinds = {type(module) for module in converted.modules()}
    assert torch.nn.SyncBatchNorm in kinds
    assert torch.nn.BatchNorm2d not in kinds


def test_a_student_and_its_control_begin_alike(tmp_path: Path) -> None:
    source = teaching(tmp_path)
    student = built(tmp_path, plan(terms=["kd", "fitnet"]), source)
    control = built(tmp_path, plan("control"), source)
    assert same_weights(student.model.state_dict(), control.model.state_dict())


def test_the_format_is_tried_once_in_the_life_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def choose(asked: StudentPlan, *_: object, **__: object) -> Format:
        tried.append(asked.label)
        return Format(channels_last=False, dtype="bfloat16")

    monkeypatch.setattr(students, "_choose_format", choose)
    notes = Notes()
    for label in ("a", "b"):
        student = built(tmp_path, plan(label), notes=notes)
        assert student.format == Format(channels_last=False, dtype="bfloat16")
    built(tmp_path, plan("c", "two_block_cnn"), notes=notes)
    assert tried == ["a", "c"]
    assert notes.notes[0] == "small_cnn:dropout=0.5,width=0.25 trains in NCHW, bfloat16"


def test_the_trial_takes_real_steps_and_leaves_no_trace_in_the_result(tmp_path: Path) -> None:
    """A cold start, with a trial, and a warm one begin with the same weights and generator."""
    built(tmp_path / "cold", plan())
    cold = torch.rand(1)
    built(tmp_path / "cold", plan())
    assert torch.equal(cold, torch.rand(1))
    assert len(list((tmp_path / "cold" / "cache" / "formats").iterdir())) == 1


def test_products_in_place_of_pointwise_convolutions_keep_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = plan(model="mobilenet_v2:width=0.35")
    monkeypatch.setattr(students, "_choose_format", lambda *_, **__: Format())
    plain = built(tmp_path / "a", asked)
    monkeypatch.setattr(students, "_choose_format", lambda *_, **__: Format(pointwise=True))
    products = built(tmp_path / "b", asked)
    assert any(isinstance(m, MatmulConv2d) for m in products.model.modules())
    assert same_weights(plain.model.state_dict(), products.model.state_dict())


def test_a_trial_of_other_candidates_is_not_taken_for_this_one(tmp_path: Path) -> None:
    """A later version that tries more asks anew, and so does another --amp."""
    for amp in ("off", "auto", "auto"):
        students._choose_format(
            plan(),
            digits(),
            replace(schedule(tmp_path), amp=amp),
            place=Workplace(CPU, progress=Notes()),
        )
    stored = [json.loads(path.read_text()) for path in (tmp_path / "formats").iterdir()]
    assert sorted(len(one["question"]["candidates"]) for one in stored) == [2, 3]


def test_a_trial_with_a_compiler_is_not_one_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [Format(), Format(compiled=True)]
    monkeypatch.setattr(students, "student_candidates", lambda *_: both)
    monkeypatch.setattr(students, "fastest", lambda *_, **__: (Format(), {}))
    place = Workplace(CPU, progress=Notes())
    for found in (True, False, False):
        monkeypatch.setattr(students, "compiles", lambda found=found: found)
        students._choose_format(plan(), digits(), schedule(tmp_path), place=place)
    stored = [json.loads(path.read_text()) for path in (tmp_path / "formats").iterdir()]
    assert sorted(one["question"]["compiles"] for one in stored) == [False, True]


@pytest.mark.parametrize(
    ("ranks", "synchronised", "eager"), [(2, True, True), (1, True, False), (2, False, False)]
)
def test_batchnorm_that_asks_other_ranks_is_not_compiled(
    tmp_path: Path, ranks: int, synchronised: bool, eager: bool
) -> None:
    shared = schedule(tmp_path, sync_batchnorm=synchronised)
    assert students._is_eager(objective("kd"), shared, World(0, ranks)) is eager


def test_losses_on_logits_and_on_features_are_built(tmp_path: Path) -> None:
    student = built(tmp_path, plan(terms=["kd:weight=2", "fitnet"]), teaching(tmp_path))
    assert [term.asked.name for term in student.objective.terms] == ["kd", "fitnet"]
    assert student.objective.teacher_taps
    assert student.objective.student_taps
    assert len(student.objective.modules) == 1


def test_the_plan_says_what_the_labels_weigh(tmp_path: Path) -> None:
    asked = plan(
        terms=["kd:weight=0.9"],
        ce_weight=0.1,
        ce_from=0.8,
        ce_ramp_epochs=4,
        optimization=PLAIN.model_copy(update={"label_smoothing": 0.2}),
    )
    goal = built(tmp_path, asked, teaching(tmp_path)).objective
    assert (goal.ce_weight, goal.ce_from, goal.ce_ramp_epochs) == (0.1, 0.8, 4)
    assert goal.label_smoothing == 0.2
    assert goal.terms[0].asked.weight == 0.9


def test_a_model_that_is_watched_inside_is_not_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(students, "_choose_format", lambda *_, **__: Format(compiled=True))
    monkeypatch.setattr(torch, "compile", lambda model: model)
    monkeypatch.setattr(students, "compiles", lambda: True)
    assert built(tmp_path, plan()).format.compiled
    watched = built(tmp_path, plan(terms=["fitnet"]), teaching(tmp_path))
    assert not watched.format.compiled


def test_what_was_compiled_elsewhere_trains_uncompiled_where_there_is_no_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(students, "_choose_format", lambda *_, **__: Format(compiled=True))
    monkeypatch.setattr(torch, "compile", lambda _: pytest.fail("compiled"))
    monkeypatch.setenv("CC", "no-such-compiler")
    notes = Notes()
    assert not built(tmp_path, plan(), notes=notes).format.compiled
    assert "uncompiled: there is no C compiler here" in notes.notes[-1]


def test_a_loss_on_features_needs_a_teacher(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="loss fitnet needs a teacher"):
        built(tmp_path, plan(terms=["fitnet"]))


def choice(folder: Path, world: World, notes: Notes) -> Format:
    return students._choose_format(
        plan(), digits(), schedule(folder), place=Workplace(CPU, world=world, progress=notes)
    )


@pytest.mark.parametrize(("ranks", "images"), [(1, 32), (2, 16)])
def test_a_rank_tries_its_share_of_a_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ranks: int, images: int
) -> None:
    tried: list[int] = []

    def step(_plan: object, _splits: object, pixels: torch.Tensor, _: Format) -> Any:
        return lambda: tried.append(len(pixels))

    monkeypatch.setattr(students, "_step", step)
    choice(tmp_path, World(0, ranks), Notes())
    assert set(tried) == {images}
    stored = json.loads(next((tmp_path / "formats").iterdir()).read_text())
    assert stored["question"]["batch_size"] == images


def test_the_batch_that_fits_is_that_of_all_ranks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four images fit on each of two ranks."""
    monkeypatch.setattr(nn.Conv2d, "forward", hungry(lambda images: len(images) > 4))
    with pytest.raises(MachineError) as caught:
        choice(tmp_path, World(0, 2), Notes())
    assert "a with batch size 32 is out of memory" in caught.value.message
    assert caught.value.hint.startswith("--batch-size 8 fits")
    assert not (tmp_path / "formats").exists()
