"""Figures of finished models: accuracy against cost, reliability, confusion; a run's PNGs."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, PercentFormatter
from numpy.typing import NDArray

from compress.files import write_bytes
from compress.records.distill import DistillRecord, StudentRow
from compress.records.families import families
from compress.records.report import Answers
from compress.records.run import EpochRecord
from compress.render.canvas import INK, Format, Shade, drawable, run_shades, shades, single
from compress.render.learning_curves import curves
from compress.render.numbers import amount, percent
from compress.render.tables.distill import teacher_range

MOST_NAMED_CLASSES = 20
LEAST_IMAGES = 10
"""In a bin of the reliability that the line goes through: the share of them that is right has a
standard error of up to 0.16 (half of 1 / sqrt(10)), that of fewer a larger one."""
MARK_POINTS, PANEL_POINTS = 8.0, 280.0
"""Width of a mark with some room, and of a panel inside its axes (4.6 inches less the scale)."""
TEACHER_FILLS = ("full", "none", "left", "right")
"""How the stars of several teachers are told apart."""


@dataclass(frozen=True)
class Point:
    """A model in the plane of cost and accuracy; accuracies are fractions.

    Attributes:
        label: Its name in the legend.
        role: Decides the mark: star, dot, ring.
        macs: Multiply-accumulates of one image.
        top1: Test accuracy.
        low: Lower end of what is known of it.
        high: Upper end.
    """

    label: str
    role: Literal["teacher", "student", "control"]
    macs: int
    top1: float
    low: float
    high: float


def teacher_point(record: DistillRecord) -> Point:
    """The teacher of a distillation as a point, with the Wilson interval of its test top-1."""
    row = record.teacher
    return Point(f"{row.name} (teacher)", "teacher", row.macs, row.top1, *teacher_range(record))


def student_points(rows: Sequence[StudentRow], prefix: str = "") -> list[Point]:
    """Students as points: one seed with its Wilson interval, several as mean, least and most.

    Args:
        rows: Of one run; controls are drawn as such only beside students.
        prefix: Put before each label.
    """
    names = families(rows)
    taught = any(row.role == "student" for row in rows)
    points = []
    for family in dict.fromkeys(names.values()):
        members = [row for row in rows if names[row.label] == family]
        values = [row.top1 for row in members]
        lows = values if len(members) > 1 else [members[0].top1_low]
        highs = values if len(members) > 1 else [members[0].top1_high]
        # rounded, the mean of equal values may lie beside them, and no bar has a negative length
        mean = min(max(sum(values) / len(values), min(values)), max(values))
        first = members[0]
        role = first.role if taught else "student"
        points.append(Point(prefix + family, role, first.macs, mean, min(lows), max(highs)))
    return points


def accuracy_against_macs(
    points: Sequence[Point], image: Format, looks: Mapping[str, Shade] | None = None
) -> bytes:
    """Test top-1 over multiply-accumulates; bars are 95% intervals or the range over seeds.

    Args:
        points: The models.
        image: Of the result.
        looks: By label, those of the run; None gives the points shades of their own.
    """
    if looks is None:
        looks = shades(
            [point.label for point in points if point.role == "student"],
            [point.label for point in points if point.role == "control"],
        )
    teachers = [point.label for point in points if point.role == "teacher"]
    fills = dict(zip(teachers, cycle(TEACHER_FILLS), strict=False))
    costs = [point.macs for point in points]
    places, ends = side_by_side(costs)

    def draw(axes: Axes) -> None:
        for point, place in zip(points, places, strict=True):
            look = Shade(INK) if point.role == "teacher" else looks[point.label]
            mark = "*" if point.role == "teacher" else look.mark
            axes.errorbar(
                place,
                100 * point.top1,
                yerr=[[100 * (point.top1 - point.low)], [100 * (point.high - point.top1)]],
                fmt=mark,
                markersize=13 if mark == "*" else 7,
                color=look.color,
                markerfacecolor="white" if point.role == "control" else None,
                fillstyle=fills.get(point.label, "full"),
                elinewidth=1.2,
                capsize=3,
                label=point.label,
            )
        axes.set_xscale("log")
        axes.set_xlim(*ends)
        # more than seven numbers of six letters would run into each other
        subs = (1, 2, 5) if ends[1] / ends[0] < 200 else (1,)
        axes.xaxis.set_major_locator(LogLocator(subs=subs))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(lambda value, _place: _tick(value))
        axes.set_xlabel("multiply-accumulates per image")
        axes.set_ylabel("test top-1, %")

    return single(draw, image)


def side_by_side(costs: Sequence[int]) -> tuple[list[float], tuple[float, float]]:
    """Where models stand on the axis of cost: those of one cost in a row, or they would hide.

    Args:
        costs: Multiply-accumulates of each model.

    Returns:
        Places on a logarithmic axis, those of one cost in order and around it, nearer to it than
        to any other cost; and the ends of the axis.
    """
    sharing = Counter(costs)
    logs = {cost: math.log10(cost) for cost in sorted(sharing)}
    margin = math.log10(1.8)
    low, high = min(logs.values()) - margin, max(logs.values()) + margin
    widest = MARK_POINTS / PANEL_POINTS * (high - low)
    gaps = [after - before for before, after in pairwise(logs.values())]
    nearest = [min(two) for two in pairwise([math.inf, *gaps, math.inf])]
    # a row of marks, each a step wide, takes at most half the gap on either side
    steps = {
        cost: min(widest, gap / sharing[cost]) for cost, gap in zip(logs, nearest, strict=True)
    }
    drawn: Counter[int] = Counter()
    places = []
    for cost in costs:
        aside = drawn[cost] - (sharing[cost] - 1) / 2
        drawn[cost] += 1
        places.append(logs[cost] + steps[cost] * aside)
    ends = (min(low, min(places) - widest), max(high, max(places) + widest))
    return [10**place for place in places], (10 ** ends[0], 10 ** ends[1])


def reliability(models: Sequence[tuple[str, Shade, Answers]], image: Format) -> bytes:
    """How often answers of a given confidence are right; bigger dots hold more images.

    What a few images say is faint and hollow, and no line goes there.

    Args:
        models: Each with the name to show and its shade in the other figures of its run.
        image: Of the result.
    """

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color="#999999", linestyle=":", linewidth=1)
        for name, look, answers in models:
            bins = answers.reliability
            total = sum(one.count for one in bins)
            full = [one for one in bins if one.count >= LEAST_IMAGES]
            few = [one for one in bins if one.count < LEAST_IMAGES]
            x, y = [one.confidence for one in full], [one.top1 for one in full]
            dashes = look.dashes(control=answers.role == "control")
            label = f"{name}: ECE {percent(answers.ece, 1)}%"
            axes.plot(x, y, color=look.color, linestyle=dashes, linewidth=1.3, label=label)
            sizes = [8 + 150 * one.count / total for one in full]
            axes.scatter(x, y, s=sizes, color=look.color, alpha=0.8, linewidths=0)
            x, y = [one.confidence for one in few], [one.top1 for one in few]
            axes.scatter(x, y, s=12, facecolors="none", edgecolors=look.color, alpha=0.4)
        axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="confidence", ylabel="share that is right")
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.yaxis.set_major_formatter(PercentFormatter(1))

    return single(draw, image, height=3.8)


def confusion(matrix: Sequence[Sequence[int]], class_names: Sequence[str], image: Format) -> bytes:
    """Per cent of each true class (row) answered as each class (column).

    Many classes, and those with letters that a PNG cannot show, stand there by their numbers.
    """
    counts = np.asarray(matrix, dtype=np.float64)
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    named = len(class_names) <= MOST_NAMED_CLASSES
    short = [name if len(name) <= 14 else name[:13] + "…" for name in class_names]
    numbered = not named or (image == "png" and not all(map(drawable, short)))
    if numbered:
        short = [str(number) for number in range(len(class_names))]
    side = max(4.6, 1.6 + 0.38 * len(class_names)) if named else 6.4

    def draw(axes: Axes) -> None:
        shown = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=100))
        axes.grid(visible=False)
        by_number = " (number)" if numbered else ""
        axes.set_xlabel(f"answer{by_number}")
        axes.set_ylabel(f"true class{by_number}")
        if named:
            ticks = range(len(class_names))
            axes.set_xticks(ticks, short, parse_math=False)  # a class may be called $100$
            if max(map(len, short)) > 2:
                for label in axes.get_xticklabels():
                    label.set(rotation=45, ha="right", rotation_mode="anchor")
            axes.set_yticks(ticks, short, parse_math=False)
            _write_shares(axes, shares)
        else:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.yaxis.set_major_locator(MaxNLocator(integer=True))
            axes.get_figure(root=True).colorbar(  # type: ignore[union-attr]
                shown, ax=axes, shrink=0.8, label="% of the true class"
            )

    return single(draw, image, width=side, height=side if named else 5.4, key=False)


def write_run_plots(
    folder: Path,
    epochs: Sequence[EpochRecord],
    rows: Sequence[StudentRow],
    taught: DistillRecord | None = None,
) -> list[Path]:
    """Write the PNGs of a finished run.

    Args:
        folder: Where to; made if missing.
        epochs: The learning curves.
        rows: Students and controls.
        taught: The record they stand in, where they had a teacher.

    Returns:
        The files.

    Raises:
        InputError: One cannot be written.
    """
    points = [teacher_point(taught)] if taught else []
    points += student_points(rows)
    plots = {"accuracy-macs.png": accuracy_against_macs(points, "png", run_shades(rows))}
    if epochs:
        plots["curves.png"] = curves(epochs, rows, "png")
    for name, content in plots.items():
        write_bytes(folder / name, content)
    return [folder / name for name in sorted(plots)]


def _tick(value: float) -> str:
    """A power-scale tick without trailing zeros: `50 M`."""
    number, _, unit = amount(round(value)).partition(" ")
    return f"{float(number):g} {unit}".strip()


def _write_shares(axes: Axes, shares: NDArray[np.float64]) -> None:
    for (row, column), share in np.ndenumerate(shares):
        text = f"{share:.0f}"
        if text != "0":
            axes.text(
                column,
                row,
                text,
                ha="center",
                va="center",
                fontsize=8,
                color="white" if share > 35 else "#222222",
            )
