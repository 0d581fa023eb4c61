"""Chooses between layouts of one table by the width of the terminal."""

from collections.abc import Sequence

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

UNBOUNDED = 10_000
Row = Sequence[str | Text]


class FirstThatFits:
    """Renders the first layout that needs no folding, or the last when none does.

    Args:
        layouts: The same content, widest first.
    """

    def __init__(self, *layouts: RenderableType) -> None:
        self._layouts = layouts

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.update(width=UNBOUNDED)
        for layout in self._layouts[:-1]:
            parts = layout.renderables if isinstance(layout, Group) else [layout]
            needed = max(Measurement.get(console, wide, part).maximum for part in parts)
            if needed <= options.max_width:
                yield layout
                return
        yield self._layouts[-1]


def grid(
    heads: Sequence[str],
    rows: Sequence[Row],
    *,
    left: int = 1,
    title: str | None = None,
) -> Table:
    """A table in the program's style: plain lines, numbers to the right, names folded at need.

    Args:
        heads: Column heads; a line break splits one.
        rows: Cells; text from outside needs no escaping, since no cell is read as markup.
        left: Number of first columns that hold words and lean left.
        title: Shown above, to the left.
    """
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        title=None if title is None else Text(title, style="bold"),
        title_justify="left",
    )
    for place, head in enumerate(heads):
        words = place < left
        table.add_column(
            Text(head),
            justify="left" if words else "right",
            overflow="fold",
            no_wrap=not words,
        )
    for row in rows:
        table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    return table


def broken(name: str, width: int = 18) -> str:
    """A long name on two lines, split after the hyphen that leaves both shortest."""
    places = [place + 1 for place, char in enumerate(name[:-1]) if char == "-"]
    if len(name) <= width or not places:
        return name
    best = min(places, key=lambda place: max(place, len(name) - place))
    return f"{name[:best]}\n{name[best:]}"
