"""The sentences of a report, before they become HTML or Markdown."""

from compress.records.distill import DistillRecord, SummaryRow
from compress.records.report import Answers, RunReport
from compress.render.gains import Gain, gain_of_row, gain_over_seeds
from compress.render.numbers import (
    ABSENT,
    duration,
    mean_and_sd,
    percent,
    percent_range,
    points,
    seeds,
)
from compress.render.tables.distill import LESSONS, images_and_epochs


def subtitle(run: RunReport) -> str:
    """What was trained on what, in a line."""
    result = run.result
    soft = f"{LESSONS[result.soft_labels]}, " if isinstance(result, DistillRecord) else ""
    return (
        f"{result.data}: {images_and_epochs(result)}, {soft}"
        f"{duration(result.seconds)} on {result.environment.accelerator or result.environment.cpu}"
    )


def headlines(run: RunReport) -> list[str]:
    """One sentence per student, or per kind of student where there are several seeds."""
    result = run.result
    teacher = result.teacher if isinstance(result, DistillRecord) else None
    rows = [row for row in run.rows if row.role == "student"] or list(run.rows)
    if result.summary:
        return [
            _summary_sentence(one)
            for one in result.summary
            if one.role == "student" or teacher is None
        ]
    sentences = []
    for row in rows:
        text = (
            f"{row.label}: {percent(row.top1)}% top-1 "
            f"({percent_range(row.top1_low, row.top1_high)})"
        )
        if teacher is not None:
            text += (
                f", {points(row.top1 - teacher.top1)} points from its teacher, with "
                f"{part_of(teacher.macs, row.macs)} multiply-accumulates and "
                f"{part_of(teacher.parameters, row.parameters)} parameters"
            )
        gained = _gain_words(gain_of_row(row, alone=run.one_seed))
        sentences.append(f"{text}{gained}.")
    return sentences


def part_of(whole: int, part: int) -> str:
    """A share of something countable, as people say it.

    Returns:
        `1/33 of its`, `0.7 of its`, `2.6 times its`, `as many` or `about as many`.
    """
    ratio = part / whole
    if f"{ratio:.2g}" == "1":
        return "as many" if part == whole else "about as many"
    if ratio < 0.45:
        return f"1/{round(1 / ratio)} of its"
    return f"{ratio:.2g} of its" if ratio < 1 else f"{ratio:.2g} times its"


def _summary_sentence(one: SummaryRow) -> str:
    text = f"{one.label}: {mean_and_sd(one.top1_mean, one.top1_sd)}% top-1 over {seeds(one.seeds)}"
    return text + _gain_words(gain_over_seeds(one)) + "."


def _gain_words(gain: Gain) -> str:
    if gain.points == ABSENT:
        return ""
    said = f": {gain.verdict}" if gain.verdict else ""
    return f"; {gain.points} points over its control{said}"


def agreement_words(answers: Answers) -> str:
    """Who is right on the test images, in a sentence; empty without a teacher."""
    one = answers.agreement
    if one is None:
        return ""
    total = one.both + one.teacher_only + one.student_only + one.neither

    def share(count: int) -> str:
        return f"{count:,} ({percent(count / total, 1)}%)"

    return (
        f"Of {total:,} test images both get {share(one.both)} right, only the teacher "
        f"{share(one.teacher_only)}, only the student {share(one.student_only)}, "
        f"nobody {share(one.neither)}."
    )
