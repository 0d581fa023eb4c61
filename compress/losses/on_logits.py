"""A logit loss with its options filled in, as the training loop calls it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from compress.errors import ConfigError

if TYPE_CHECKING:
    from compress.losses.registry import Outputs


@dataclass(frozen=True)
class LogitLoss:
    """A function of both models' logits, and of the labels where it names them.

    Attributes:
        name: In the registry.
        function: Takes student logits, teacher logits, and the options by keyword.
        options: The function's options.
        takes_labels: Whether the third argument is the labels, one class per image.
    """

    name: str
    function: Callable[..., Tensor]
    options: Mapping[str, float]
    takes_labels: bool
    needs_features: bool = False
    student_taps: tuple[str, ...] = ()
    teacher_taps: tuple[str, ...] = ()
    module: nn.Module | None = None

    @property
    def supports_mixed_labels(self) -> bool:
        """Whether labels may be blended (mixup, cutmix)."""
        return not self.takes_labels

    def __call__(self, student: "Outputs", teacher: "Outputs", labels: Tensor) -> Tensor:
        """The loss of a batch, a scalar in float32 (float64 for float64 logits).

        Args:
            student: Logits of shape (batch, classes).
            teacher: The same; no gradient flows into it.
            labels: int64 (batch,), or blended, float (batch, classes).

        Raises:
            ConfigError: The labels are blended and the loss needs one class per image.
        """
        if self.takes_labels and labels.is_floating_point():
            raise ConfigError(
                f"loss {self.name} needs one class per image, and mixing blends them",
                hint="turn mixup and cutmix off, or use another loss",
            )
        targets = (labels,) if self.takes_labels else ()
        with torch.autocast(student.logits.device.type, enabled=False):
            return self.function(student.logits, teacher.logits.detach(), *targets, **self.options)
