"""Formats: tried, remembered, never assumed."""

import gc
import itertools
import json
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter

from compress.models.depthwise import Float32Conv2d
from compress.models.pointwise import MatmulConv2d
from compress.models.small_cnn import small_cnn
from compress.training import formats
from compress.training.formats import (
    Format,
    compiles,
    dtypes,
    fastest,
    remembered,
    student_candidates,
    teacher_candidates,
)
from compress.training.memory import NothingFitsError

CPU, GPU = torch.device("cpu"), torch.device("cuda")
POINTWISE = nn.Conv2d(2, 3, 1)
DEPTHWISE = nn.Conv2d(3, 3, 3, groups=3)


class Clock:
    """Time that passes only when a candidate says so: the machine may be busy."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(formats, "time", made)
    return made


def taking(
    seconds: dict[Format, float], calls: list[Format], clock: Clock
) -> Callable[[Format], Callable[[], None]]:
    def prepare(candidate: Format) -> Callable[[], None]:
        def call() -> None:
            calls.append(candidate)
            clock.now += seconds[candidate]

        return call

    return prepare


def test_the_fastest_candidate_wins_and_slow_ones_are_dropped_early(clock: Clock) -> None:
    slow, fast, near = Format(channels_last=False), Format(), Format(pointwise=True)
    calls: list[Format] = []
    times = {slow: 0.2, fast: 0.01, near: 0.012}
    choice, measured = fastest([fast, slow, near], taking(times, calls, clock), repeats=4)
    assert choice == fast
    assert calls.count(slow) == 2
    assert calls.count(fast) > 2
    assert measured[str(slow)] == 200


def test_a_moment_of_disturbance_does_not_put_a_candidate_aside(clock: Clock) -> None:
    """A slow time is believed when a second one confirms it."""
    calls: list[Format] = []
    prepare = taking({SLOW: 0.01, FAST: 0.005}, calls, clock)

    def disturbed(candidate: Format) -> Callable[[], None]:
        call = prepare(candidate)

        def disturbed_call() -> None:
            call()
            if candidate == FAST and calls.count(FAST) == 2:  # its first timed call
                clock.now += 0.03

        return disturbed_call

    assert fastest([SLOW, FAST], disturbed)[0] == FAST


def test_a_single_candidate_is_not_timed(clock: Clock) -> None:
    calls: list[Format] = []
    choice, measured = fastest([Format()], taking({Format(): 1.0}, calls, clock))
    assert choice == Format()
    assert calls == []
    assert measured == {}


FAST, SLOW, COMPILED = Format(), Format(channels_last=False), Format(compiled=True)
BF16_COMPILED = Format(dtype="bfloat16", compiled=True)


def failing(errors: Mapping[Format, Exception]) -> Callable[[Format], Callable[[], None]]:
    """Candidates that raise when they are called; the others do nothing."""

    def prepare(candidate: Format) -> Callable[[], None]:
        def call() -> None:
            if candidate in errors:
                raise errors[candidate]

        return call

    return prepare


def test_a_candidate_that_does_not_fit_is_left_out_and_told() -> None:
    told: list[str] = []
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore")
    choice, measured = fastest([FAST, SLOW], failing({FAST: error}), tell=told.append)
    assert choice == SLOW
    assert list(measured) == [str(SLOW)]
    assert told == ["NHWC, float32 is left out: CUDA out of memory. Tried to allocate 2 GiB"]


def test_a_candidate_that_cannot_even_be_prepared_for_want_of_memory_is_left_out() -> None:
    def prepare(candidate: Format) -> Callable[[], None]:
        if candidate == FAST:
            raise MemoryError
        return lambda: None

    told: list[str] = []
    assert fastest([FAST, SLOW], prepare, tell=told.append)[0] == SLOW
    assert told == ["NHWC, float32 is left out: MemoryError"]


@pytest.mark.parametrize(
    "error", [RuntimeError("no compiler"), ImportError("no triton"), FileNotFoundError("no g++")]
)
def test_a_candidate_that_cannot_be_compiled_is_left_out_and_told(error: Exception) -> None:
    told: list[str] = []
    assert fastest([COMPILED, FAST], failing({COMPILED: error}), tell=told.append)[0] == FAST
    assert told == [f"NHWC, float32, compiled is left out: {error}"]


def test_other_errors_of_what_is_not_compiled_are_not_swallowed() -> None:
    with pytest.raises(RuntimeError, match="shapes do not match"):
        fastest([FAST, SLOW], failing({SLOW: RuntimeError("shapes do not match")}))


def test_where_nothing_fits_the_first_reason_is_raised() -> None:
    errors = {FAST: MemoryError("first\nmore"), SLOW: MemoryError("second")}
    with pytest.raises(NothingFitsError, match=r"^first$"):
        fastest([FAST, SLOW], failing(errors))


def test_one_candidate_is_alive_at_a_time() -> None:
    class Network:
        pass

    alive: list[weakref.ref[Network]] = []
    counts: list[int] = []

    def prepare(_: Format) -> Callable[[], None]:
        gc.collect()
        counts.append(sum(one() is not None for one in alive))
        network = Network()
        alive.append(weakref.ref(network))

        def call() -> None:
            time.sleep(0.002 + 0 * len(vars(network)))

        return call

    fastest([FAST, Format(pointwise=True), COMPILED], prepare)
    assert set(counts) == {0}


def test_a_near_tie_is_timed_in_a_second_round_but_compiled_once(clock: Clock) -> None:
    calls: list[Format] = []
    times = dict.fromkeys((FAST, SLOW, COMPILED), 0.005)
    fastest([FAST, SLOW, COMPILED], taking(times, calls, clock), repeats=3)
    order = [calls[0]] + [b for a, b in itertools.pairwise(calls) if a != b]
    assert order == [FAST, SLOW, COMPILED, FAST, SLOW]
    assert [calls.count(c) for c in (FAST, SLOW, COMPILED)] == [5, 5, 4]


def test_a_trial_is_remembered_per_question(tmp_path: Path) -> None:
    asked: list[str] = []

    def decide(name: str) -> Callable[[], Format]:
        def run() -> Format:
            asked.append(name)
            return Format(dtype="bfloat16")

        return run

    for _ in range(2):
        assert remembered(tmp_path, {"model": "a"}, decide("a"), device=CPU).dtype == "bfloat16"
    remembered(tmp_path, {"model": "b"}, decide("b"), device=CPU)
    assert asked == ["a", "b"]


def test_a_damaged_memory_is_tried_again(tmp_path: Path) -> None:
    remembered(tmp_path, {"model": "a"}, Format, device=CPU)
    for path in (tmp_path / "formats").iterdir():
        path.write_text("{")
    assert remembered(
        tmp_path, {"model": "a"}, lambda: Format(pointwise=True), device=CPU
    ).pointwise
    stored = json.loads(next((tmp_path / "formats").iterdir()).read_text())
    assert stored["answer"]["pointwise"] is True


@pytest.mark.parametrize(
    ("amp", "expected"),
    [("off", ["float32"]), ("bf16", ["bfloat16"]), ("auto", ["float32", "bfloat16"])],
)
def test_amp_says_which_number_formats_are_tried(amp: str, expected: list[str]) -> None:
    assert dtypes(amp, CPU) == expected
    tried = {candidate.dtype for candidate in student_candidates(POINTWISE, amp, CPU)}
    assert tried == set(expected)


def test_depthwise_convolutions_are_tried_in_float32_beside_lower_formats() -> None:
    """Their gradients in bfloat16 are many times slower on some processors."""
    tried = student_candidates(DEPTHWISE, "auto", CPU)
    assert [(f.dtype, f.float32_depthwise) for f in tried if f.channels_last] == [
        ("float32", "none"),
        ("bfloat16", "all"),
        ("bfloat16", "strided"),
    ]
    both = student_candidates(nn.Sequential(POINTWISE, DEPTHWISE), "auto", CPU)
    products = [f for f in both if f.pointwise]
    assert [replace(f, pointwise=False) for f in products] == [f for f in tried if f.channels_last]


def test_a_model_without_such_convolutions_is_tried_in_plain_formats_only() -> None:
    assert student_candidates(nn.Sequential(nn.Conv2d(3, 4, 3)), "auto", CPU) == [
        Format(),
        Format(dtype="bfloat16"),
        Format(channels_last=False),
    ]


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (Format(), [nn.Conv2d, nn.Conv2d]),
        (Format(pointwise=True), [MatmulConv2d, nn.Conv2d]),
        (Format(float32_depthwise="all"), [nn.Conv2d, Float32Conv2d]),
        (Format(float32_depthwise="strided"), [nn.Conv2d, nn.Conv2d]),
        (Format(pointwise=True, float32_depthwise="all"), [MatmulConv2d, Float32Conv2d]),
    ],
    ids=str,
)
def test_a_model_gets_the_forms_of_its_format(chosen: Format, expected: list[type]) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, groups=4))
    chosen.convert(model)
    assert [type(module) for module in model] == expected


def test_a_format_names_all_that_it_is_made_of() -> None:
    chosen = Format(dtype="bfloat16", pointwise=True, float32_depthwise="strided")
    assert str(chosen) == "NHWC, bfloat16, strided depthwise in float32, pointwise as matmul"
    assert str(replace(chosen, float32_depthwise="all", pointwise=False)) == (
        "NHWC, bfloat16, depthwise in float32"
    )


def test_what_is_left_of_a_hopeless_dtype_is_not_tried(clock: Clock) -> None:
    """Where bfloat16 is emulated each of its candidates would take long to be found slow."""
    plain, low = Format(), Format(dtype="bfloat16")
    lower = replace(low, pointwise=True)
    calls: list[Format] = []
    choice, measured = fastest(
        [plain, low, lower], taking({plain: 0.1, low: 1.6, lower: 0.05}, calls, clock)
    )
    assert choice == plain
    assert lower not in calls
    assert str(lower) not in measured


def test_a_dtype_that_is_near_gets_all_its_candidates(clock: Clock) -> None:
    plain, low = Format(), Format(dtype="bfloat16")
    lower = replace(low, pointwise=True)
    calls: list[Format] = []
    times = {plain: 0.1, low: 0.14, lower: 0.05}
    assert fastest([plain, low, lower], taking(times, calls, clock))[0] == lower


@pytest.mark.parametrize(("generation", "expected"), [(7, "float16"), (8, "bfloat16")])
def test_a_gpu_that_only_emulates_bf16_is_tried_in_fp16(
    monkeypatch: pytest.MonkeyPatch, generation: int, expected: str
) -> None:
    """V100, T4 and RTX 20 are of generation 7; PyTorch's own rule is asked."""
    found = SimpleNamespace(major=generation)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: found)
    monkeypatch.setattr(torch.cuda, "_check_bf16_tensor_supported", lambda _: True)
    assert dtypes("auto", GPU) == [expected, "float32"]


