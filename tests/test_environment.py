"""The machine behind a number is described from what the system says."""

import os
import platform
import sys
from importlib import metadata
from pathlib import Path

import pytest

from compress import environment
from compress.records.document import Environment

XEON = """\
processor\t: 0
model\t\t: 207
model name\t: INTEL(R) XEON(R) PLATINUM 8581C
flags\t\t: fpu avx2 avx512f avx512_vnni amx_int8 sse

processor\t: 1
"""
VIRTUAL_AMD = """\
processor\t: 0
model\t\t: 17
model name\t: AMD EPYC-Genoa Processor
flags\t\t: fpu avx2
"""
ARM = """\
processor\t: 0
Features\t: fp asimd asimddp i8mm crc32
CPU implementer\t: 0x41
CPU part\t: 0xd03

processor\t: 1
CPU implementer\t: 0x41
CPU part\t: 0xd08
"""
CPU_INFO = Path("/proc/cpuinfo")
BOARD = Path("/proc/device-tree/model")


def _described(text: str, monkeypatch: pytest.MonkeyPatch, board: str | None = None) -> Environment:
    files = {CPU_INFO: text, BOARD: board}

    def read_text(path: Path, **_: object) -> str:
        found = files[path]
        if found is None:
            raise FileNotFoundError(path)
        return found

    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setattr(environment, "version_of", lambda _: None)  # reads files as well
    environment._cpu_info.cache_clear()
    try:
        return environment.read_environment()
    finally:
        environment._cpu_info.cache_clear()


def test_instruction_sets_that_matter_are_named_and_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _described(XEON, monkeypatch)
    assert found.cpu == "INTEL(R) XEON(R) PLATINUM 8581C"
    assert found.instruction_sets == ("amx_int8", "avx2", "avx512_vnni", "avx512f")


def test_a_nameless_virtual_processor_is_told_by_its_model_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert _described(VIRTUAL_AMD, monkeypatch).cpu == "AMD EPYC-Genoa Processor model 17"


def test_arm_features_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _described(ARM, monkeypatch)
    assert found.instruction_sets == ("asimddp", "i8mm")
    assert found.cpu == "(0x41/0xd03+0x41/0xd08)"


def test_two_boards_with_the_same_cores_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["Raspberry Pi 4 Model B Rev 1.2", "Raspberry Pi 400 Rev 1.0"]
    cpus = [_described(ARM, monkeypatch, f"{name}\0").cpu for name in names]
    assert cpus == [f"{name} (0x41/0xd03+0x41/0xd08)" for name in names]


def test_a_system_that_tells_nothing_is_named_by_python(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _described("", monkeypatch).cpu == (platform.processor() or platform.machine())


def test_this_machine_is_described() -> None:
    found = environment.read_environment(accelerator="a GPU")
    assert found.cores == len(os.sched_getaffinity(0))
    assert found.python == ".".join(map(str, sys.version_info[:3]))
    assert found.packages["numpy"] == metadata.version("numpy")
    assert found.system == f"{os.uname().sysname} {os.uname().machine}"
    assert found.accelerator == "a GPU"


def test_a_package_that_is_not_installed_has_no_version() -> None:
    assert environment.version_of("no-such-distribution") is None
