"""Which runs of a report are on the same data, and what that is called."""

from collections.abc import Sequence
from dataclasses import dataclass

from compress.records.report import RunReport


@dataclass(frozen=True)
class Shared:
    """The runs on one data set.

    Attributes:
        data: Its name, with where it lies if another of that name is in the report.
        runs: They with their numbers in the report, from 1.
    """

    data: str
    runs: tuple[tuple[int, RunReport], ...]


def by_data(runs: Sequence[RunReport]) -> list[Shared]:
    """The runs with their numbers, those on the same data together.

    Of folders only the last part is in a name. They are the same where they were asked for in the
    same way, or hold the same pictures.
    """
    groups: list[list[tuple[int, RunReport]]] = []
    for number, run in enumerate(runs, start=1):
        found = next((group for group in groups if _same(group[0][1], run)), None)
        if found is None:
            groups.append([(number, run)])
        else:
            found.append((number, run))
    names = [group[0][1].result.data for group in groups]
    return [
        Shared(
            name if names.count(name) == 1 else f"{name} ({group[0][1].inputs['data'].source})",
            tuple(group),
        )
        for group, name in zip(groups, names, strict=True)
    ]


def _same(one: RunReport, other: RunReport) -> bool:
    """Whether two runs are on the same data, as far as their inputs tell."""
    if one.result.data != other.result.data:
        return False
    pairs = [
        (one.inputs[role], other.inputs[role])
        for role in ("data", "test images")
        if role in one.inputs and role in other.inputs
    ]
    return not pairs or any(a.source == b.source or a.sha256 == b.sha256 for a, b in pairs)
