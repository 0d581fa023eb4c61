"""Chooses the rows that a gate judges, those it compares them with, and names the missing ones."""

from collections.abc import Sequence

from compress.config.gate import WITH_BASELINE, GateConfig
from compress.errors import unknown
from compress.stages.bench_rows import Row, counterpart, float_form, students

Form = tuple[str, str]
"""Name of a model, and a precision of it."""

WITH_TEACHER = ("max_top1_drop", "min_agreement")


def judged(config: GateConfig, forms: Sequence[Form]) -> list[Form]:
    """The forms that are judged: all, narrowed by label and precision.

    Raises:
        ConfigError: A label is not there; those that are, are listed.
    """
    names = {name for name, _ in forms}
    for name in config.student:
        if name not in names:
            raise unknown("student", name, sorted(names))
    return _narrowed(config, forms, by_name=True)


def _narrowed(config: GateConfig, forms: Sequence[Form], *, by_name: bool) -> list[Form]:
    """The forms that --precision leaves, and --student where names count."""
    return [
        (name, precision)
        for name, precision in forms
        if (not by_name or not config.student or name in config.student)
        and (not config.precision or precision in config.precision)
    ]


def absent(config: GateConfig, forms: Sequence[Form]) -> list[Form]:
    """The forms that were asked for by precision and are not there, for every chosen model."""
    names = dict.fromkeys(name for name, _ in forms if not config.student or name in config.student)
    return [
        (name, precision)
        for name in names
        for precision in config.precision
        if (name, precision) not in forms
    ]


def lost(
    config: GateConfig, forms: Sequence[Form], before: Sequence[Form], *, renamed: bool
) -> list[Form]:
    """The forms of a baseline that a target no longer has, of what is judged.

    Args:
        config: The limits.
        forms: Of the target.
        before: Of the baseline.
        renamed: Whether the model may have another name there.
    """
    return [
        (name, precision)
        for name, precision in _narrowed(config, before, by_name=not renamed)
        if not any(precision == own and (renamed or name == label) for label, own in forms)
    ]


def needed(config: GateConfig, rows: Sequence[Row], *, everything: bool) -> list[Row]:
    """The rows to measure: those judged, and those a limit compares them with.

    Args:
        config: The limits.
        rows: Of the target.
        everything: Take all, so that what runs beside a row is what ran beside it in a bench.

    Returns:
        In their order; none where nothing is judged.

    Raises:
        ConfigError: A label is not there.
    """
    chosen = judged(config, students(rows))
    if everything or not chosen:
        return list(rows) if chosen else []
    relative = "max_latency_ratio" in config.thresholds
    with_teacher = any(name in config.thresholds for name in WITH_TEACHER) or (
        relative and config.latency_reference == "teacher"
    )
    with_fp32 = "max_quant_drop" in config.thresholds or (
        relative and config.latency_reference == "fp32"
    )
    teacher = next((row for row in rows if row.role == "teacher"), None)
    floats = [float_form(row, rows) for row in rows if (row.name, row.precision) in chosen]

    def kept(row: Row) -> bool:
        if row.role == "teacher":
            return with_teacher and row is teacher
        if (row.name, row.precision) in chosen:
            return True
        return with_fp32 and any(row is form for form in floats)

    return [row for row in rows if kept(row)]


def compared(
    config: GateConfig, rows: Sequence[Row], baseline: Sequence[Row], *, renamed: bool
) -> list[Row]:
    """The rows of a measured baseline that a limit compares a judged row with.

    Args:
        config: The limits.
        rows: Those to measure.
        baseline: All of it.
        renamed: As in `counterpart`.
    """
    if not any(name in config.thresholds for name in WITH_BASELINE):
        return []
    chosen = judged(config, students(rows)) if rows else []
    partners = [
        counterpart(row, baseline, renamed=renamed)
        for row in rows
        if row.role != "teacher" and (row.name, row.precision) in chosen
    ]
    return [row for row in baseline if any(row is partner for partner in partners)]
