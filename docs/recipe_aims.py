"""What recipes were to reach and what they reached: a table for docs/make_results.py."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Literal, get_args

from compress import evaluate
from compress.config import recipes
from compress.config.about import About, Figures
from compress.records.distill import DistillRecord, StudentRow
from compress.records.families import families
from compress.records.recipe import RecipeRecord
from compress.render.numbers import ABSENT, percent, percent_range
from compress.render.tables.distill import teacher_range

Kind = Literal["teacher", "alone", "student", "ensemble"]
WORDS: Mapping[Kind, str] = {
    "teacher": "teacher",
    "alone": "student alone",
    "student": "taught student",
    "ensemble": "ensemble of students",
}
BETTER = 0.03
HIGH = 0.91
"""An origin's best student under this is to be beaten by `BETTER`; any other to be reached."""
HEADS = ("run", "what", "origin", "target", "reached", "verdict")
INTRODUCTION = """\
*Origin* is what a system published that a recipe reproduces. Its recipe is to reach these figures;
a recipe that is to beat it, 3 points more than its best student, taught or not, where that one is
under 91%. The third origin published none: its best student is that of our run of its recipe. Of
several students the one with the best validation accuracy counts, as the mean over its seeds."""


@dataclass(frozen=True)
class Header:
    """What a recipe says of itself, and how long it trains.

    Attributes:
        about: Its header.
        epochs: Of its students.
        teacher_epochs: Of a teacher trained by it.
    """

    about: About
    epochs: int
    teacher_epochs: int


@dataclass(frozen=True)
class Aim:
    """An accuracy to reach.

    Attributes:
        kind: Whose it is.
        what: The same in words.
        origin: What the origin has; None where none takes part, or it is not known yet.
        target: What is to be reached; None where it depends on an origin that is not known yet.
        seeds: How many the mean is over.
    """

    kind: Kind
    what: str
    origin: float | None
    target: float | None
    seeds: int = 1


@dataclass(frozen=True)
class Reached:
    """An accuracy of a record.

    Attributes:
        top1: A fraction of the test images; the mean over seeds.
        text: As it is written, with its interval or spread.
        seeds: How many.
        low: Lower end of the 95% interval of a single model; None of a mean over seeds.
    """

    top1: float
    text: str
    seeds: int = 1
    low: float | None = None


def headers() -> dict[str, Header]:
    """Those of the installed recipes, by name."""
    found = {}
    for name in recipes.names():
        tables = recipes.load(name)
        epochs, teacher_epochs = tables["distill"]["epochs"], tables["train"]["epochs"]
        found[name] = Header(recipes.about(name), epochs, teacher_epochs)
    return found


def rows(
    records: Sequence[RecipeRecord], headers: Mapping[str, Header]
) -> list[tuple[str, str, str, str, str, str]]:
    """One row per aim and record of its recipe, or one that says there is no record.

    Args:
        records: Of recipes.
        headers: Of all recipes, by name.
    """
    found = []
    for name, header in sorted(headers.items()):
        own = [record for record in records if record.recipe == name]
        for aim in aims(header.about, records, headers):
            over = f" over {aim.seeds} seeds" if aim.seeds > 1 else ""
            figures = (aim.what, percent(aim.origin), f"{percent(aim.target)}{over}")
            if not own:
                found.append((f"`{name}`", *figures, ABSENT, "not yet run whole"))
            for record in own:
                value = reached(record.result, aim.kind)
                if value is not None:
                    link = f"[{record.name}](#{record.name})"
                    said = verdict(aim, value, record, header)
                    found.append((link, *figures, value.text + _begun(record.result, aim), said))
    return found


def _begun(result: DistillRecord, aim: Aim) -> str:
    """Whose weights the students of a figure began with, if anybody's."""
    if result.initial_weights is None or aim.kind == "teacher":
        return ""
    return f"; begun with {Path(result.initial_weights).name}"


