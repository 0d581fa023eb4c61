"""The machine behind a number is described from what the system says."""

import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from compress import environment
from compress.errors import MachineError
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


def test_a_runtime_that_is_loaded_says_its_version_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """The builds for GPUs are distributions of other names."""
    monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace(__version__="1.99.0"))
    assert environment.version_of("onnxruntime") == "1.99.0"
    assert environment.read_environment().packages["onnxruntime"] == "1.99.0"
    monkeypatch.delitem(sys.modules, "onnxruntime")
    assert environment.version_of("onnxruntime") == metadata.version("onnxruntime")


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 8 GiB, of which 4 are free, that runs no container."""
    (tmp_path / "meminfo").write_text("MemTotal: 8388608 kB\nMemAvailable:    4194304 kB\n")
    monkeypatch.setattr(environment, "MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(environment, "CONTAINER", tmp_path)
    return tmp_path


def test_available_memory_is_what_the_system_says(memory: Path) -> None:
    assert environment.available_memory() == 4 * 2**30


def test_available_memory_is_what_a_container_may_still_take(memory: Path) -> None:
    (memory / "memory.max").write_text("1000000\n")
    (memory / "memory.current").write_text("300000\n")
    assert environment.available_memory() == 700000
    (memory / "memory.stat").write_text("anon 200000\ninactive_file 50000\nactive_file 1\n")
    assert environment.available_memory() == 750000
    (memory / "memory.max").write_text("max\n")
    assert environment.available_memory() == 4 * 2**30


def test_a_system_that_does_not_say_how_much_memory_it_has_refuses_nothing(memory: Path) -> None:
    (memory / "meminfo").unlink()
    assert environment.available_memory() is None
    environment.require_memory(2**60, "the pictures")


def test_what_takes_more_memory_than_there_is_is_refused(memory: Path) -> None:
    environment.require_memory(4 * 2**30, "the pictures")
    with pytest.raises(MachineError) as caught:
        environment.require_memory(9 * 2**29, "the pictures")
    assert caught.value.message == "the pictures take 4.5 GiB of memory, 4.0 are free"
    assert "with 5 GiB free" in caught.value.hint


def test_nvidia_devices_are_named_by_their_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "NVIDIA", tmp_path / "gpus")
    assert environment.nvidia_names() is None
    for bus in ("0000:01:00.0", "0000:02:00.0"):
        place = tmp_path / "gpus" / bus
        place.mkdir(parents=True)
        (place / "information").write_text("Model: \t\t NVIDIA T4\nIRQ:  \t 12\n")
    assert environment.nvidia_names() == "NVIDIA T4 + NVIDIA T4"
