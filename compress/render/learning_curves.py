"""Learning curves: loss and accuracy by epoch."""

from collections.abc import Callable, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from compress.records.distill import StudentRow
from compress.records.families import families
from compress.records.run import EpochRecord
from compress.render.canvas import STYLE, Format, Shade, legend, rendered, run_shades, single


def training_loss(
    epochs: Sequence[EpochRecord], rows: Sequence[StudentRow], image: Format
) -> bytes:
    """The training objective by epoch; its level compares only among equal objectives."""
    return single(_panel_of(_training_loss, epochs, rows), image)


def validation_loss(
    epochs: Sequence[EpochRecord], rows: Sequence[StudentRow], image: Format
) -> bytes:
    """Cross-entropy on the validation split by epoch."""
    return single(_panel_of(_validation_loss, epochs, rows), image)


def accuracy(epochs: Sequence[EpochRecord], rows: Sequence[StudentRow], image: Format) -> bytes:
    """Validation top-1 by epoch, with the training top-1 dotted."""
    return single(_panel_of(_accuracy, epochs, rows), image)


def curves(epochs: Sequence[EpochRecord], rows: Sequence[StudentRow], image: Format) -> bytes:
    """The three learning curves side by side under one legend."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3 * 4.6, 3.6), layout="constrained")
        left, middle, right = figure.subplots(1, 3)
        for axes, draw in ((left, _training_loss), (middle, _validation_loss), (right, _accuracy)):
            _panel_of(draw, epochs, rows)(axes)
        legend(figure, left, most_columns=4)
        return rendered(figure, image)


Lines = list[tuple[str, bool, NDArray[np.float64], list[list[EpochRecord]]]]
"""Name, whether it is a control, epochs, and the records of each seed."""

Draw = Callable[[Axes, Lines, dict[str, Shade]], None]


def _lines(epochs: Sequence[EpochRecord], rows: Sequence[StudentRow]) -> Lines:
    names = families(rows)
    controls = {row.label for row in rows if row.role == "control"}
    taught = any(row.role == "student" for row in rows)
    lines: Lines = []
    for family in dict.fromkeys(names.values()):
        labels = [label for label, name in names.items() if name == family]
        seeds = [[one for one in epochs if one.label == label] for label in labels]
        seeds = [seed for seed in seeds if seed]
        if not seeds:
            continue
        length = min(len(seed) for seed in seeds)
        numbers = np.array([one.epoch for one in seeds[0][:length]], dtype=np.float64)
        control = taught and labels[0] in controls
        lines.append((family, control, numbers, [seed[:length] for seed in seeds]))
    return lines


def _panel_of(
    draw: Draw, epochs: Sequence[EpochRecord], rows: Sequence[StudentRow]
) -> Callable[[Axes], None]:
    lines = _lines(epochs, rows)
    looks = run_shades(rows)  # not of those with lines: other figures show other models

    def panel(axes: Axes) -> None:
        draw(axes, lines, looks)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))

    return panel


def _draw_lines(
    axes: Axes,
    lines: Lines,
    looks: dict[str, Shade],
    value: Callable[[EpochRecord], float],
    *,
    faint: bool = False,
) -> None:
    """Means over seeds as lines, controls dashed, with the range over seeds shaded."""
    for name, control, numbers, seeds in lines:
        values = np.array([[value(one) for one in seed] for seed in seeds])
        look = looks[name]
        axes.plot(
            numbers,
            values.mean(axis=0),
            color=look.color,
            linestyle=look.dots(control=control) if faint else look.dashes(control=control),
            linewidth=1.0 if faint else 1.6,
            marker="o" if len(numbers) < 3 else None,
            label=None if faint else name,
        )
        if len(seeds) > 1 and not faint:
            axes.fill_between(
                numbers,
                values.min(axis=0),
                values.max(axis=0),
                color=look.color,
                alpha=0.15,
                linewidth=0,
            )


def _training_loss(axes: Axes, lines: Lines, looks: dict[str, Shade]) -> None:
    _draw_lines(axes, lines, looks, lambda one: one.loss)
    axes.set_title("training loss (each its own objective)", loc="left")


def _validation_loss(axes: Axes, lines: Lines, looks: dict[str, Shade]) -> None:
    _draw_lines(axes, lines, looks, lambda one: one.val_loss)
    axes.set_title("validation cross-entropy, nats", loc="left")


def _accuracy(axes: Axes, lines: Lines, looks: dict[str, Shade]) -> None:
    _draw_lines(axes, lines, looks, lambda one: 100 * one.val_top1)
    _draw_lines(axes, lines, looks, lambda one: 100 * one.train_top1, faint=True)
    axes.set_title("top-1, %: validation, and training dotted", loc="left")
