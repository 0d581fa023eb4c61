"""Optimizers and learning-rate schedules; the rate is a pure function of the step."""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import nn

BETA2 = 0.999
ONE_CYCLE_RISE = 0.3
ONE_CYCLE_START = 1 / 25


def parameter_groups(
    modules: Iterable[nn.Module], *, weight_decay: float
) -> list[dict[str, object]]:
    """Split parameters into decayed ones and those left alone.

    Biases and the affine parameters of normalisation layers are vectors; decaying them only
    moves the scale that the layer is there to set.

    Args:
        modules: Models and projectors.
        weight_decay: For everything with two or more dimensions.

    Returns:
        Two groups in PyTorch's form, without empty ones.
    """
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    groups: list[dict[str, object]] = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def build_optimizer(
    modules: Sequence[nn.Module],
    *,
    name: str,
    learning_rate: float,
    momentum: float,
    weight_decay: float,
    scaled: bool = False,
) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum, or AdamW, each weight read and written once per step.

    Args:
        modules: What to train.
        name: "sgd" or "adamw".
        learning_rate: Peak rate; the schedule sets the rate of each step.
        momentum: SGD's momentum, AdamW's beta1; 0 is plain SGD.
        weight_decay: Off biases and normalisation layers.
        scaled: Whether a GradScaler leaves out steps whose gradients overflow. PyTorch's fused SGD
            takes memory as it is for the momentum of a first step that is left out.

    Raises:
        ValueError: Another name.
    """
    groups = parameter_groups(modules, weight_decay=weight_decay)
    if name == "sgd":
        return torch.optim.SGD(
            groups,
            lr=learning_rate,
            momentum=momentum,
            nesterov=momentum > 0,
            fused=not scaled,
            foreach=scaled,
        )
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=learning_rate, betas=(momentum, BETA2), fused=True)
    raise ValueError(f"no optimizer {name!r}")


def rate_factor(
    step: int,
    *,
    steps: int,
    schedule: str,
    warmup_steps: int = 0,
    milestones: Sequence[float] = (),
    gamma: float = 0.1,
) -> float:
    """The learning rate of a step as a share of the peak rate.

    Args:
        step: From 0.
        steps: All steps of the training.
        schedule: "cosine" falls to 0; "one-cycle" rises from 1/25 over 30% of the steps, then
            falls to 0, both along half a cosine; "multi-step" multiplies by `gamma`.
        warmup_steps: Linear rise before cosine and multi-step.
        milestones: Fractions of all steps, for multi-step.
        gamma: Factor at each milestone.

    Raises:
        ValueError: Another schedule.

    Source:
        Loshchilov, Hutter, "SGDR", 2017 (cosine); Smith, Topin, "Super-Convergence", 2018.
    """
    if schedule == "one-cycle":
        rise = max(1.0, ONE_CYCLE_RISE * steps)
        if step < rise:
            share = 0.5 * (1 - math.cos(math.pi * step / rise))
            return ONE_CYCLE_START + (1 - ONE_CYCLE_START) * share
        return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1.0, steps - rise)))
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    if schedule == "cosine":
        done = (step - warmup_steps) / max(1, steps - warmup_steps)
        return 0.5 * (1 + math.cos(math.pi * done))
    if schedule == "multi-step":
        return gamma ** sum(step >= fraction * steps for fraction in milestones)
    raise ValueError(f"no schedule {schedule!r}")


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every parameter group the same learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate
