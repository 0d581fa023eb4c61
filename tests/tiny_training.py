"""Small things to train with: real digits, a network, a learner, a source, a run of the loop."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from compress.config.distill import StudentPlan
from compress.config.specs import Augmentation, LossTerm, ModelSpec
from compress.config.training import Optimization
from compress.data import registry as data
from compress.data.images import Splits
from compress.data.views import View
from compress.interrupts import StopRequest
from compress.losses import registry as losses
from compress.models import registry as models
from compress.models import weights
from compress.progress import Silent
from compress.runs import Run
from compress.training.distributed import World
from compress.training.formats import Format
from compress.training.inputs import Batch, Normalize, TrainingImages
from compress.training.learner import Learner, State
from compress.training.loop import LeaveOut, Nobody, Position, give_up, run_epochs
from compress.training.members import read_member
from compress.training.objective import Objective, Term
from compress.training.schedule import Schedule
from compress.training.teachers import Teacher
from compress.training.workplace import Workplace

CPU = torch.device("cpu")
ALONE = World()
PLAIN = Optimization(learning_rate=0.05, weight_decay=0.0)
SHIFTS = Augmentation(crop_padding=1, flip=True)


class Killed(BaseException):
    """The process ends here."""


@cache
def digits(train: int = 150, held: int = 60) -> Splits:
    """The first digits at 8 pixels: so many training images, and `held` to choose and to test."""
    whole = data.load(
        "digits", data_dir=None, image_size=8, validation_fraction=0.1, split_seed=0, download=False
    )

    def first(count: int) -> Any:
        return np.arange(count)

    return Splits(
        name="digits",
        train=whole.train.subset(first(train)),
        validation=whole.validation.subset(first(held)),
        test=whole.test.subset(first(held)),
        mean=whole.mean,
        std=whole.std,
        split_seed=0,
    )


def network(*, seed: int = 0, batchnorm: bool = True, dropout: float = 0.5) -> nn.Sequential:
    """A convolution, pooling, dropout and a linear layer, drawn from a seed; 10 classes."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8) if batchnorm else nn.Identity(),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(8 * 16, 10),
    )


def a_batch(size: int = 32, *, first: int = 0) -> Batch:
    """Some training digits, as they are."""
    rows = torch.arange(first, first + size)
    images = torch.from_numpy(digits().train.images[rows.numpy()]).permute(0, 3, 1, 2)
    return Batch(images, torch.from_numpy(digits().train.known_labels)[rows], rows)


def linear(weight: float = 0.0) -> nn.Module:
    """One linear layer on all pixels with equal weights: every class has probability 1/10."""
    layer = nn.Linear(3 * 8 * 8, 10, bias=False)
    nn.init.constant_(layer.weight, weight)
    return nn.Sequential(nn.Flatten(), layer)


def normalised(batch: Batch) -> Tensor:
    """What a network gets of a batch."""
    splits = digits()
    normalize = Normalize(
        splits.mean, splits.std, device=CPU, memory_format=torch.contiguous_format
    )
    return normalize(batch.images)


def hungry(too_much: Callable[[Tensor], bool]) -> Callable[[nn.Conv2d, Tensor], Tensor]:
    """A stand-in for `nn.Conv2d.forward` that has no memory for some batches."""
    forward = nn.Conv2d.forward

    def convolve(self: nn.Conv2d, images: Tensor) -> Tensor:
        if too_much(images):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return forward(self, images)

    return convolve


def objective(*terms: str, ce_weight: float = 1.0, label_smoothing: float = 0.0) -> Objective:
    """Cross-entropy and losses on logits, as written on the command line."""
    parsed = [LossTerm.parse(term) for term in terms]
    return Objective(
        ce_weight, label_smoothing, tuple(Term(term, losses.build(term)) for term in parsed)
    )


def learner(
    label: str = "a",
    *,
    model: nn.Module | None = None,
    goal: Objective | None = None,
    optimization: Optimization = PLAIN,
    seed: int = 0,
    epochs: int = 2,
    batch_size: int = 32,
    splits: Splits | None = None,
    world: World = ALONE,
    kind: type[Learner] = Learner,
    format: Format = Format(),  # noqa: A002, B008 - immutable
    device: torch.device = CPU,
) -> Learner:
    """A student with dropout that learns digits from labels unless told otherwise."""
    found = splits or digits()
    return kind(
        label,
        network(seed=seed) if model is None else model,
        objective() if goal is None else goal,
        optimization,
        format,
        mean=found.mean,
        std=found.std,
        seed=seed,
        epochs=epochs,
        steps_per_epoch=found.train.count // batch_size,
        device=device,
        world=world,
    )


