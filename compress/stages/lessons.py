"""What the students of a run learn from: stored soft labels, or the features of a live teacher."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from compress.config.distill import CE, StudentPlan
from compress.losses.registry import needs_features
from compress.records.families import families


@dataclass(frozen=True)
class Lessons:
    """Who learns from what; a student whose loss is a sum of both kinds is in both.

    Attributes:
        stored: Labels, without seeds, of those who learn from stored soft labels.
        live: Labels, without seeds, of those for whom the teacher runs at every step.
    """

    stored: tuple[str, ...]
    live: tuple[str, ...]

    @property
    def kind(self) -> Literal["stored", "live", "both"]:
        """As a record says it; "stored" as well where nobody learns from the teacher."""
        if not self.live:
            return "stored"
        return "both" if self.stored else "live"

    def __str__(self) -> str:
        if not self.stored and not self.live:
            return "no student learns from the teacher: all weight is on the labels"
        if not self.live:
            return "students learn from stored soft labels; the teacher runs once per view"
        if not self.stored:
            return "the teacher runs live at every step, for losses on its features"
        return (
            f"{', '.join(self.stored)}: from stored soft labels, the teacher runs once per view; "
            f"{', '.join(self.live)}: from its features, the teacher runs live at every step"
        )


def lessons_of(plans: Sequence[StudentPlan]) -> Lessons:
    """Who learns from what, in the order of the plans.

    Raises:
        ConfigError: A loss is unknown.
    """
    names = families(plans)
    stored: dict[str, None] = {}
    live: dict[str, None] = {}
    for plan in plans:
        for term in plan.terms:
            (live if needs_features(term.name) else stored)[names[plan.label]] = None
    return Lessons(tuple(stored), tuple(live))


def late_ramps(plans: Sequence[StudentPlan], epochs: int) -> str | None:
    """What to say of ramps that end after the training; None where there are none.

    Args:
        plans: With the weights of their losses.
        epochs: Of the training.
    """
    late: dict[str, None] = {}
    for plan in plans:
        ramps = ((CE, plan.ce_ramp_epochs), *((term.name, term.ramp_epochs) for term in plan.terms))
        late |= {f"{name} ({ramp} epochs)": None for name, ramp in ramps if (ramp or 0) > epochs}
    if not late:
        return None
    return (
        f"the training of {epochs} epochs ends before these ramps do, whose weights are not "
        f"reached: {', '.join(late)}"
    )
