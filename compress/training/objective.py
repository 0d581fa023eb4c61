"""What a student minimises."""

from dataclasses import dataclass

from torch import nn

from compress.config.specs import LossTerm
from compress.losses.registry import DistillationLoss


@dataclass(frozen=True)
class Term:
    """A distillation loss of one student, built.

    Attributes:
        asked: Its name, weight and ramp.
        loss: What computes it.
    """

    asked: LossTerm
    loss: DistillationLoss


@dataclass(frozen=True)
class Objective:
    """What a student minimises: ce_weight * CE + the sum of its weighted terms.

    Attributes:
        ce_weight: Weight of the cross-entropy with the true labels.
        label_smoothing: Of that cross-entropy.
        terms: Distillation losses; empty for a control.
        ce_from: What `ce_weight` begins at, where it has a ramp.
        ce_ramp_epochs: Epochs in which it goes from `ce_from` to `ce_weight`; 0 is no ramp.
    """

    ce_weight: float
    label_smoothing: float
    terms: tuple[Term, ...]
    ce_from: float = 0.0
    ce_ramp_epochs: int = 0

    def ce_weight_at(self, epoch: float) -> float:
        """The weight of the cross-entropy at a moment, epochs counted from 0."""
        if epoch >= self.ce_ramp_epochs:
            return self.ce_weight
        return self.ce_from + (self.ce_weight - self.ce_from) * epoch / self.ce_ramp_epochs

    @property
    def reads_logits(self) -> bool:
        """Whether a loss looks at the teacher's logits."""
        return any(not term.loss.needs_features for term in self.terms)

    @property
    def modules(self) -> list[nn.Module]:
        """Projectors and the like, trained with the student and then dropped."""
        return [term.loss.module for term in self.terms if term.loss.module is not None]

    @property
    def student_taps(self) -> tuple[str, ...]:
        """Module paths in the student whose outputs a loss needs."""
        return tuple(dict.fromkeys(p for t in self.terms for p in t.loss.student_taps))

    @property
    def teacher_taps(self) -> tuple[str, ...]:
        """Module paths in the teacher whose outputs a loss needs."""
        return tuple(dict.fromkeys(p for t in self.terms for p in t.loss.teacher_taps))