def test_on_a_gpu_both_layouts_are_tried_for_student_and_teacher() -> None:
    both = [Format(), Format(channels_last=False)]
    assert teacher_candidates("off", GPU) == both
    assert student_candidates(nn.Sequential(POINTWISE, DEPTHWISE), "off", GPU) == [
        Format(),
        Format(compiled=True),
        Format(channels_last=False),
    ]
    forced = teacher_candidates("fp16", GPU) + student_candidates(DEPTHWISE, "fp16", GPU)
    assert {(f.dtype, f.channels_last) for f in forced} == {("float16", True), ("float16", False)}
    assert teacher_candidates("off", CPU) == [Format()]


@pytest.fixture
def gpu_with_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)


@pytest.mark.usefixtures("gpu_with_bf16")
def test_on_a_gpu_the_lower_format_comes_first_and_float32_is_not_compiled_where_it_is_hopeless(
    clock: Clock,
) -> None:
    tried = student_candidates(POINTWISE, "auto", GPU)
    times = {kind: 0.1 if kind.dtype == "float32" else 0.01 for kind in tried}
    calls: list[Format] = []
    choice, _ = fastest(tried, taking({**times, BF16_COMPILED: 0.005}, calls, clock))
    assert choice == BF16_COMPILED
    assert [kind for kind in dict.fromkeys(calls) if kind.dtype == "float32"] == [Format()]


