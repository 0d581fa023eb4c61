"""`compress check`: this machine must answer as the one that exported did."""

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compress import runtime
from compress.config.check import CheckConfig
from compress.environment import read_environment, version_of
from compress.errors import InputError, UnusableError
from compress.evaluate import has_no_number
from compress.measure import golden as answers
from compress.measure.artifact import Artifact, find_artifacts, resolve
from compress.measure.golden import Comparison, Golden
from compress.onnx_bytes import DIGEST_KEY, read_metadata
from compress.progress import Progress, Silent
from compress.records.check import CheckRecord, CheckRow
from compress.records.model_card import ModelCard, Precision


@dataclass(frozen=True)
class _File:
    """One model file of an artifact."""

    path: Path
    precision: Precision
    card: ModelCard


def check(config: CheckConfig, *, progress: Progress | None = None) -> CheckRecord:
    """Compare files with their manifest, and answers with the golden ones.

    Args:
        config: What to check.
        progress: Told what is run.

    Raises:
        InputError: Nothing there, or a file is missing, altered, corrupt or does not fit the
            others.
        MachineError: The provider is not here, or cannot run the model.
        UnusableError: A model without golden answers answers with NaN or infinity.
    """
    shown = progress or Silent()
    found = find_artifacts(resolve(config.artifact))
    rows: list[CheckRow] = []
    verified = 0
    for artifact in found:
        verified += len(artifact.manifest.files) if artifact.manifest else 0
        golden = answers.load_golden(artifact.golden) if artifact.golden else None
        if golden is None:
            shown.note(f"{artifact.label}: no golden answers beside it, so it is only run")
        for file in _files(artifact):
            rows.append(_row(artifact, file, golden, config.provider))
            if rows[-1].note:
                shown.note(f"{artifact.label} {file.path.name}: {rows[-1].note}")
    return CheckRecord(
        artifact=config.artifact,
        provider=config.provider,
        verified_files=verified,
        rows=tuple(rows),
        environment=read_environment(),
    )


def _files(artifact: Artifact) -> list[_File]:
    """The model files, those in ONNX Runtime's own format among them."""
    found = []
    for precision, path in artifact.files.items():
        card = artifact.cards[precision]
        found.append(_File(path, precision, card))
        beside = path.with_suffix(".ort")
        if artifact.manifest is not None and beside.name in artifact.manifest.files:
            found.append(_File(beside, precision, card))
    return found


def _row(artifact: Artifact, file: _File, golden: Golden | None, provider: str) -> CheckRow:
    lacking = runtime.lacks_arithmetic(file.card.target)
    skipped = runtime.stays_saturated(file.path, file.card.target)
    session = runtime.open_session(file.path, provider=provider, unsaturated=lacking)
    _check_outputs(session, file)
    base: dict[str, Any] = {
        "label": artifact.label,
        "file": file.path.name,
        "precision": file.precision,
        "target": file.card.target,
        "sealed": _is_sealed(file.path),
    }
    expected = golden.expected.get(file.precision) if golden is not None else None
    if golden is None or expected is None or skipped:
        _answer_once(session, file)
        note = (
            "this CPU saturates, and this format cannot help it; not compared" if skipped else None
        )
        return CheckRow(**base, images=0, verdict="opened", note=note)
    inputs = golden.inputs
    _check_inputs(session, inputs, file)
    given = runtime.raw_answers(session, inputs)
    found = answers.compare(expected, given, file.card)
    note = None
    if lacking:
        note = f"this CPU has no VNNI: run without saturation, as {file.card.target} computes"
    return CheckRow(
        **base,
        images=found.images,
        different=found.different,
        top1_different=found.top1_different,
        top1=_top1(given, golden, file.card),
        max_difference=found.max_difference if np.isfinite(found.max_difference) else None,
        max_steps=found.max_steps,
        allowed=found.allowed,
        verdict="pass" if found.passed else "fail",
        cause=None if found.passed else _cause(artifact, file, found, provider),
        note=note,
    )


def _is_sealed(path: Path) -> bool:
    """Whether a file holds its own digest, with which it was compared when it was opened.

    ONNX Runtime's own format keeps the digest of the file it was made from, and not its own.
    """
    if path.suffix != ".onnx":
        return False
    return DIGEST_KEY in read_metadata(path.read_bytes(), source=str(path))


def _check_outputs(session: Any, file: _File) -> None:
    """Class names and outputs must be equal in number."""
    shape = session.get_outputs()[0].shape
    width = shape[-1] if shape else None
    expected = file.card.top_k if file.card.output == "top-k" else file.card.classes
    if expected and isinstance(width, int) and width != expected:
        raise InputError(
            f"{file.path} answers {width} numbers, its metadata name {expected} classes",
            hint="export it again",
        )


def _check_inputs(session: Any, inputs: Any, file: _File) -> None:
    """The golden images must fit the graph."""
    wanted = session.get_inputs()[0]
    kind = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}.get(wanted.type)
    if list(wanted.shape[1:]) != list(inputs.shape[1:]) or inputs.dtype != kind:
        raise InputError(
            f"{file.path} takes {wanted.type}{wanted.shape[1:]}, the golden images are "
            f"{inputs.dtype}{list(inputs.shape[1:])}",
            hint="golden.npz belongs to another export",
        )


def _answer_once(session: Any, file: _File) -> None:
    """Run a model on a grey image where there is nothing to compare with."""
    card = file.card
    shape = (1, card.image_size, card.image_size, card.channels)
    if card.input_layout == "uint8-nhwc":
        inputs: Any = np.full(shape, 128, dtype=np.uint8)
    else:
        inputs = np.zeros((1, card.channels, card.image_size, card.image_size), dtype=np.float32)
    values = next(iter(runtime.raw_answers(session, inputs).values()))
    if has_no_number(values):
        raise UnusableError(
            f"{file.path} answers with NaN or infinity",
            hint="export it again from weights that have no NaN",
        )


def _top1(given: answers.Answers, golden: Golden, card: ModelCard) -> float | None:
    if not len(golden.labels):
        return None
    outputs = list(given.values())
    best = outputs[1][:, 0] if card.output == "top-k" else outputs[0].argmax(axis=1)
    return float((best == golden.labels).mean())


def _cause(artifact: Artifact, file: _File, found: Comparison, provider: str) -> str:
    """The likely reason of a difference, best known first."""
    if not np.isfinite(found.max_difference):
        return "answers are NaN or infinite: this provider or CPU cannot compute this precision"
    if provider != runtime.CPU:
        return f"{provider} computes {file.precision} in its own way; compare accuracy with bench"
    if file.card.target in ("vnni", "arm64") and runtime.saturates():
        return (
            "this CPU saturates sums of full-range int8 weights, and this onnxruntime did not "
            "switch it off; export with --target portable"
        )
    made_with = artifact.manifest.tools.get("onnxruntime") if artifact.manifest else None
    here = version_of("onnxruntime")
    if made_with is not None and made_with != here:
        return f"onnxruntime {here} here, {made_with} where it was made"
    return f"the kernels of this CPU ({platform.machine()}) compute something else; report it"
