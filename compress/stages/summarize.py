"""Means over seeds, and how sure one can be of what a teacher was worth."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress import evaluate
from compress.config.distill import StudentPlan
from compress.records.distill import StudentRow, SummaryRow
from compress.records.families import families
from compress.training.results import Finished

Gains = NDArray[np.int8]


def gains_by_image(
    plans: Sequence[StudentPlan], finished: Sequence[Finished], labels: NDArray[np.int64]
) -> dict[str, Gains]:
    """What each taught student gains on every test image over its control.

    Args:
        plans: Which control belongs to whom.
        finished: Those of them that were trained to their end.
        labels: Of the test images, (images,).

    Returns:
        By label, int8 (images,): 1 where only the student is right, -1 where only its control is.
    """
    right = {one.row.label: (one.test.argmax(axis=1) == labels).astype(np.int8) for one in finished}
    return {
        plan.label: right[plan.label] - right[plan.control]
        for plan in plans
        if plan.label in right and plan.control in right
    }


def by_settings(rows: Sequence[StudentRow]) -> dict[str, list[int]]:
    """Which of a run's students differ in nothing but the seed.

    Args:
        rows: All of them.

    Returns:
        Positions in `rows` by label; where there are several seeds, by label without its seed.
    """
    names = families(rows)
    groups: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        groups.setdefault(names[row.label], []).append(number)
    return groups


def summarize(
    rows: Sequence[StudentRow], gains: Mapping[str, Gains] | None = None
) -> tuple[SummaryRow, ...]:
    """Mean and spread over the seeds of students that differ in nothing else.

    Args:
        rows: All students of a run.
        gains: By label, as `gains_by_image` makes it; for controls nothing.

    Returns:
        One row per student, in order; empty where there is one seed only.
    """
    if len({row.seed for row in rows}) < 2:
        return ()
    summary = []
    for label, numbers in by_settings(rows).items():
        group = [rows[number] for number in numbers]
        top1 = _mean_sd([row.top1 for row in group])
        last = _mean_sd([row.last_top1 for row in group])
        summary.append(
            SummaryRow(
                label=label,
                role=group[0].role,
                seeds=len(group),
                top1_mean=top1[0],
                top1_sd=top1[1],
                last_top1_mean=last[0],
                last_top1_sd=last[1],
                **_gain(group, gains or {}),
            )
        )
    return tuple(summary)


def _mean_sd(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and standard deviation; of the one seed that did not diverge, the value alone."""
    return evaluate.mean_sd(values) if len(values) > 1 else (values[0], None)


def _gain(group: Sequence[StudentRow], gains: Mapping[str, Gains]) -> dict[str, Any]:
    """The mean KD gain of a student over its seeds with its intervals; nothing for controls.

    A seed whose control diverged has no gain. One interval asks what other seeds would give on
    these images, the other what other images would give with these seeds. Their half-widths are
    added in quadrature around the mean, as errors that know nothing of each other: the whole range
    errs on the wide side, for what a seed does on one image counts in both. No range leaves
    [-1, 1].
    """
    gained = {row.label: row.kd_gain for row in group if row.kd_gain is not None}
    if not gained:
        return {}
    values = list(gained.values())
    mean, half = sum(values) / len(values), 0.0
    found: dict[str, Any] = {"kd_gain_mean": mean, "kd_gain_pairs": len(values)}
    if len(values) > 1:
        over_seeds = evaluate.t_interval(values)
        half = _half(over_seeds)
        found |= _ends("kd_gain", *over_seeds) | _ends("kd_gain_seeds", *over_seeds)
    by_image = [gains[label] for label in gained if label in gains]
    if len(by_image) == len(gained):
        means = np.mean(by_image, axis=0)
        over_images = evaluate.paired_interval(means, np.zeros_like(means))
        half = math.hypot(half, _half(over_images))
        found |= _ends("kd_gain", mean - half, mean + half)
        found |= _ends("kd_gain_images", *over_images)
    return found


def _half(interval: tuple[float, float]) -> float:
    return (interval[1] - interval[0]) / 2


def _ends(name: str, low: float, high: float) -> dict[str, float]:
    """The ends of an interval by the fields of a row, within what a difference of shares can be."""
    return {f"{name}_low": max(-1.0, low), f"{name}_high": min(1.0, high)}
