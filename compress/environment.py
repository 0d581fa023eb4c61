"""Reads the machine and the versions that stand behind a number."""

import os
import platform
import re
from functools import cache
from importlib import metadata
from pathlib import Path

from compress.records.document import Environment

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
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", text, re.MULTILINE)
    name = re.search(r"^model name\s*:\s*(.*)$", text, re.MULTILINE)
    model = re.search(r"^model\s*:\s*(.*)$", text, re.MULTILINE)
    cpu = name.group(1).strip() if name else platform.processor() or platform.machine()
    if name and model and name.group(1).strip().endswith("Processor"):
        cpu = f"{cpu} model {model.group(1).strip()}"
    return cpu, frozenset(flags.group(1).split() if flags else ())


def cores() -> int:
    """Logical cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def version_of(package: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def read_environment(*, accelerator: str | None = None) -> Environment:
    """Describe this machine without importing anything heavy.

    Args:
        accelerator: The CUDA device's name, known to the caller that uses it.
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
