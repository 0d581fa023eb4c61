"""The figures of a report: which there are, what they are called, and what they show."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from compress.records.distill import DistillRecord
from compress.records.families import families
from compress.records.report import Answers, RunReport
from compress.render import learning_curves, plots
from compress.render.canvas import INK, Format, Shade, run_shades
from compress.render.report_data import by_data


@dataclass(frozen=True)
class Figure:
    """One picture.

    Attributes:
        name: File name without ending, unique in its run.
        title: Above it.
        caption: What to look for; also said to those who cannot see it.
        content: PNG or SVG bytes.
    """

    name: str
    title: str
    caption: str
    content: bytes


def run_figures(run: RunReport, image: Format) -> list[Figure]:
    """Curves, accuracy against cost, and reliability of a run."""
    figures = []
    looks = run_shades(run.rows)
    if run.epochs:
        drawn = (run.epochs, run.rows, image)
        figures += [
            Figure(
                "accuracy",
                "Accuracy by epoch",
                "Top-1 on the validation split; dotted, on the augmented training images. "
                "Dashed lines are controls without a teacher; bands span the seeds.",
                learning_curves.accuracy(*drawn),
            ),
            Figure(
                "validation-loss",
                "Validation loss by epoch",
                "Cross-entropy with the true labels on the validation split, in nats.",
                learning_curves.validation_loss(*drawn),
            ),
            Figure(
                "training-loss",
                "Training loss by epoch",
                "Each student's own objective: levels compare only among equal losses.",
                learning_curves.training_loss(*drawn),
            ),
        ]
    figures.append(
        Figure(
            "accuracy-macs",
            "Accuracy against cost",
            "Test top-1 over multiply-accumulates per image. Star: teacher; hollow: controls. "
            "Bars: 95% intervals, or least and most over seeds. Models of equal cost are set "
            "side by side around it.",
            plots.accuracy_against_macs(_points(run), image, looks),
        )
    )
    if run.answers:
        figures.append(
            Figure(
                "reliability",
                "Reliability",
                "How often answers of a given confidence are right: on the dotted line, "
                "confidence can be taken at its word; below it, the model is overconfident. "
                "Bigger dots hold more test images; "
                f"those of fewer than {plots.LEAST_IMAGES} are hollow, and no line leads there.",
                plots.reliability(
                    [(_name(one, run), _shade(one, run, looks), one) for one in run.answers], image
                ),
            )
        )
    return figures


def confusion_figure(answers: Answers, run: RunReport, image: Format) -> Figure:
    """Which classes a model takes for which."""
    return Figure(
        f"confusion-{answers.label}",
        f"Confusion of {_name(answers, run)}",
        "Per cent of each true class (row) answered as each class (column).",
        plots.confusion(answers.confusion, run.class_names, image),
    )


def overview_figures(runs: Sequence[RunReport], image: Format) -> list[Figure]:
    """Accuracy against cost over several runs, one picture per data set."""
    return [
        Figure(
            f"overview-{place}",
            f"{shared.data}: accuracy against cost, all runs",
            "Test top-1 over multiply-accumulates per image, models by number of their run. "
            "Its colours and marks are its own: the figures of each run have others.",
            plots.accuracy_against_macs(_points_of_all(shared.runs), image),
        )
        for place, shared in enumerate(by_data(runs), start=1)
    ]


def _points_of_all(runs: Sequence[tuple[int, RunReport]]) -> list[plots.Point]:
    """The points of several runs by their numbers.

    A teacher of several runs is one point, and needs no number unless others have its name.
    """
    first: dict[plots.Point, int] = {}
    for number, run in runs:
        for point in _points(run, prefix=f"{number}: "):
            first.setdefault(point, number)
    names = Counter(point.label for point in first)
    return [
        replace(point, label=f"{number}: {point.label}") if names[point.label] > 1 else point
        for point, number in first.items()
    ]


def _points(run: RunReport, prefix: str = "") -> list[plots.Point]:
    points = plots.student_points(run.rows, prefix)
    if isinstance(run.result, DistillRecord):
        return [plots.teacher_point(run.result), *points]
    return points


def _shade(answers: Answers, run: RunReport, looks: Mapping[str, Shade]) -> Shade:
    """The shade of a model's kind; ink for a teacher, and for what is in no row."""
    kind = None if answers.role == "teacher" else families(run.rows).get(answers.label)
    return looks[kind] if kind else Shade(INK)


def _name(answers: Answers, run: RunReport) -> str:
    if answers.role == "teacher" and isinstance(run.result, DistillRecord):
        return f"{run.result.teacher.name} (teacher)"
    return answers.label
