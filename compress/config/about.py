"""The header of a recipe: what it is, where it comes from, and what it is measured by."""

from typing import Annotated

from pydantic import Field

from compress.config.specs import Frozen

Fraction = Annotated[float, Field(gt=0, lt=1)]


class Figures(Frozen):
    """Accuracies on the test images, as fractions.

    Attributes:
        teacher: Of the teacher.
        alone: Of the student without a teacher.
        student: Of the taught student, the best where there are several.
        ensemble: Of all taught students averaged.
    """

    teacher: Fraction | None = None
    alone: Fraction | None = None
    student: Fraction | None = None
    ensemble: Fraction | None = None


class Target(Figures):
    """Accuracies that a recipe is to reach.

    Attributes:
        seeds: Over how many seeds their mean is taken.
    """

    seeds: int = Field(default=1, ge=1)


class About(Frozen):
    """The `[about]` table of an installed recipe; that of a file of one's own is free.

    Attributes:
        summary: What it is, in a line.
        source: Where it comes from.
        command: What runs it.
        then: What may be run after it.
        seconds_cpu: How long that takes on two cores.
        seconds_gpu: On a GPU.
        expected: What is to be expected of it.
        origin: What the system published that the recipe reproduces.
        target: What the recipe is to reach.
        to_beat: Recipes of origins that it is to be better than.
        finding: What its record showed beside the figures: why a target was missed, for example.
        record: Where it was run whole: a path in the repository; else that it was not.
    """

    summary: str
    source: str
    command: str
    then: str | None = None
    seconds_cpu: str
    seconds_gpu: str
    expected: str
    origin: Figures | None = None
    target: Target | None = None
    to_beat: tuple[str, ...] = ()
    finding: str | None = None
    record: str