@pytest.mark.usefixtures("gpu_with_bf16")
def test_on_a_gpu_a_teacher_s_float32_is_tried_in_one_layout_where_it_is_hopeless(
    clock: Clock,
) -> None:
    tried = teacher_candidates("auto", GPU)
    times = {kind: 0.1 if kind.dtype == "float32" else 0.01 for kind in tried}
    calls: list[Format] = []
    choice, _ = fastest(tried, taking(times, calls, clock))
    assert choice == Format(dtype="bfloat16")
    assert [kind for kind in dict.fromkeys(calls) if kind.dtype == "float32"] == [Format()]


def test_more_networks_of_one_class_are_compiled_than_the_compiler_keeps_unless_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each width is a version of the same forward pass; beyond the limit it would run eagerly."""
    seen = CompileCounter()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=seen))
    for width in range(1, 13):
        model = small_cnn(classes=10, width=width / 8, dropout=0.0)
        Format(compiled=True).forward(model.eval())(torch.zeros(1, 3, 8, 8))
    assert seen.frame_count == 12
    assert Format().forward(model) is model


def test_a_compiler_is_looked_for_where_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    assert not compiles()
    (tmp_path / "cc").touch(mode=0o755)
    assert not compiles()
    for name in ("gcc", "mine"):
        (tmp_path / name).touch(mode=0o755)
    assert compiles()
    monkeypatch.setenv("CC", "mine")
    assert compiles()
    monkeypatch.setenv("CC", "gone")
    assert not compiles()
