"""Memory and number formats, chosen by a short measured trial and remembered per machine."""

import itertools
import json
import math
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from compress.digests import digest
from compress.environment import read_environment
from compress.errors import InputError
from compress.files import write_text
from compress.models.depthwise import depthwise_in_float32, is_depthwise
from compress.models.pointwise import pointwise_as_matmul
from compress.training.memory import NothingFitsError, ran_out, release

FAILURES = (RuntimeError, MemoryError, ImportError, OSError, subprocess.SubprocessError)
"""What PyTorch, its compiler and the programs they call raise."""
ABANDON = 2.0
"""A candidate this many times slower than the best, twice in a row, is not timed further."""
HOPELESS = 4.0
"""What is this many times slower than the best is so whatever else the machine does: once is enough
for a candidate, and of its dtype no other is tried."""
POINTWISE_MAP = 8
"""Largest map, in pixels a side, whose 1x1 convolutions are tried as matrix products."""


COMPILERS = ("gcc", "clang")
"""What Triton looks for where no variable CC names one."""
FORCED = {"off": ("float32",), "bf16": ("bfloat16",), "fp16": ("float16",)}
"""What `--amp` leaves where it is not "auto"."""
RECOMPILES = 256
"""Versions that the compiler may keep of one class's forward pass. PyTorch's limit is 8; each size
of a network is one, each format another, and what is beyond the limit runs uncompiled, unsaid."""


@dataclass(frozen=True)
class Format:
    """How a model computes.

    Attributes:
        channels_last: NHWC in memory.
        dtype: "float32", "bfloat16" or "float16" for the heavy operations.
        pointwise: 1x1 convolutions on small maps as matrix products.
        compiled: Through `torch.compile`.
        float32_depthwise: Which depthwise convolutions compute in float32 whatever the dtype is.
    """

    channels_last: bool = True
    dtype: str = "float32"
    pointwise: bool = False
    compiled: bool = False
    float32_depthwise: Literal["none", "strided", "all"] = "none"

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype as PyTorch's object."""
        return {
            "float32": torch.float32,
            "bfloat16": torch.bfloat16,
            "float16": torch.float16,
        }[self.dtype]

    @property
    def memory_format(self) -> torch.memory_format:
        """The memory format as PyTorch's object."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """The context in which a forward pass of this format runs."""
        if self.dtype == "float32":
            return nullcontext()
        return torch.autocast(device.type, dtype=self.torch_dtype)

    def convert(self, model: nn.Module) -> None:
        """Give a model's convolutions the forms this format runs them in, in place.

        Parameters stay the same objects under the same names.
        """
        if self.pointwise:
            pointwise_as_matmul(model, max_map=POINTWISE_MAP)
        if self.float32_depthwise != "none":
            depthwise_in_float32(model, strided_only=self.float32_depthwise == "strided")

    def forward(self, model: nn.Module) -> Callable[..., Any]:
        """A model as this format calls it."""
        if not self.compiled:
            return model
        import torch._dynamo.config as limits

        limits.recompile_limit = max(limits.recompile_limit, RECOMPILES)
        limits.accumulated_recompile_limit = max(limits.accumulated_recompile_limit, RECOMPILES)
        compiled: Callable[..., Any] = torch.compile(model)
        return compiled

    def __str__(self) -> str:
        words = ["NHWC" if self.channels_last else "NCHW", self.dtype]
        words += {
            "none": [],
            "strided": ["strided depthwise in float32"],
            "all": ["depthwise in float32"],
        }[self.float32_depthwise]
        words += ["pointwise as matmul"] if self.pointwise else []
        words += ["compiled"] if self.compiled else []
        return ", ".join(words)


def dtypes(amp: str, device: torch.device) -> list[str]:
    """The number formats `--amp` allows to be tried, the likely fastest first.

    On a CPU that is float32, as bfloat16 may be emulated there; on a GPU the lower one: beside it
    float32 may be hopeless, and then is not compiled.

    Args:
        amp: "auto", "off", "bf16" or "fp16".
        device: Where it will run.
    """
    if amp in FORCED:
        return list(FORCED[amp])
    if device.type != "cuda":
        return ["float32", "bfloat16"]
    # Older GPUs compute bfloat16 by way of float32, which PyTorch counts as support by default.
    own = torch.cuda.is_bf16_supported(including_emulation=False)
    return ["bfloat16" if own else "float16", "float32"]


def student_candidates(model: nn.Module, amp: str, device: torch.device) -> list[Format]:
    """What a training step is tried in; of each dtype the likely best first.

    Args:
        model: What is trained: 1x1 convolutions may run as matrix products, and depthwise ones in
            float32, whose gradients in lower formats are the slowest part of a step on a CPU.
        amp: As given to `--amp`.
        device: Where it will run.
    """
    if device.type == "cuda":
        nhwc = [
            Format(dtype=dtype, compiled=compiled)
            for dtype in dtypes(amp, device)
            for compiled in (False, True)
        ]
        # The compiler chooses the layout of convolutions itself: compiled, one is enough.
        return [*nhwc, *(Format(channels_last=False, dtype=f.dtype) for f in nhwc if f.compiled)]
    modules = list(model.modules())
    pointwise = any(isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1) for m in modules)
    depthwise = any(is_depthwise(m) for m in modules)
    formats = []
    for dtype in dtypes(amp, device):
        forms = [Format(dtype=dtype)]
        if depthwise and dtype != "float32":
            forms = [
                Format(dtype=dtype, float32_depthwise="all"),
                Format(dtype=dtype, float32_depthwise="strided"),
            ]
        formats += forms
        formats += [replace(form, pointwise=True) for form in forms if pointwise]
    return [*formats, Format(channels_last=False, dtype=dtypes(amp, device)[0])]


def teacher_candidates(amp: str, device: torch.device) -> list[Format]:
    """What a teacher's forward pass is tried in: on a GPU in both layouts."""
    layouts = (True, False) if device.type == "cuda" else (True,)
    return [Format(nhwc, dtype) for nhwc in layouts for dtype in dtypes(amp, device)]


