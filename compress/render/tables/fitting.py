"""Fits tables to the width of the terminal: other layouts, several parts, folded names."""

from collections.abc import Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

UNBOUNDED = 10_000
LEAST_NAMES = 8
"""Terminal columns that the words of a row keep between them, whatever the numbers need."""
HEAD = 12
"""Letters on a line of a column head that holds a name."""
BREAKS = "-_.@"
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


class Stacked:
    """One table in as many parts, one below the other, as its columns need to be whole.

    Args:
        heads: Column heads; a line break splits one.
        rows: Cells; the first of each names the row, in every part, and is folded at need.
        title: Shown above the first part.
    """

    def __init__(
        self, heads: Sequence[str], rows: Sequence[Row], *, title: str | None = None
    ) -> None:
        self._heads, self._rows, self._title = heads, rows, title

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.update(width=UNBOUNDED)

        def width(*places: int) -> int:
            return Measurement.get(console, wide, self._part(places)).maximum

        name = width(0)
        others = range(1, len(self._heads))
        needed = {place: width(0, place) - name for place in others}
        name = min(name, max(options.max_width // 3, LEAST_NAMES))
        parts: list[list[int]] = []
        left = 0
        for place in others:
            if not parts or needed[place] > left:
                parts.append([0])
                left = options.max_width - name
            parts[-1].append(place)
            left -= needed[place]
        for number, part in enumerate(parts):
            yield self._part(part, title=None if number else self._title)

    def _part(self, places: Sequence[int], *, title: str | None = None) -> Table:
        rows = [[row[place] for place in places] for row in self._rows]
        return grid([self._heads[place] for place in places], rows, title=title)


class _Grid(Table):
    """A table whose numbers are whole: names fold, and a line that is still too long ends in `…`.

    Rich alone would fold the names away and then cut digits off without a sign.

    Attributes:
        spare: Terminal columns that folding the names may save.
    """

    spare = 0

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.update(width=UNBOUNDED)
        narrowest = Measurement.get(console, wide, self).maximum - self.spare
        if narrowest <= options.max_width:
            yield from super().__rich_console__(console, options)
            return
        shown = super().__rich_console__(console, options.update(width=narrowest))
        for line in Segment.split_lines(part for part in shown if isinstance(part, Segment)):
            if Segment.get_line_length(line) > options.max_width:
                yield from Segment.adjust_line_length(line, options.max_width - 1, pad=False)
                yield Segment("…")
            else:
                yield from line
            yield Segment.line()


def grid(
    heads: Sequence[str],
    rows: Sequence[Row],
    *,
    left: int = 1,
    title: str | None = None,
) -> Table:
    """A table in the program's style: plain lines, numbers to the right, names folded at need.

    Numbers are never cut: columns that do not fit beside names folded to the least are left out at
    the right, and each line says so with `…`.

    Args:
        heads: Column heads; a line break splits one.
        rows: Cells; text from outside needs no escaping, since no cell is read as markup.
        left: Number of first columns that hold words and lean left.
        title: Shown above, to the left.
    """
    table = _Grid(
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
    names = [_width(head) for head in heads[:left]]
    for row in rows:
        table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
        names = [max(name, _width(cell)) for name, cell in zip(names, row, strict=False)]
    table.spare = sum(max(0, name - max(1, LEAST_NAMES // left)) for name in names)
    return table


def _width(cell: str | Text) -> int:
    """Terminal columns of a cell's longest line."""
    return max(map(cell_len, str(cell).split("\n")))


def folded(name: str, width: int = HEAD) -> str:
    """A name on lines of at most `width` letters, broken after a hyphen, underscore, dot or `@`.

    Args:
        name: Of a model or a machine.
        width: Letters on a line; where none of the signs is among them, the line breaks after them.
    """
    lines = []
    while len(name) > width:
        place = max(name.rfind(sign, 0, width) for sign in BREAKS) + 1 or width
        lines.append(name[:place])
        name = name[place:]
    return "\n".join([*lines, name])


def broken(name: str, width: int = 18) -> str:
    """A long name on two lines, split after the hyphen that leaves both shortest."""
    places = [place + 1 for place, char in enumerate(name[:-1]) if char == "-"]
    if len(name) <= width or not places:
        return name
    best = min(places, key=lambda place: max(place, len(name) - place))
    return f"{name[:best]}\n{name[best:]}"
