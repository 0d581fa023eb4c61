"""What a model file answers for a whole set of images, on every core, and how often that is right.

Answers are kept by model, normalisation, images, runtime and processor, so that a second bench is
instant.
"""

import hashlib
import io
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from compress import evaluate, runtime
from compress.cache import cache_folder
from compress.data.images import ImageSet
from compress.digests import digest
from compress.environment import cores, read_environment
from compress.errors import InputError, UnusableError
from compress.files import sha256_file, write_bytes
from compress.progress import Progress, Silent
from compress.records.model_card import ModelCard
from compress.version import VERSION

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

BLOCK = 64
"""Images a core takes at a time: a few tenths of a second for the largest models."""

CACHE_BYTES = 256 * 1024**2
DIGEST_BYTES = 32
MEANING = 3
"""Counted up when answers that are kept come to mean something else."""
ECE_BINS = 15
DECISIVE = (
    *("image_size", "channels", "mean", "std", "input_layout"),
    *("output", "top_k", "classes"),
)
"""Fields of a card that decide how images become inputs, and outputs become logits."""

Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Accuracy:
    """How often a model is right on labelled images.

    Attributes:
        images: How many.
        top1: Share recognised.
        low: Lower end of its 95% Wilson interval.
        high: Upper end.
        top5: Share with the label among the first five; None below six classes.
        ece: Expected calibration error, 15 bins.
        nll: Mean negative log-likelihood, nats.
    """

    images: int
    top1: float
    low: float
    high: float
    top5: float | None
    ece: float
    nll: float


def score(logits: Logits, labels: NDArray[np.int64], *, named: int | None = None) -> Accuracy:
    """Judge answers by labels.

    Args:
        logits: float32 (images, classes).
        labels: int64 (images,).
        named: How many classes a top-k graph answers: of fewer than five there is no top-5.
    """
    five = logits.shape[1] > 5 and (named is None or named >= 5)
    top1 = evaluate.top1(logits, labels)
    low, high = evaluate.wilson(round(top1 * len(labels)), len(labels))
    return Accuracy(
        images=len(labels),
        top1=top1,
        low=low,
        high=high,
        top5=evaluate.topk(logits, labels, 5) if five else None,
        ece=evaluate.ece(logits, labels, bins=ECE_BINS),
        nll=evaluate.nll(logits, labels),
    )


def labels_for(card: ModelCard, images: ImageSet) -> NDArray[np.int64] | None:
    """The images' labels as numbers of the model's outputs, or None where they have none.

    Classes are matched by name, so their order and the absence of some do not matter. A model
    that does not name its classes is taken to have the images' own, in their order.

    Raises:
        InputError: An image shows a class that the model does not know.
    """
    if images.labels is None:
        return None
    if not card.class_names:
        return images.labels
    numbers = {name: number for number, name in enumerate(card.class_names)}
    unknown = [name for name in images.shown_classes if name not in numbers]
    if unknown:
        raise InputError(
            f"{card.name} does not know the class {unknown[0]!r} of {images.name}",
            hint=f"it knows {', '.join(card.class_names[:12])}",
        )
    table = np.array([numbers.get(name, -1) for name in images.class_names], dtype=np.int64)
    return table[images.labels]


def logits(
    model: Path,
    card: ModelCard,
    images: ImageSet,
    *,
    provider: str = runtime.CPU,
    unsaturated: bool = False,
    progress: Progress | None = None,
) -> Logits:
    """A model's answers for all images, from the cache or computed on every core.

    Args:
        model: The file.
        card: Its card.
        images: Of the model's input size.
        provider: Execution provider.
        unsaturated: Compute U8S8 products without saturation.
        progress: Shows the images that are done.

    Returns:
        float32 (images, classes).

    Raises:
        InputError: The images do not fit the model, or it fails.
        MachineError: The provider is not here.
        UnusableError: An answer is not a number.
    """
    place = _cache_place(model, card, images, provider, unsaturated)
    answers = _read(place, images.count)
    if answers is None:
        answers = _compute(model, card, images, provider, unsaturated, progress or Silent())
        _keep(place, answers)
    return answers


def _compute(
    model: Path,
    card: ModelCard,
    images: ImageSet,
    provider: str,
    unsaturated: bool,
    progress: Progress,
) -> Logits:
    """Every core opens a session of its own and takes the next block of images."""
    workers = cores() if provider == runtime.CPU else 1
    sessions: SimpleQueue[InferenceSession] = SimpleQueue()
    for _ in range(min(workers, -(-images.count // BLOCK))):
        sessions.put(runtime.open_session(model, provider=provider, unsaturated=unsaturated))

    def answer(start: int) -> Logits:
        session = sessions.get()
        try:
            return runtime.logits(session, card, images.images[start : start + BLOCK])
        finally:
            sessions.put(session)

    progress.start(f"accuracy of {card.name}", total=images.count, unit="image")
    parts: list[Logits] = []
    with ThreadPoolExecutor(workers) as pool:
        futures: list[Future[Logits]] = [
            pool.submit(answer, start) for start in range(0, images.count, BLOCK)
        ]
        try:
            for future in futures:
                parts.append(future.result())
                progress.advance(len(parts[-1]), images=len(parts[-1]))
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    progress.finish()
    answers = np.concatenate(parts)
    bad = np.flatnonzero(~np.isfinite(answers).all(axis=1))
    if len(bad):
        raise UnusableError(
            f"{model} answers with NaN or infinity for {len(bad)} of {images.count} images, "
            f"first for number {bad[0]}",
            hint="export it again from weights that have no NaN",
        )
    return runtime.settled(answers, card)


def _cache_place(
    model: Path, card: ModelCard, images: ImageSet, provider: str, unsaturated: bool
) -> Path:
    """Where answers are kept: named by all that decides them."""
    environment = read_environment()
    key = {
        "compress": VERSION,
        "answers": MEANING,
        "model": sha256_file(model),
        # a file from elsewhere gets these from options, so its own digest does not hold them
        "card": {name: getattr(card, name) for name in DECISIVE},
        "images": images.sha256,
        "onnxruntime": environment.packages.get("onnxruntime"),
        "numpy": environment.packages.get("numpy"),
        "cpu": environment.cpu,
        "instruction_sets": environment.instruction_sets,
        "provider": provider,
        "unsaturated": unsaturated,
    }
    return cache_folder() / "logits" / f"{digest(key)}.npy"


def _read(place: Path, count: int) -> Logits | None:
    """Kept answers, or None where there are none or they are damaged."""
    try:
        content = place.read_bytes()
    except OSError:
        return None
    body, digest = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest:
        return None
    answers: Logits = np.load(io.BytesIO(body), allow_pickle=False)
    with suppress(OSError):
        place.touch()
    whole = answers.dtype == np.float32 and answers.ndim == 2 and len(answers) == count
    return answers if whole else None


def _keep(place: Path, answers: Logits) -> None:
    """Store answers, and drop the longest unused beyond CACHE_BYTES; a full disk is no error."""
    stream = io.BytesIO()
    np.save(stream, answers, allow_pickle=False)
    body = stream.getvalue()
    with suppress(InputError, OSError):
        write_bytes(place, body + hashlib.sha256(body).digest())
        kept = sorted(place.parent.glob("*.npy"), key=lambda path: -path.stat().st_mtime_ns)
        total = 0
        for path in kept:
            total += path.stat().st_size
            if total > CACHE_BYTES and path != place:
                path.unlink(missing_ok=True)