def fastest(
    candidates: Iterable[Format],
    timed: Callable[[Format], Callable[[], None]],
    *,
    repeats: int = 3,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[Format, dict[str, float]]:
    """Time one call per candidate, in rounds, and take the one with the lowest best time.

    One candidate is alive at a time. A slow time is believed when a second one confirms it, as
    machines are disturbed for moments. Where all of a dtype so far are `HOPELESS`, its others are
    not tried: a processor without bfloat16 takes ten times as long for each. That is found only of
    what comes after a faster dtype. Those that are not far behind are made and timed again in a
    second round, compiled ones excepted: they are timed in a row, as making one takes long.

    Args:
        candidates: At least one; when it is one, nothing is run.
        timed: Prepares a candidate (not timed) and returns what to time.
        repeats: Timed calls of those that are not far behind.
        tell: Told, in one line, of a candidate that is left out because it does not fit into
            memory, or cannot be compiled.

    Returns:
        The choice, and the best time of each candidate that ran, in milliseconds.

    Raises:
        NothingFitsError: No candidate fits; the message is PyTorch's.
    """
    formats = list(candidates)
    if len(formats) == 1:
        return formats[0], {}
    best: dict[Format, float] = {}
    reasons = []
    for candidate in formats:
        ahead = min(best.values(), default=math.inf)
        alike = min((best[c] for c in best if c.dtype == candidate.dtype), default=0.0)
        if alike > HOPELESS * ahead:
            continue
        seconds, reason = _tried(candidate, timed, repeats if candidate.compiled else 1, ahead)
        if reason:
            tell(f"{candidate} is left out: {reason}")
            reasons.append(reason)
        else:
            best[candidate] = seconds
    if not best:
        raise NothingFitsError(reasons[0])
    ahead = min(best.values())
    near = [candidate for candidate in best if best[candidate] <= ABANDON * ahead]
    for candidate in near if len(near) > 1 and repeats > 1 else []:
        if not candidate.compiled:
            seconds, _ = _tried(candidate, timed, repeats - 1, ahead)
            best[candidate] = min(best[candidate], seconds)
    choice = min(best, key=lambda c: best[c])
    return choice, {str(c): round(seconds * 1000, 2) for c, seconds in best.items()}


def _tried(
    candidate: Format,
    timed: Callable[[Format], Callable[[], None]],
    calls: int,
    ahead: float,
) -> tuple[float, str]:
    """A candidate's best time in seconds, or infinity and why it cannot be had; then it is gone.

    Args:
        candidate: What to try.
        timed: Prepares it.
        calls: How often it is timed, after a call that is not.
        ahead: The best time of the others so far.
    """
    seconds, reason = math.inf, ""
    try:
        seconds = _best_time(timed(candidate), calls, ahead)
    except FAILURES as error:
        if not (ran_out(error) or candidate.compiled):
            raise
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
    # Outside the handler: the error's traceback held the tensors of the failed call.
    release()
    return seconds, reason


def _best_time(call: Callable[[], None], calls: int, ahead: float) -> float:
    call()  # first call: allocations, kernel choice
    best = math.inf
    for number in itertools.count(1):
        begin = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - begin)
        enough = 2 if best > ABANDON * ahead else calls
        if number >= enough or best > HOPELESS * ahead:
            break
    return best


def compiles() -> bool:
    """Whether this environment has the C compiler that `torch.compile` needs.

    What was tried elsewhere tells nothing of it: a run may go on in a smaller container.
    """
    named = os.environ.get("CC")
    return any(shutil.which(name) for name in (COMPILERS if named is None else [named]))


def remembered(
    folder: Path, question: dict[str, object], decide: Callable[[], Format], *, device: torch.device
) -> Format:
    """A trial's result from this machine's memory, else tried now and remembered.

    Args:
        folder: The cache folder; an unwritable one only means that nothing is remembered.
        question: What was tried: model, options, image size, batch size, purpose.
        decide: Runs the trial.
        device: Where it runs; its name and the versions are part of the question.
    """
    answer = recalled(folder, question, lambda: asdict(decide()), Format, device=device)
    return Format(**answer)


def recalled(
    folder: Path,
    question: dict[str, object],
    decide: Callable[[], dict[str, Any]],
    check: Callable[..., object],
    *,
    device: torch.device,
) -> dict[str, Any]:
    """An answer in JSON form from this machine's memory, else found now and remembered.

    Args:
        folder: The cache folder; an unwritable one only means that nothing is remembered.
        question: What was tried.
        decide: Finds the answer.
        check: Called with the answer's keys as arguments; a TypeError means it is unusable.
        device: Where it runs; its name and the versions are part of the question.
    """
    environment = read_environment()
    key = {
        **question,
        "cpu": environment.cpu,
        "instruction_sets": environment.instruction_sets,
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
    }
    path = folder / "formats" / f"{digest(key)[:24]}.json"
    with suppress(OSError, ValueError, TypeError, KeyError):
        answer: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["answer"]
        check(**answer)
        return answer
    answer = decide()
    with suppress(InputError):
        write_text(path, json.dumps({"question": key, "answer": answer}, indent=2) + "\n")
    return answer
