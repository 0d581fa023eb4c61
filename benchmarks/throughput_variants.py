"""What distill_throughput.py compares with the plain loop: ours, and the bare computation."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from throughput_pairs import (
    ALPHA,
    CLASSES,
    COMPANY,
    IMAGE_SIZE,
    MEAN,
    STD,
    TEMPERATURE,
    Pair,
    build,
    random_images,
    timed,
)
from torch.nn import functional

from compress.config.distill import StudentPlan
from compress.config.specs import Augmentation, LossTerm
from compress.config.training import Optimization
from compress.data.images import Splits
from compress.models import registry as models
from compress.models import weights
from compress.models.folding import fold_batchnorm
from compress.runs import Run
from compress.training.answers import Teaching
from compress.training.device import backward, placed, synchronize
from compress.training.formats import Format, dtypes, fastest, student_candidates
from compress.training.inputs import TrainingImages
from compress.training.learner import Learner
from compress.training.loop import Position, run_epochs
from compress.training.members import read_member
from compress.training.schedule import Schedule
from compress.training.soft_labels import SoftLabels
from compress.training.students import build_learner
from compress.training.teachers import AT_ONCE, Teacher, Trust
from compress.training.workplace import Workplace

AUGMENTATION = Augmentation(crop_padding=4, flip=True)


class OurLoop:
    """`compress distill` from its soft labels down: the product's own loop, nothing copied.

    Validation has two images and nothing is saved, so that a short epoch measures the training.

    Attributes:
        teacher_format: What the trial chose.
        student_format: What the trial chose.
    """

    def __init__(
        self, pair: Pair, batch_size: int, device: torch.device, folder: Path, amp: str
    ) -> None:
        self._device, self._folder, self._batch_size = device, folder, batch_size
        images = random_images(pair.steps * batch_size)
        few = images.subset(np.arange(2))
        # the trials look at a batch of validation images
        some = images.subset(np.arange(min(batch_size, images.count)))
        self._splits = Splits("noise", images, few, few, MEAN, STD, 0)
        trial = Splits("noise", images, some, few, MEAN, STD, 0)
        header = weights.WeightsHeader(
            model=pair.teacher.name,
            options=models.resolve_options(
                pair.teacher.name, image_size=IMAGE_SIZE, options=pair.teacher.options
            ),
            class_names=images.class_names,
            image_size=IMAGE_SIZE,
            mean=MEAN,
            std=STD,
        )
        weights.save(folder / "teacher.safetensors", build(pair.teacher).state_dict(), header)
        member = read_member(
            folder / "teacher.safetensors", {}, trial, source="random", foreign=True
        )
        self._teacher = Teacher([member], trial, device=device, batch_size=batch_size)
        # random weights give no answers worth comparing: the format is taken for its speed
        chosen = self._teacher.fastest_format(folder, amp)
        self._teacher.trust = Trust(chosen)
        self.teacher_format = str(chosen)
        self._schedule = Schedule(
            epochs=1,
            batch_size=batch_size,
            views=None,
            view_seed=0,
            augmentation=AUGMENTATION,
            checkpoint_every=0,
            group=None,
            amp=amp,
            workers=0,
            cache=folder,
        )
        self._images = TrainingImages(images, device=device)
        self._source = Teaching(
            SoftLabels(folder / "labels" / "t", limit_bytes=2**40),
            self._teacher,
            self._images,
            place=Workplace(device),
        )
        self._next_view = 0
        run = Run.open(folder / "run", id="run", command="distill", config={})
        term = LossTerm(name="kd", weight=ALPHA, options={"temperature": TEMPERATURE})
        self._learners = [
            build_learner(
                run,
                trial,
                StudentPlan(
                    label=f"student-{number}",
                    model=pair.student,
                    seed=number,
                    role="student",
                    optimization=Optimization(learning_rate=0.01),
                    ce_weight=1 - ALPHA,
                    terms=(term,),
                ),
                self._schedule,
                self._source,
                place=Workplace(device),
            )
            for number in range(COMPANY if pair.company else 1)
        ]
        run.close()
        self.student_format = str(self._learners[0].format)

    def uncached(self) -> float:
        """Seconds of an epoch on a view that nobody has answered."""
        self._next_view += 1
        return timed(lambda: self._epoch(self._learners[:1]), self._device)

    def cached(self) -> float:
        """Seconds of an epoch on the view before, whose answers are stored."""
        if self._next_view == 0:
            self._next_view = 1
            self._source.labels(self._schedule.view(self._splits, self._next_view))
        return timed(lambda: self._epoch(self._learners[:1]), self._device)

    def company(self) -> float:
        """Seconds of an epoch of four students on a view that nobody has answered."""
        self._next_view += 1
        return timed(lambda: self._epoch(self._learners), self._device)

    def _epoch(self, learners: Sequence[Learner]) -> None:
        run_epochs(
            list(learners),
            self._images,
            self._splits.validation,
            self._source,
            view_of=lambda _: self._schedule.view(self._splits, self._next_view),
            epochs=1,
            batch_size=self._batch_size,
            position=Position(),
            save=lambda _: None,
            checkpoint_every=0,
            place=Workplace(self._device),
        )


class Limit:
    """Nothing but forward, backward and optimizer on one resident random batch.

    The teacher is asked about as many images at a time as ours is: a small batch leaves a GPU
    waiting, and its speed would be no limit.

    Attributes:
        teacher_format: The fastest found.
        student_format: The fastest found.
    """

    def __init__(self, pair: Pair, batch_size: int, device: torch.device, amp: str) -> None:
        self._steps, self._device = pair.steps, device
        self._batch_size, self._at_once = batch_size, max(batch_size, AT_ONCE[device.type])
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(batch_size, 3, IMAGE_SIZE, IMAGE_SIZE, generator=generator)
        self._images = images.to(device)
        labels = torch.randint(0, CLASSES, (batch_size,), generator=generator)
        self._labels = labels.to(device)
        self._soft = torch.randn(batch_size, CLASSES, generator=generator).to(device)
        tried = dtypes(amp, device)
        layouts = [Format(nhwc, dtype) for nhwc in (True, False) for dtype in tried]
        ours = student_candidates(build(pair.student), amp, device)
        best, _ = fastest(layouts, lambda kind: self._waiting(self._teacher(pair, kind)))
        self.teacher_format, self._answer = str(best), self._teacher(pair, best)
        best, _ = fastest(
            dict.fromkeys([*layouts, *ours]),
            lambda kind: self._waiting(self._student(pair, kind)),
        )
        self.student_format, self._learn = str(best), self._student(pair, best)

    def student(self) -> float:
        """Seconds of the student's steps."""
        return timed(lambda: _repeat(self._learn, self._steps), self._device)

    def teacher(self) -> float:
        """Seconds of the teacher's forward passes, as many as the images of the steps need."""
        images = self._steps * self._batch_size
        passes = -(-images // self._at_once)
        seconds = timed(lambda: _repeat(self._answer, passes), self._device)
        return seconds * (images / (passes * self._at_once))  # the last pass may not be a full one

    def _waiting(self, work: Callable[[], None]) -> Callable[[], None]:
        """The same work and the device's end of it, for the trial's clock."""

        def call() -> None:
            work()
            synchronize(self._device)

        return call

    def _teacher(self, pair: Pair, kind: Format) -> Callable[[], None]:
        model = fold_batchnorm(build(pair.teacher).eval())
        model = placed(model, self._device, kind.memory_format).to(kind.torch_dtype)
        images = self._images.repeat(-(-self._at_once // self._batch_size), 1, 1, 1)
        images = images[: self._at_once].contiguous(memory_format=kind.memory_format)
        images = images.to(kind.torch_dtype)

        def answer() -> None:
            with torch.inference_mode():
                model(images)

        return answer

    def _student(self, pair: Pair, kind: Format) -> Callable[[], None]:
        model = build(pair.student)
        kind.convert(model)
        model = placed(model.train(), self._device, kind.memory_format)
        images = self._images.contiguous(memory_format=kind.memory_format)
        forward = kind.forward(model)
        optimizer = torch.optim.SGD(
            model.parameters(),
            lr=0.01,
            momentum=0.9,
            weight_decay=5e-4,
            nesterov=True,
            fused=True,
        )
        soft = functional.softmax(self._soft / TEMPERATURE, dim=1)

        def learn() -> None:
            with kind.autocast(self._device):
                logits = forward(images)
            logits = logits.float()
            kd = functional.kl_div(
                functional.log_softmax(logits / TEMPERATURE, dim=1), soft, reduction="batchmean"
            )
            loss = (1 - ALPHA) * functional.cross_entropy(logits, self._labels)
            optimizer.zero_grad(set_to_none=True)
            backward(loss + ALPHA * TEMPERATURE**2 * kd)
            optimizer.step()

        return learn


def _repeat(work: Callable[[], None], times: int) -> None:
    for _ in range(times):
        work()