def aims(about: About, records: Sequence[RecipeRecord], headers: Mapping[str, Header]) -> list[Aim]:
    """What a recipe is to reach.

    Args:
        about: Its header.
        records: Of recipes; where an origin published nothing, its own counts.
        headers: Of all recipes, by name.
    """
    found = [
        Aim(kind, WORDS[kind], origin=value, target=value) for kind, value in _figures(about.origin)
    ]
    found += [
        Aim(kind, WORDS[kind], origin=None, target=value, seeds=about.target.seeds)
        for kind, value in _figures(about.target)
        if about.target is not None
    ]
    for name in about.to_beat:
        origin = best_student(name, records, headers)
        target = origin if origin is None or origin >= HIGH else origin + BETTER
        found.append(Aim("student", f"{WORDS['student']} against `{name}`", origin, target))
    return found


def best_student(
    recipe: str, records: Sequence[RecipeRecord], headers: Mapping[str, Header]
) -> float | None:
    """The best an origin made of its students, as published, else in our whole run of it."""
    published = [v for kind, v in _figures(headers[recipe].about.origin) if kind != "teacher"]
    if published:
        return max(published)
    for record in records:
        if record.recipe == recipe and not record.changes:
            return max(row.top1 for row in record.result.students)
    return None


def reached(result: DistillRecord, kind: Kind) -> Reached | None:
    """An accuracy of a record; None where it has none of this kind."""
    if kind == "teacher":
        teacher = result.teacher
        low, high = teacher_range(result)
        return Reached(teacher.top1, _one(teacher.top1, low, high), low=low)
    if kind == "ensemble":
        for row in result.ensembles:
            if row.label.endswith(" students"):
                text = _one(row.top1, row.top1_low, row.top1_high)
                return Reached(row.top1, text, row.members, low=row.top1_low)
        return None
    role = "control" if kind == "alone" else "student"
    names = families(result.students)
    groups: dict[str, list[StudentRow]] = {}
    for student in result.students:
        if student.role == role:
            groups.setdefault(names[student.label], []).append(student)
    if not groups:
        return None
    chosen = max(groups, key=lambda label: fmean(row.val_top1 for row in groups[label]))
    group = groups[chosen]
    if len(group) == 1:
        only = group[0]
        text = _one(only.top1, only.top1_low, only.top1_high)
        return Reached(only.top1, f"{chosen} {text}", low=only.top1_low)
    mean, deviation = evaluate.mean_sd([row.top1 for row in group])
    text = f"{chosen} {percent(mean)} ± {percent(deviation)}, {len(group)} seeds"
    return Reached(mean, text, len(group))


def verdict(aim: Aim, value: Reached, record: RecipeRecord, header: Header) -> str:
    """What the figures say, where they were to say it."""
    if aim.target is None:
        return "its origin was not yet run whole"
    missed = aim.target - value.top1
    so_far = f"{percent(missed)} points below" if missed > 1e-9 else "above"
    if record.result.epochs < header.epochs:
        return f"run with fewer epochs: {record.result.epochs} of {header.epochs}; {so_far}"
    if record.teacher is not None and record.teacher.epochs < header.teacher_epochs:
        epochs = f"{record.teacher.epochs} of {header.teacher_epochs}"
        return f"teacher with fewer epochs: {epochs}; {so_far}"
    if value.seeds < aim.seeds:
        return f"seeds: {value.seeds} of {aim.seeds}; {so_far}"
    if missed > 1e-9:
        return f"missed by {percent(missed)} points"
    unsure = value.low is not None and value.low < aim.target
    return "reached, within its range" if unsure else "reached"


def _one(top1: float, low: float, high: float) -> str:
    return f"{percent(top1)} ({percent_range(low, high)})"


def _figures(figures: Figures | None) -> list[tuple[Kind, float]]:
    """Those that there are."""
    found: list[tuple[Kind, float]] = []
    for kind in get_args(Kind):
        value = getattr(figures, kind, None)
        if value is not None:
            found.append((kind, value))
    return found
