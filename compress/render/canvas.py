"""The look of every figure, and how one becomes the bytes of a PNG or SVG."""

import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font

from compress.records.distill import StudentRow
from compress.records.families import families

Format = Literal["png", "svg"]

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#5b3fa0", "#8c6d31")
"""Okabe and Ito's colours, which stay apart for colour-blind readers, and two more."""
INK = "#222222"
GREYS = (INK, "#8c8c8c", "#5a5a5a")
"""Of controls that belong to several students; none is fainter than thin lines on white may be."""

Dashes = str | tuple[int, tuple[float, ...]]
STUDENT_DASHES: tuple[Dashes, ...] = ("-", "-.", (0, (9, 1, 1, 1, 1, 1)), (0, (3, 1, 1, 1)))
CONTROL_DASHES: tuple[Dashes, ...] = ("--", (0, (1.5, 1)), (0, (7, 2)), (0, (6, 1, 1, 1, 1, 1)))
MARKS = ("o", "s", "^", "D")

STYLE: Any = {  # matplotlib's type lists every key, and differs by version
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "legend.handlelength": 2.8,
    "svg.fonttype": "none",
    "svg.hashsalt": "compress",
}
LETTERS_PER_INCH, HANDLE_LETTERS = 13.05, 5
"""Of a legend's letters, and how many of them the line or mark before a name takes."""
WIDTH, HEIGHT = 4.6, 3.2
"""Inches of one panel: at a phone's width the letters are still readable."""


@dataclass(frozen=True)
class Shade:
    """How one model is drawn in every figure.

    Attributes:
        color: Of line and mark.
        turn: How many others of this or a like colour came before; each turn has its own marks
            and dashes.
    """

    color: str
    turn: int = 0

    @property
    def mark(self) -> str:
        """Of single points."""
        return MARKS[self.turn % len(MARKS)]

    def dashes(self, *, control: bool) -> Dashes:
        """Of lines: broken for controls, whole or dash-dotted for others."""
        kinds = CONTROL_DASHES if control else STUDENT_DASHES
        return kinds[self.turn % len(kinds)]

    def dots(self, *, control: bool) -> Dashes:
        """Of lines that are only by the way: dotted, sparsely for controls, in groups by turn."""
        gap = 4.0 if control else 1.65
        before = self.turn % len(MARKS)
        return (0, (1.0, gap) * before + (1.0, 3 * gap)) if before else (0, (1.0, gap))


def shades(students: Sequence[str], controls: Sequence[str] = ()) -> dict[str, Shade]:
    """A shade per name; the control of one student takes its colour, any others are grey.

    Args:
        students: Names, in order.
        controls: Names that hold `-control` after that of their student, before what is swept.
    """
    found = {
        name: Shade(PALETTE[place % len(PALETTE)], place // len(PALETTE))
        for place, name in enumerate(dict.fromkeys(students))
    }
    own = {name: "".join(name.rpartition("-control")[::2]) for name in controls}
    shared = [name for name in own if own[name] not in found]
    greys = {name: Shade(GREYS[n % len(GREYS)], n) for n, name in enumerate(shared)}
    return found | {name: greys.get(name) or found[own[name]] for name in own}


def run_shades(rows: Sequence[StudentRow]) -> dict[str, Shade]:
    """A shade for each kind of model of a run, the same in all figures that show some of them.

    Args:
        rows: All of one run; controls are drawn as such only beside students.

    Returns:
        By label without its seed.
    """
    names = families(rows)
    controls = {names[row.label] for row in rows if row.role == "control"}
    if not any(row.role == "student" for row in rows):
        controls = set()
    kinds = list(dict.fromkeys(names.values()))
    return shades(
        [name for name in kinds if name not in controls],
        [name for name in kinds if name in controls],
    )


def legend(figure: Figure, axes: Axes, *, most_columns: int = 2) -> None:
    """Put the names of what the axes show below the figure, which grows by them.

    Names that are longer than the figure is wide are broken.
    """
    width, height = figure.get_size_inches()
    room = int(width * LETTERS_PER_INCH)
    handles, names = axes.get_legend_handles_labels()
    longest = max((len(name) for name in names), default=0)
    columns = max(1, min(most_columns, room // (longest + HANDLE_LETTERS)))
    broken = [wrap(name, room - HANDLE_LETTERS) for name in names]
    lines = -(-len(names) // columns) if columns > 1 else sum(map(len, broken))
    figure.set_size_inches(width, height + 0.2 * lines)
    figure.legend(
        handles, ["\n".join(name) for name in broken], loc="outside lower center", ncols=columns
    )


def single(
    draw: Callable[[Axes], None],
    image: Format,
    *,
    width: float = WIDTH,
    height: float = HEIGHT,
    key: bool = True,
) -> bytes:
    """One panel, with its legend below.

    Args:
        draw: Fills the panel.
        image: Of the result.
        width: In inches.
        height: In inches, without the legend.
        key: Whether there is a legend.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots()
        draw(axes)
        if key:
            legend(figure, axes)
        return rendered(figure, image)


def drawable(text: str) -> bool:
    """Whether the font of the figures has every letter; a PNG shows boxes for those it lacks."""
    font = get_font(findfont("DejaVu Sans"))
    return all(letter.isspace() or font.get_char_index(ord(letter)) for letter in text)


def rendered(figure: Figure, image: Format) -> bytes:
    """The figure's bytes, the same for the same content: no date, no version in them."""
    stream = io.BytesIO()
    metadata = {"Date": None, "Creator": None} if image == "svg" else {"Software": None}
    with warnings.catch_warnings():
        # an SVG keeps its letters, and its reader has other fonts
        warnings.filterwarnings("ignore", r"Glyph .* missing from")
        figure.savefig(stream, format=image, dpi=150, metadata=metadata)
    return stream.getvalue()