def teacher_file(
    path: Path, *, seed: int = 0, splits: Splits | None = None, class_names: Sequence[str] = ()
) -> Path:
    """Weights of a narrow small_cnn, drawn from a seed and never trained."""
    found = splits or digits()
    options = models.resolve_options("small_cnn", image_size=8, options={"width": 0.25})
    names = tuple(class_names) or found.class_names
    torch.manual_seed(seed)
    model = models.build("small_cnn", classes=len(names), image_size=8, options=options)
    model.train()
    with torch.no_grad():  # statistics of BatchNorm that differ from the initial ones
        model(torch.randn(64, 3, 8, 8))
    header = weights.WeightsHeader(
        model="small_cnn",
        options=options,
        class_names=names,
        image_size=8,
        mean=found.mean,
        std=found.std,
    )
    weights.save(path, model.state_dict(), header)
    return path


@cache
def _trained() -> State:
    """Weights of a narrow small_cnn after some epochs on all digits: far better than chance."""
    whole = data.load(
        "digits", data_dir=None, image_size=8, validation_fraction=0.1, split_seed=0, download=False
    )
    torch.manual_seed(0)
    model = models.build("small_cnn", classes=10, image_size=8, options={"width": 0.25})
    student = learner(
        model=model, optimization=PLAIN.model_copy(update={"learning_rate": 0.2}), splits=whole
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tiny steps: several threads only wait for each other
    run([student], splits=whole, source=Nobody())
    torch.set_num_threads(threads)
    return student.weights()


def trained_teacher_file(path: Path) -> Path:
    """Weights of a narrow small_cnn that has learned the digits."""
    header = weights.load(teacher_file(path), {}).header
    weights.save(path, _trained(), header)
    return path


def teacher(
    folder: Path,
    *,
    seeds: Sequence[int] = (0,),
    splits: Splits | None = None,
    batch_size: int = 64,
    world: World = ALONE,
    device: torch.device = CPU,
) -> Teacher:
    """A teacher, or an ensemble, that was never trained."""
    found = splits or digits()
    members = [
        read_member(
            teacher_file(folder / f"teacher-{seed}.safetensors", seed=seed, splits=found),
            {},
            found,
            source=f"teacher-{seed}",
            foreign=False,
        )
        for seed in seeds
    ]
    return Teacher(members, found, device=device, batch_size=batch_size, world=world)


def plan(
    label: str = "a", model: str = "small_cnn:width=0.25,dropout=0.5", **changes: Any
) -> StudentPlan:
    """A narrow student that learns from labels, and from a teacher where `terms` says so."""
    terms = tuple(LossTerm.parse(term) for term in changes.pop("terms", ()))
    values: dict[str, Any] = {
        "seed": 0,
        "role": "student" if terms else "control",
        "optimization": PLAIN,
        "ce_weight": 1.0,
    }
    return StudentPlan(
        label=label, model=ModelSpec.parse(model), terms=terms, **{**values, **changes}
    )


def open_run(folder: Path) -> Run:
    """A run directory, held."""
    return Run.open(folder, id="r", command="distill", config={})


class Given(Nobody):
    """A source with invented answers, different for every view; it remembers the views."""

    def __init__(self, splits: Splits) -> None:
        self._count, self._classes = splits.train.count, splits.classes
        self.views: list[int] = []

    def logits(self, number: int) -> Tensor:
        """The answers to a view, float16 (images, classes), each row's maximum 0."""
        drawn = np.random.default_rng(number).normal(size=(self._count, self._classes))
        return torch.from_numpy(drawn - drawn.max(axis=1, keepdims=True)).half()

    def labels(self, view: View) -> Tensor | None:
        """The answers to a view."""
        self.views.append(view.number)
        return self.logits(view.number)


def schedule(cache_folder: Path, **changes: Any) -> Schedule:
    """Two epochs of 32 images a step, cropped and flipped."""
    values: dict[str, Any] = {
        "epochs": 2,
        "batch_size": 32,
        "views": None,
        "view_seed": 0,
        "augmentation": SHIFTS,
        "checkpoint_every": 0,
        "group": None,
        "amp": "off",
        "workers": 0,
        "cache": cache_folder,
    }
    return Schedule(**{**values, **changes})


def run(
    learners: list[Learner],
    *,
    splits: Splits | None = None,
    source: Any = None,
    epochs: int = 2,
    batch_size: int = 32,
    views: int | None = None,
    position: Position | None = None,
    save: Callable[[Position], None] = lambda _position: None,
    checkpoint_every: int = 0,
    workers: int = 0,
    world: World = ALONE,
    progress: Any = None,
    stop: StopRequest | None = None,
    leave_out: LeaveOut = give_up,
) -> Position:
    """Train with the real loop, and return where it ended."""
    found = splits or digits()
    plan = schedule(Path(), views=views, epochs=epochs, batch_size=batch_size)
    reached = position or Position()
    run_epochs(
        learners,
        TrainingImages(found.train, device=CPU, workers=workers),
        found.validation,
        source or Given(found),
        view_of=lambda epoch: plan.view(found, epoch),
        epochs=epochs,
        batch_size=batch_size,
        position=reached,
        save=save,
        checkpoint_every=checkpoint_every,
        leave_out=leave_out,
        place=Workplace(
            CPU, world=world, progress=progress or Silent(), stop=stop or StopRequest()
        ),
    )
    return reached


def same_weights(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Whether two states are equal bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
