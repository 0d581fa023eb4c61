"""A feature loss with its taps and projectors, as the training loop calls it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from compress.errors import ConfigError
from compress.losses.features import Projector

if TYPE_CHECKING:
    from compress.losses.registry import Outputs

Shapes = Mapping[str, Sequence[int]]
Pair = tuple[str, str]


@dataclass(frozen=True)
class FeatureLoss:
    """A sum over pairs of a student's and a teacher's features.

    Attributes:
        name: In the registry.
        function: Takes student features, teacher features, and the options by keyword.
        options: The function's options.
        student_taps: Module paths in the student.
        teacher_taps: Module paths in the teacher, one for each of the student's.
        module: One projector per pair, to be trained with the student; None without projectors.
    """

    name: str
    function: Callable[..., Tensor]
    options: Mapping[str, float]
    student_taps: tuple[str, ...]
    teacher_taps: tuple[str, ...]
    module: nn.ModuleList | None = None
    needs_features: bool = True
    supports_mixed_labels: bool = True

    def __call__(self, student: "Outputs", teacher: "Outputs", labels: Tensor) -> Tensor:
        """The loss of a batch, a scalar in float32 (float64 for float64 features).

        Args:
            student: With features at `student_taps`.
            teacher: With features at `teacher_taps`; no gradient flows into it.
            labels: Not looked at.
        """
        del labels
        total = student.logits.new_zeros((), dtype=torch.float32)
        with torch.autocast(student.logits.device.type, enabled=False):
            for number, pair in enumerate(zip(self.student_taps, self.teacher_taps, strict=True)):
                ours, theirs = student.features[pair[0]], teacher.features[pair[1]].detach()
                if self.module is not None:
                    ours = self.module[number](ours)
                total = total + self.function(ours, theirs, **self.options)
        return total


def choose_pairs(
    student: Shapes, teacher: Shapes, *, wanted: str, asked: tuple[str, str] | None
) -> list[Pair]:
    """Which feature of the student learns from which of the teacher.

    Stages are paired in order. Where one model has more of them, the run of its stages whose map
    sizes are closest to the other's is taken, the deeper one of equals. "last" is the last of each.

    Args:
        student: Candidate taps to feature shapes without the batch, from shallow to deep.
        teacher: The same for the teacher.
        wanted: Which of the pairs: "all", "middle" or "last".
        asked: The user's own taps of student and teacher, joined by "+"; they are taken as paired.

    Raises:
        ConfigError: The user's taps are not there, or not equally many; or there are no candidates.
    """
    if asked is not None:
        ours, theirs = ([path for path in taps.split("+") if path] for taps in asked)
        for path, known in [(p, student) for p in ours] + [(p, teacher) for p in theirs]:
            if path not in known:
                raise ConfigError(
                    f"no features are tapped at {path!r}", hint=f"known: {', '.join(known)}"
                )
        if len(ours) != len(theirs) or not ours:
            raise ConfigError(
                f"{len(ours)} student taps ({asked[0]}) and {len(theirs)} teacher taps "
                f"({asked[1]}) make no pairs"
            )
        return list(zip(ours, theirs, strict=True))
    if not student or not teacher:
        raise ConfigError("a loss on features needs the shapes of both models' features")
    if wanted == "last":
        return [(list(student)[-1], list(teacher)[-1])]
    pairs = _aligned(student, teacher)
    return [pairs[(len(pairs) - 1) // 2]] if wanted == "middle" else pairs


def build_projectors(pairs: Sequence[Pair], student: Shapes, teacher: Shapes) -> nn.ModuleList:
    """A projector for each pair, drawn from torch's global generator.

    Raises:
        ConfigError: A feature is not a map.
    """
    check_maps(pairs, student, teacher)
    return nn.ModuleList(Projector(student[ours][0], teacher[theirs][0]) for ours, theirs in pairs)


def check_maps(pairs: Sequence[Pair], student: Shapes, teacher: Shapes) -> None:
    """Refuse features that are not maps of channels, height and width.

    Raises:
        ConfigError: With the path and the shape.
    """
    for pair in pairs:
        for path, known in zip(pair, (student, teacher), strict=True):
            if len(known[path]) != 3:
                raise ConfigError(
                    f"the output of {path} has shape {tuple(known[path])}, not that of a map",
                    hint="tap a convolutional stage",
                )


def check_places(pairs: Sequence[Pair], student: Shapes, teacher: Shapes) -> None:
    """Refuse maps of a single pixel: which one is attended to says nothing.

    Raises:
        ConfigError: No pair has a larger map on both sides.
    """
    if all(math.prod(student[a][1:]) == 1 or math.prod(teacher[b][1:]) == 1 for a, b in pairs):
        taps = ", ".join(f"{a} and {b}" for a, b in pairs)
        raise ConfigError(
            f"attention compares places in an image, and the maps of {taps} have one",
            hint="tap earlier stages, or use larger images",
        )


def _aligned(student: Shapes, teacher: Shapes) -> list[Pair]:
    ours, theirs = list(student), list(teacher)
    count = min(len(ours), len(theirs))
    candidates = [
        list(zip(ours[i : i + count], theirs[j : j + count], strict=True))
        for i in range(len(ours) - count + 1)
        for j in range(len(theirs) - count + 1)
    ]
    return min(
        reversed(candidates),
        key=lambda pairs: sum(_mismatch(student[a], teacher[b]) for a, b in pairs),
    )


def _mismatch(student: Sequence[int], teacher: Sequence[int]) -> float:
    """How far apart two map sizes are: 0 for equal sides, 1 for one halving."""
    return abs(math.log2(student[-1] / teacher[-1])) if len(student) == len(teacher) == 3 else 0.0
