"""Reads the machine: what stands behind a number, and whether its memory will do."""

import math
import os
import platform
import re
import subprocess
import sys
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path

from compress.errors import MachineError
from compress.records.document import Environment

MEMORY = Path("/proc/meminfo")
CONTAINER = Path("/sys/fs/cgroup")
"""Where Linux tells a container its limits (cgroup 2)."""
NVIDIA = Path("/proc/driver/nvidia/gpus")
"""Where NVIDIA's driver names its devices on Linux."""
GIB = 2**30

INSTRUCTION_SETS = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_bf16",
    "amx_int8",
    "asimddp",
    "i8mm",
    "bf16",
    "sve",
)
PACKAGES = (
    "compress-edge",
    "numpy",
    "onnxruntime",
    "onnx",
    "onnxsim",
    "pillow",
    "torch",
    "torchvision",
)


@cache
def _cpu_info() -> tuple[str, frozenset[str]]:
    """The processor's name and its feature flags, where the system tells."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    return _processor(text), _flags(text)


def _flags(text: str) -> frozenset[str]:
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", text, re.MULTILINE)
    return frozenset(flags.group(1).split() if flags else ())


def _processor(text: str) -> str:
    """What tells this processor from others: its name, or on ARM the board and the cores' codes."""
    values: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon and value.strip():
            values.setdefault(key.strip(), []).append(value.strip())
    if "model name" in values:
        name = values["model name"][0]
        if name.endswith("Processor") and "model" in values:
            return f"{name} model {values['model'][0]}"
        return name
    codes = zip(values.get("CPU implementer", []), values.get("CPU part", []), strict=False)
    parts = "+".join(sorted({f"{maker}/{part}" for maker, part in codes}))
    names = [_board() or values.get("Model", [""])[0], f"({parts})" if parts else ""]
    return " ".join(name for name in names if name) or _named_by_system()


def _board() -> str:
    """The board's name in the device tree, such as "Raspberry Pi 4 Model B Rev 1.2"."""
    try:
        return Path("/proc/device-tree/model").read_text(encoding="utf-8").strip("\0\n ")
    except (OSError, UnicodeDecodeError):
        return ""


def _named_by_system() -> str:
    if platform.system() == "Darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        with suppress(OSError, subprocess.SubprocessError):
            told = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
            return told.stdout.strip()
    return platform.processor() or platform.machine()


def cores() -> int:
    """Logical cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def available_memory() -> int | None:
    """Bytes that can be taken without swapping, within this container's limit; None: not told."""
    found = []
    system = _number(MEMORY, "MemAvailable:")
    if system is not None:
        found.append(system * 1024)
    limit, used = (_number(CONTAINER / f"memory.{name}") for name in ("max", "current"))
    if limit is not None and used is not None:
        # Pages of files count as used, and are given up when somebody needs the memory.
        found.append(limit - used + (_number(CONTAINER / "memory.stat", "inactive_file") or 0))
    return min(found, default=None)


def _number(path: Path, key: str = "") -> int | None:
    """The whole number that follows a key at the start of a line of a file of the system's."""
    with suppress(OSError, UnicodeDecodeError):
        text = path.read_text(encoding="utf-8")
        if found := re.search(rf"^{key}\s*(\d+)", text, re.MULTILINE):
            return int(found.group(1))
    return None


def require_memory(size_bytes: int, what: str) -> None:
    """Refuse images that take more memory than there is, before any of it is taken.

    Raises:
        MachineError: There is less.
    """
    available = available_memory()
    if available is not None and size_bytes > available:
        raise MachineError(
            f"{what} take {size_bytes / GIB:.1f} GiB of memory, {available / GIB:.1f} are free",
            hint="use fewer pictures, a smaller size (a training's --image-size), or a machine "
            f"with {math.ceil(size_bytes / GIB)} GiB free",
        )


def nvidia_names() -> str | None:
    """The models of this machine's NVIDIA devices, as their driver tells; None: it does not."""
    found = []
    for path in sorted(NVIDIA.glob("*/information")):
        with suppress(OSError, UnicodeDecodeError):
            found += re.findall(r"^Model:\s*(.+?)\s*$", path.read_text("utf-8"), re.MULTILINE)
    return " + ".join(found) or None


def version_of(package: str) -> str | None:
    """The installed version of a distribution, or None.

    ONNX Runtime has a distribution per kind of device, all with one module: once that is loaded, it
    says which version it is.
    """
    if package == "onnxruntime" and (loaded := sys.modules.get(package)) is not None:
        return str(loaded.__version__)
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def read_environment(*, accelerator: str | None = None) -> Environment:
    """Describe this machine without importing anything heavy.

    Args:
        accelerator: Its name, known to the caller that uses one.
    """
    cpu, flags = _cpu_info()
    versions = {name: version_of(name) for name in PACKAGES}
    return Environment(
        cpu=cpu,
        instruction_sets=tuple(sorted(flags.intersection(INSTRUCTION_SETS))),
        cores=cores(),
        accelerator=accelerator,
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        packages={name: version for name, version in versions.items() if version},
    )
