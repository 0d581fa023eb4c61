"""Students made ready to learn: built from their seed, with their losses, in a measured format."""

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from compress.config.distill import StudentPlan
from compress.data.images import Splits
from compress.errors import ConfigError, MachineError
from compress.losses import registry as losses
from compress.losses.supervised import cross_entropy
from compress.models import registry as models
from compress.runs import Run
from compress.training.answers import Teaching
from compress.training.device import backward, placed, synchronize
from compress.training.distributed import World
from compress.training.formats import (
    Format,
    compiles,
    fastest,
    remembered,
    student_candidates,
)
from compress.training.inputs import Normalize, as_tensor
from compress.training.learner import Learner
from compress.training.loop import Source
from compress.training.members import Member, network_of
from compress.training.memory import NothingFitsError, largest_fitting, ran_out, step_failed
from compress.training.objective import Objective, Term
from compress.training.schedule import Schedule
from compress.training.workplace import Workplace


def build_learner(
    run: Run,
    splits: Splits,
    plan: StudentPlan,
    schedule: Schedule,
    source: Source,
    place: Workplace,
    begins_with: Member | None = None,
) -> Learner:
    """Build one student with its losses, in the format this machine runs it fastest in.

    Args:
        run: Keeps the format.
        splits: The data.
        plan: Model, losses and optimisation.
        schedule: What all students of the run share.
        source: The teacher, or nobody.
        place: Where to compute.
        begins_with: Weights of the same model; None leaves those that its seed drew.

    Raises:
        MachineError: A training step does not fit into memory in any format, or BatchNorm is to be
            synchronised on a CPU.
        ConfigError: A loss needs a teacher and there is none.
        InputError: The file of the weights it begins with changed or is gone.
    """
    torch.manual_seed(plan.seed)
    model = _build(plan, splits)
    if begins_with is not None:
        model.load_state_dict(network_of(begins_with, splits).state_dict())
    objective = _objective(plan, model, splits, source)
    name = f"format of {plan.model}"

    def decide() -> dict[str, Any]:
        with torch.random.fork_rng(devices=[]):  # a trial leaves no trace
            chosen = _choose_format(plan, splits, schedule, place)
        place.progress.note(f"{plan.model} trains in {chosen}")
        return dataclasses.asdict(chosen)

    chosen = Format(**place.world.from_main(lambda: run.choose(name, decide)))
    if _is_eager(objective, schedule, place.world):
        chosen = dataclasses.replace(chosen, compiled=False)
    if chosen.compiled and not compiles():
        place.progress.note(f"{plan.model} trains uncompiled: there is no C compiler here")
        chosen = dataclasses.replace(chosen, compiled=False)
    chosen.convert(model)
    if schedule.sync_batchnorm:
        model = _synchronized(model, place.device)
        for projector in objective.modules:
            _synchronized(projector, place.device)  # in place: none is a BatchNorm itself
    return Learner(
        plan.label,
        model,
        objective,
        plan.optimization,
        chosen,
        mean=splits.mean,
        std=splits.std,
        seed=plan.seed,
        epochs=schedule.epochs,
        steps_per_epoch=splits.swept // schedule.batch_size,
        device=place.device,
        world=place.world,
    )


def _is_eager(objective: Objective, schedule: Schedule, world: World) -> bool:
    """Whether a student trains uncompiled, whatever is faster.

    Compiled code calls no hooks, and a BatchNorm that asks the other ranks breaks it into pieces.
    """
    return bool(objective.student_taps) or (schedule.sync_batchnorm and world.size > 1)


def _synchronized(model: nn.Module, device: torch.device) -> nn.Module:
    """The model with BatchNorm over the whole batch; the names of its weights stay."""
    if device.type != "cuda":
        raise MachineError(
            "--sync-batchnorm: PyTorch synchronises BatchNorm on CUDA only",
            hint="leave it out, or use --device cuda",
        )
    converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    return converted


