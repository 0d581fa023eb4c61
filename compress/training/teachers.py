"""Teachers: loaded from weights, made fast, and asked about whole views."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from compress import evaluate
from compress.data.images import Splits
from compress.data.views import View
from compress.digests import digest
from compress.errors import ConfigError, MachineError, UnusableError
from compress.models import cost
from compress.models.folding import fold_batchnorm
from compress.records.soft_labels import TeacherDescription
from compress.training.device import Stopwatch, placed, synchronize
from compress.training.distributed import World
from compress.training.formats import Format, fastest, recalled, remembered, teacher_candidates
from compress.training.inputs import Normalize, TrainingImages, as_tensor
from compress.training.members import Member, network_of
from compress.training.memory import NothingFitsError, shortage_explained, split_forward

MIN_FORMAT_AGREEMENT = 0.995
AGREEMENT_IMAGES = 1000
AT_ONCE = {"cpu": 1, "cuda": 512}
"""Images a teacher is asked about at least: a student's small batches leave a GPU waiting."""
SMALLER = "use a smaller --teacher, or a device with more memory"
FLOAT32 = Format()


@dataclass(frozen=True)
class Trust:
    """The format a teacher answers views in, and how far it is from float32.

    Attributes:
        format: Memory and number format.
        agreement: Share of validation images with the float32 top-1.
        probability_error: Mean absolute difference of probabilities to float32.
        refused: Why a faster number format was not taken; empty where none was refused.
    """

    format: Format = FLOAT32
    agreement: float = 1.0
    probability_error: float = 0.0
    refused: str = ""

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Trust":
        """The inverse of `dataclasses.asdict`."""
        return cls(**{**state, "format": Format(**state["format"])})

    def __str__(self) -> str:
        return f"{self.format}" + (f" ({self.refused})" if self.refused else "")


def check_alone(teachers: int) -> None:
    """Refuse losses on features of an ensemble, which has none of its own.

    Raises:
        ConfigError: There is more than one teacher.
    """
    if teachers > 1:
        raise ConfigError(
            "a loss on features needs one teacher, not an ensemble",
            hint="use a loss on logits, or one --teacher",
        )


