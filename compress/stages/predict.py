"""`compress predict`: what an artifact sees in pictures."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compress import evaluate, runtime
from compress.config.predict import PredictConfig
from compress.data.folder import pictures_in, read_pictures
from compress.environment import read_environment
from compress.errors import ConfigError, InputError, MachineError, UnusableError
from compress.files import printable
from compress.measure.artifact import Artifact, find_artifacts, resolve
from compress.progress import Progress, Silent
from compress.records.model_card import ModelCard, Precision
from compress.records.predict import Guess, Prediction, PredictRecord, Unreadable

AT_ONCE = 64


def predict(config: PredictConfig, *, progress: Progress | None = None) -> PredictRecord:
    """Classify pictures of any size; those that cannot be read are skipped and listed.

    Args:
        config: The artifact and the pictures.
        progress: Shows how many are done.

    Raises:
        InputError: No artifact, a folder without pictures, or a damaged model.
        ConfigError: The place holds several models and none was chosen, or the form is not there.
        MachineError: The provider is not here, or the file needs another CPU.
        UnusableError: The model answers with NaN or infinity for a picture.
    """
    shown = progress or Silent()
    artifact = _chosen(config)
    precision = _form(artifact, config.precision)
    path, card = artifact.files[precision], artifact.cards[precision]
    if runtime.stays_saturated(path, card.target):
        raise MachineError(
            f"{path} was made for {card.target}, whose arithmetic this CPU lacks",
            hint="name the .onnx file it was made from",
        )
    lacking = runtime.lacks_arithmetic(card.target)
    session = runtime.open_session(path, provider=config.provider, unsaturated=lacking)
    places = _pictures(config.images)
    shown.note(f"{artifact.label} {precision} ({path}) on {len(places)} pictures")
    if lacking:
        shown.note(
            f"this CPU has no VNNI: run without saturation, as {card.target} computes; the speed "
            "here is not that of its target"
        )
    asked: list[Path] = []
    answers: list[NDArray[np.float32]] = []
    unreadable: list[Unreadable] = []
    shown.start("classifying", total=len(places), unit="picture")
    for start in range(0, len(places), AT_ONCE):
        readable, pixels = _read(places[start : start + AT_ONCE], card, unreadable)
        if readable:
            logits = runtime.logits(session, card, pixels)
            _check_numbers(path, readable, logits)
            asked += readable
            answers.append(logits)
        shown.advance(min(AT_ONCE, len(places) - start), images=len(readable))
    shown.finish()
    return PredictRecord(
        artifact=str(path),
        label=artifact.label,
        precision=precision,
        predictions=_predictions(asked, answers, card, config.top_k),
        unreadable=tuple(unreadable),
        environment=read_environment(),
    )


def _chosen(config: PredictConfig) -> Artifact:
    """The one artifact to ask: the only student, or the one that was named."""
    found = find_artifacts(resolve(config.artifact))
    labels = ", ".join(artifact.label for artifact in found)
    if config.student is not None:
        named = [artifact for artifact in found if artifact.label == config.student]
        if len(named) > 1:
            raise ConfigError(
                f"{config.artifact} holds several models called {config.student}",
                hint=f"name one folder: {', '.join(str(artifact.place) for artifact in named)}",
            )
        if named:
            return named[0]
        raise ConfigError(f"{config.artifact} has no {config.student!r}", hint=f"it holds {labels}")
    students = [artifact for artifact in found if artifact.card.role == "student"] or found
    if len(students) > 1:
        raise ConfigError(
            f"{config.artifact} holds several models: {labels}", hint="choose one with --student"
        )
    return students[0]


def _form(artifact: Artifact, asked: Precision | None) -> Precision:
    held = list(artifact.files)
    if asked is None:
        return "int8" if "int8" in held else held[0]
    if asked not in held:
        raise ConfigError(f"{artifact.place} has no {asked} form", hint=f"it has {', '.join(held)}")
    return asked


def _pictures(images: tuple[Path, ...]) -> list[Path]:
    """Every picture named, those of folders in sorted order."""
    found: list[Path] = []
    for place in images:
        if place.is_dir():
            inside = pictures_in(place)
            if not inside:
                raise InputError(f"no pictures in {place}")
            found += inside
        else:
            found.append(place)
    return found


def _read(
    places: list[Path], card: ModelCard, unreadable: list[Unreadable]
) -> tuple[list[Path], NDArray[np.uint8]]:
    """The pictures that can be read, as the model's squares; the others are listed."""
    readable: list[Path] = []
    squares: list[NDArray[np.uint8]] = []
    for place in places:
        try:
            pixels = read_pictures([place], image_size=card.image_size, progress=Silent())
        except InputError as error:
            unreadable.append(
                Unreadable(image=printable(str(place)), reason=printable(error.message))
            )
            continue
        readable.append(place)
        squares.append(pixels)
    side = card.image_size
    empty = np.empty((0, side, side, 3), dtype=np.uint8)
    return readable, np.concatenate(squares) if squares else empty


def _check_numbers(model: Path, places: list[Path], logits: NDArray[np.float32]) -> None:
    bad = np.flatnonzero(~np.isfinite(logits).all(axis=1))
    if len(bad):
        raise UnusableError(
            f"{model} answers with NaN or infinity for {places[bad[0]]}",
            hint="export it again from weights that have no NaN",
        )


def _predictions(
    places: list[Path], answers: list[NDArray[np.float32]], card: ModelCard, top_k: int
) -> tuple[Prediction, ...]:
    """The best classes of each picture, with probabilities."""
    if not places:
        return ()
    logits = runtime.settled(np.concatenate(answers), card)
    shares = evaluate.softmax(logits)
    names = card.class_names or tuple(str(k) for k in range(logits.shape[1]))
    count = min(top_k, logits.shape[1], card.top_k or logits.shape[1])
    order = np.argsort(-shares, axis=1, kind="stable")[:, :count]
    return tuple(
        Prediction(
            image=printable(str(place)),
            guesses=tuple(Guess(label=names[k], probability=float(row[k])) for k in best.tolist()),
        )
        for place, row, best in zip(places, shares, order, strict=True)
    )