def _build(plan: StudentPlan, splits: Splits) -> nn.Module:
    return models.build(
        plan.model.name,
        classes=splits.classes,
        image_size=splits.image_size,
        options=plan.model.options,
    )


def _objective(plan: StudentPlan, model: nn.Module, splits: Splits, source: Source) -> Objective:
    """Build the losses of a plan; those on features see one example of each network."""
    terms = []
    for asked in plan.terms:
        if not losses.needs_features(asked.name):
            terms.append(Term(asked, losses.build(asked)))
            continue
        if not isinstance(source, Teaching):
            raise ConfigError(f"loss {asked.name} needs a teacher")
        network, _ = source.network(folded=False)  # as it was built: what is in place shows
        loss = losses.build_for(asked, student=model, teacher=network, image_size=splits.image_size)
        terms.append(Term(asked, loss))
    return Objective(
        plan.ce_weight,
        plan.optimization.label_smoothing,
        tuple(terms),
        ce_from=plan.ce_from,
        ce_ramp_epochs=plan.ce_ramp_epochs,
    )


def _choose_format(
    plan: StudentPlan, splits: Splits, schedule: Schedule, place: Workplace
) -> Format:
    """Try training steps on one rank's share of a batch of real images.

    Raises:
        MachineError: The step does not fit into memory in any format.
    """
    share = schedule.batch_size // place.world.size
    pixels = as_tensor(splits.validation, place.device)
    pixels = pixels.repeat(-(-share // len(pixels)), 1, 1, 1)[:share]
    pixels = pixels.contiguous(memory_format=torch.channels_last)  # as real batches are

    def prepare(candidate: Format, count: int = share) -> Callable[[], None]:
        return _step(plan, splits, pixels[:count], candidate)

    candidates = student_candidates(_build(plan, splits), schedule.amp, place.device)
    question: dict[str, object] = {
        "purpose": "student",
        "model": plan.model.name,
        "options": dict(plan.model.options),
        "classes": splits.classes,
        "image_size": splits.image_size,
        "batch_size": share,
        "candidates": list(map(str, candidates)),
    }
    if any(candidate.compiled for candidate in candidates):
        question["compiles"] = compiles()
    try:
        return remembered(
            schedule.cache,
            question,
            lambda: fastest(candidates, prepare, tell=place.progress.note)[0],
            device=place.device,
        )
    except NothingFitsError as error:
        reason = error.message

    def attempt(size: int) -> None:
        eager = [candidate for candidate in candidates if not candidate.compiled]
        if not any(_fits(prepare, candidate, size) for candidate in eager):
            raise MemoryError(reason)

    fits = largest_fitting(attempt, share) * place.world.size
    raise step_failed(reason, label=plan.label, batch_size=schedule.batch_size, fits=fits)


def _fits(
    prepare: Callable[[Format, int], Callable[[], None]], candidate: Format, count: int
) -> bool:
    """Whether a step with so many images can be done in the memory there is."""
    try:
        prepare(candidate, count)()
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        return False
    return True


def _step(
    plan: StudentPlan, splits: Splits, pixels: torch.Tensor, candidate: Format
) -> Callable[[], None]:
    """A training step that changes nothing, on a copy of the model of its own."""
    device = pixels.device
    model = _build(plan, splits)
    candidate.convert(model)
    model = placed(model, device, candidate.memory_format).train()
    forward = candidate.forward(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0, momentum=0.9, foreach=True)
    targets = torch.zeros(len(pixels), dtype=torch.int64, device=device)
    normalize = Normalize(
        splits.mean, splits.std, device=device, memory_format=candidate.memory_format
    )

    def call() -> None:
        with candidate.autocast(device):
            logits = forward(normalize(pixels))
        optimizer.zero_grad(set_to_none=True)
        backward(cross_entropy(logits, targets))
        optimizer.step()
        synchronize(device)

    return call