class Teacher:
    """One network, or an ensemble, that answers views.

    An ensemble's answer is the logarithm of its members' mean softmax at temperature 1. Members
    work one after another, so memory does not grow with their number.

    Args:
        members: At least one, already checked.
        splits: The data.
        device: Where to compute.
        batch_size: Images per forward pass; on a GPU at least `AT_ONCE`, which changes no answer
            by more than rounding.
        world: The ranks that share the work.
    """

    def __init__(
        self,
        members: Sequence[Member],
        splits: Splits,
        *,
        device: torch.device,
        batch_size: int,
        world: World = World(),  # noqa: B008 - immutable
    ) -> None:
        self.members = tuple(members)
        self.trust = Trust()
        self.spent = Stopwatch(device)
        self._splits = splits
        self._device = device
        self.batch_size = max(batch_size, AT_ONCE[device.type])
        self._world = world
        self._loaded: tuple[Member, Format, Callable[[Tensor], Tensor]] | None = None

    @property
    def seconds(self) -> float:
        """The device's time for forward passes so far; waits for it."""
        return self.spent.seconds

    @property
    def name(self) -> str:
        """The model's name, or how many of them there are."""
        if len(self.members) == 1:
            return self.members[0].name
        return f"ensemble of {len(self.members)}"

    def key(self) -> str:
        """Names everything the answers depend on but the view."""
        return self.key_in(self.trust.format.dtype)

    def key_in(self, dtype: str) -> str:
        """The same, had it answered in another number format."""
        described = [
            {
                "weights": member.sha256,
                "model": member.header.model,
                "options": dict(member.header.options),
                "image_size": member.header.image_size,
                "mean": list(member.header.mean),
                "std": list(member.header.std),
                **({"entry": member.options["entry"]} if "entry" in member.options else {}),
            }
            for member in self.members
        ]
        material = {
            "members": described,
            "format": dtype,
            "splits": self._splits.sha256,
        }
        return f"{self.name.replace(' ', '-')}-{digest(material)[:24]}"

    def choose_format(self, cache: Path, amp: str) -> Trust:
        """The fastest format, a lower one only where it gives the float32 answers.

        Args:
            cache: Where the results of trial and comparison are remembered.
            amp: As given to `--amp`.
        """
        choice = self.fastest_format(cache, amp)
        if choice.dtype == FLOAT32.dtype:
            return Trust(choice)
        question: dict[str, object] = {
            "purpose": "trust in a teacher's number format",
            "teacher": self.key_in(choice.dtype),
            "images": "spread over the validation split",
        }
        answer = recalled(
            cache,
            question,
            lambda: asdict(self.compare(choice)),
            lambda **state: Trust.from_state(state),
            device=self._device,
        )
        return Trust.from_state(answer)

    def fastest_format(self, cache: Path, amp: str) -> Format:
        """The format this machine runs the first member fastest in, its answers not looked at.

        Args:
            cache: Where the trial's result is remembered.
            amp: As given to `--amp`.

        Raises:
            MachineError: The network does not fit into memory.
        """
        member = self.members[0]
        pixels = as_tensor(self._splits.validation, self._device)
        pixels = pixels.repeat(-(-self.batch_size // len(pixels)), 1, 1, 1)[: self.batch_size]

        def prepare(candidate: Format) -> Callable[[], None]:
            forward = self._forward(member, candidate)

            def call() -> None:
                split_forward(forward, pixels)
                synchronize(self._device)

            return call

        candidates = teacher_candidates(amp, self._device)
        question: dict[str, object] = {
            "purpose": "teacher",
            "model": member.header.model,
            "options": dict(member.header.options),
            "image_size": self._splits.image_size,
            "batch_size": self.batch_size,
            "amp": amp,
            "candidates": list(map(str, candidates)),
        }
        try:
            return remembered(
                cache, question, lambda: fastest(candidates, prepare)[0], device=self._device
            )
        except NothingFitsError as error:
            raise MachineError(
                f"teacher {self.name} is out of memory: {error.message}", hint=SMALLER
            ) from error

    def compare(self, choice: Format) -> Trust:
        """Measure a format against float32 on validation images; float32 where it is too far.

        Raises:
            UnusableError: The teacher's answers are no numbers in float32 either.
        """
        images = as_tensor(self._splits.validation, self._device)
        count = min(len(images), AGREEMENT_IMAGES)  # spread out: a folder's are in order of classes
        spread = torch.linspace(0, len(images) - 1, count, dtype=torch.float64).round().long()
        pixels = images[spread.to(self._device)]
        exact, fast = (self._answers(pixels, kind) for kind in (FLOAT32, choice))
        plain = Format(channels_last=choice.channels_last)
        if not np.isfinite(exact).all():
            raise UnusableError(
                f"teacher {self.name} answers NaN or infinity", hint="its weights are broken"
            )
        if not np.isfinite(fast).all():
            return Trust(plain, refused=f"{choice.dtype} overflows in {self.name}")
        agreement = float(evaluate.agreement(exact, fast))
        error = float(np.abs(evaluate.softmax(exact) - evaluate.softmax(fast)).mean())
        if agreement < MIN_FORMAT_AGREEMENT:
            refused = f"{choice.dtype} agrees with float32 on {agreement:.1%} of the images only"
            return Trust(plain, refused=refused)
        return Trust(choice, agreement, error)

    def evaluation(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """float32 logits of the plain validation and test images, (images, classes) each."""
        with self.spent.running():
            logits = [
                self._answers(as_tensor(split, self._device), FLOAT32)
                for split in (self._splits.validation, self._splits.test)
            ]
        return logits[0], logits[1]

    def answer(
        self, images: TrainingImages, view: View, advance: Callable[[int], None]
    ) -> NDArray[np.float32]:
        """The logits of a whole view in image order, shape (images, classes).

        Args:
            images: The training images.
            view: Their augmentation; with mixing, the teacher sees the mixed images.
            advance: Told how many images were answered.

        Raises:
            MachineError: A network does not fit into memory.
            UnusableError: An answer is no number.
        """
        rows = torch.arange(images.count)[self._world.share(images.count)]

        def parts() -> Iterator[Tensor]:
            for part in images.parts(view, rows, self.batch_size):
                advance(len(part) * self._world.size)
                yield part

        mine, failed = np.empty((0, self._splits.classes), np.float32), None
        try:
            with self.spent.running():
                mine = self._average(parts, self.trust.format)
            self._check_numbers(mine, view)
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody may be left waiting
            failed = error
        self._world.fail_together(failed)
        return self._world.gather_rows(mine)

    def _check_numbers(self, logits: NDArray[np.float32], view: View) -> None:
        """Refuse to store answers that nobody can learn from.

        Raises:
            UnusableError: One is NaN or infinity.
        """
        if not np.isfinite(logits).all():
            dtype = self.trust.format.dtype
            raise UnusableError(
                f"teacher {self.name} answers NaN or infinity in {dtype} (view {view.number})",
                hint="its weights are broken" if dtype == "float32" else "use --amp off",
            )

    def describe(
        self, validation: NDArray[np.float32], test: NDArray[np.float32]
    ) -> TeacherDescription:
        """What a run must know of this teacher when its weights are elsewhere."""
        costs = [self._cost(member) for member in self.members]
        parameters = sum(weights for weights, _ in costs)
        return TeacherDescription(
            name=self.name,
            data=self._splits.name,
            splits_sha256=self._splits.sha256,
            class_names=self._splits.class_names,
            weights_sha256=tuple(member.sha256 for member in self.members),
            parameters=parameters,
            macs=sum(macs for _, macs in costs),
            size_bytes=4 * parameters,
            top1=float(evaluate.top1(test, self._splits.test.known_labels)),
            val_top1=float(evaluate.top1(validation, self._splits.validation.known_labels)),
            foreign=any(member.foreign for member in self.members),
            number_format=self.trust.format.dtype,
            format_agreement=self.trust.agreement,
            format_probability_error=self.trust.probability_error,
        )

    def _cost(self, member: Member) -> tuple[int, int]:
        """Parameters and multiply-accumulates of one network, which is let go of again."""
        network = network_of(member, self._splits)
        return cost.parameters(network), cost.macs(network, self._splits.image_size)

    def live(self, *, folded: bool = True) -> tuple[nn.Module, Normalize]:
        """The network itself in float32, for losses on features, and its normalisation.

        Args:
            folded: Each BatchNorm is part of the convolution before it, which is faster; the
                outputs of those convolutions then are those of their BatchNorms.

        Raises:
            ConfigError: An ensemble has no features of its own.
            MachineError: It does not fit into memory.
        """
        check_alone(len(self.members))
        member = self.members[0]
        module = network_of(member, self._splits)
        if folded:
            module = fold_batchnorm(module)
        with self._shortage_explained():
            module = placed(module.eval(), self._device, torch.channels_last)
        module.requires_grad_(False)
        header = member.header
        normalize = Normalize(
            header.mean, header.std, device=self._device, memory_format=torch.channels_last
        )
        return module, normalize

    def _forward(self, member: Member, chosen: Format) -> Callable[[Tensor], Tensor]:
        """A function from uint8 images to float32 logits; the last one made is kept."""
        if self._loaded and self._loaded[0] is member and self._loaded[1] == chosen:
            return self._loaded[2]
        self._loaded = None
        header = member.header
        module = fold_batchnorm(network_of(member, self._splits))
        module = placed(module, self._device, chosen.memory_format).to(chosen.torch_dtype)
        normalize = Normalize(
            header.mean, header.std, device=self._device, memory_format=chosen.memory_format
        )

        def forward(images: Tensor) -> Tensor:
            with torch.inference_mode():
                logits: Tensor = module(normalize(images).to(chosen.torch_dtype))
                return logits.float()

        self._loaded = (member, chosen, forward)
        return forward

    def _answers(self, pixels: Tensor, chosen: Format) -> NDArray[np.float32]:
        """Logits of plain images in a format."""
        return self._average(lambda: torch.split(pixels, self.batch_size), chosen)

    def _average(
        self, parts: Callable[[], Iterable[Tensor]], chosen: Format
    ) -> NDArray[np.float32]:
        """The logits of the images that `parts` gives, or the log of the members' mean softmax.

        Raises:
            MachineError: A network does not fit into memory, or not with one image.
        """
        with self._shortage_explained():
            return self._averaged(parts, chosen)

    def _shortage_explained(self) -> AbstractContextManager[None]:
        return shortage_explained(f"teacher {self.name}", SMALLER)

    def _averaged(
        self, parts: Callable[[], Iterable[Tensor]], chosen: Format
    ) -> NDArray[np.float32]:
        total: NDArray[np.float32] | None = None
        for member in self.members:
            forward = self._forward(member, chosen)
            answers = [split_forward(forward, part) for part in parts()]
            del forward  # the next member's network takes its place
            logits: NDArray[np.float32] = (
                torch.cat(answers).cpu().numpy() if answers else np.zeros((0, 0), np.float32)
            )
            if len(self.members) == 1:
                return logits
            log_p = evaluate.log_softmax(logits).astype(np.float32)
            total = log_p if total is None else np.logaddexp(total, log_p).astype(np.float32)
        if total is None:
            raise ValueError("a teacher needs at least one member")
        mean: NDArray[np.float32] = total - np.float32(np.log(len(self.members)))
        return mean
