"""Check exported artifacts on ARM without a board: `compress check` under qemu's user emulation.

    python benchmarks/arm_check.py ARTIFACT… [--cpu cortex-a53] [--root DIR] [--out FILE]

Makes a small arm64 root (Debian's Python 3.11 and the wheels of the device half, about 300 MB, kept
in the cache folder), copies the artifacts into it, and runs `compress check` there. For every INT8
file it also counts the layers that ONNX Runtime leaves in float in the graph it optimizes *there*.
Needs root (chroot), Debian or Ubuntu, `apt install qemu-user-static`, and a network on the first
run. Emulated times mean nothing, so none are taken. Ends with 0, or 5 where an answer differs more
than is allowed or a layer is left in float that was not kept so on purpose.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx

from compress.cache import cache_folder
from compress.environment import read_environment, version_of
from compress.errors import CompressError, InputError, MachineError
from compress.files import write_text
from compress.graph.quantize import FLOAT_TYPES, INTEGER_TYPES
from compress.measure.artifact import Artifact, find_artifacts, resolve

PACKAGE = Path(__file__).resolve().parent.parent / "compress"
RECORD = Path(__file__).resolve().parent / "records" / "arm_check.json"
QEMU = "qemu-aarch64-static"
PYTHON = "/usr/bin/python3.11"
SITE = Path("opt/site")
DEBIAN_PACKAGES = (
    *("python3.11-minimal", "libpython3.11-stdlib", "libpython3.11-minimal", "libstdc++6", "libc6"),
    *("libgomp1", "libgcc-s1", "zlib1g", "libexpat1", "libffi8", "libssl3", "liblzma5"),
    *("libbz2-1.0", "libcrypt1", "libuuid1"),
)
WHEELS = ("numpy", "onnxruntime", "pillow", "pydantic", "rich", "typer")
PLATFORMS = tuple(f"manylinux{version}_aarch64" for version in ("_2_28", "_2_27", "_2_17", "2014"))
OPTIMIZE = """
import sys
from pathlib import Path
from compress.runtime import open_session
open_session(Path(sys.argv[1]), optimized_path=Path(sys.argv[2]))
"""


def require_emulation() -> str:
    """The emulator's path.

    Raises:
        MachineError: Not root, or no emulator, or not a system with apt.
    """
    if os.geteuid() != 0:
        raise MachineError(
            "an arm64 root can only be entered as root (chroot)",
            hint="run it with sudo, or in a container",
        )
    for program in ("apt-get", "dpkg", "chroot"):
        if shutil.which(program) is None:
            raise MachineError(f"{program} is missing", hint="run it on Debian or Ubuntu")
    emulator = shutil.which(QEMU)
    if emulator is None:
        raise MachineError(f"{QEMU} is missing", hint="apt install qemu-user-static")
    return emulator


def _run(command: Sequence[object], *, what: str, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise MachineError(f"{what} failed: {lines[-1] if lines else done.returncode}")
    return done.stdout


def make_root(root: Path, emulator: str) -> None:
    """Make an arm64 root with Python and the device half's packages, unless it is there.

    Raises:
        MachineError: A package cannot be had.
    """
    wanted = json.dumps({name: version_of(name) for name in WHEELS})
    done = root / "complete.json"
    if done.is_file() and done.read_text(encoding="utf-8") == wanted:
        return
    shutil.rmtree(root, ignore_errors=True)
    downloads = root.with_name(root.name + "-downloads")
    shutil.rmtree(downloads, ignore_errors=True)
    for folder in (root / SITE, root / "tmp", root / "usr/bin", downloads / "wheels"):
        folder.mkdir(parents=True)
    print("downloading Debian's arm64 Python", flush=True)
    for package in _debian_packages(downloads):
        _run(["dpkg", "-x", package, root], what=f"unpacking {package.name}")
    print("downloading the arm64 wheels", flush=True)
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    abis = [word for name in ("cp311", "abi3", "none") for word in ("--abi", name)]
    pinned = [f"{name}=={version_of(name)}" for name in WHEELS]
    _run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--dest", downloads / "wheels",
         "--only-binary=:all:", "--python-version", "3.11", "--implementation", "cp",
         *platforms, *abis, *pinned],
        what="downloading wheels",
    )  # fmt: skip
    for wheel in sorted((downloads / "wheels").glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(root / SITE)
    shutil.copy(emulator, root / "usr/bin" / QEMU)
    shutil.rmtree(downloads)
    done.write_text(wanted, encoding="utf-8")


def _debian_packages(downloads: Path) -> list[Path]:
    """Fetch arm64 packages with a state of apt's own, so that the system's stays as it is."""
    state, cache = downloads / "state", downloads / "cache"
    for folder in (state / "lists/partial", cache / "archives/partial", downloads / "debs"):
        folder.mkdir(parents=True)
    (state / "status").touch()
    settings = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "APT::Sandbox::User": "root",
        "Dir::State": state,
        "Dir::State::lists": state / "lists",
        "Dir::State::status": state / "status",
        "Dir::Cache": cache,
    }
    options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
    _run(["apt-get", *options, "update"], what="apt-get update for arm64")
    _run(
        ["apt-get", *options, "download", *DEBIAN_PACKAGES],
        what="downloading Debian packages",
        cwd=downloads / "debs",
    )
    return sorted((downloads / "debs").glob("*.deb"))


class Board:
    """An emulated ARM machine.

    Args:
        root: Made by `make_root`.
        cpu: What qemu pretends to be.
    """

    def __init__(self, root: Path, cpu: str) -> None:
        self.root = root
        self.cpu = cpu
        shutil.rmtree(root / SITE / "compress", ignore_errors=True)
        shutil.copytree(
            PACKAGE, root / SITE / "compress", ignore=shutil.ignore_patterns("__pycache__")
        )
        shutil.rmtree(root / "work", ignore_errors=True)
        (root / "work").mkdir()

    def python(self, *arguments: object) -> "subprocess.CompletedProcess[str]":
        """Run Python there; /sys of this machine must not be visible (onnxruntime would crash)."""
        environment = {
            "QEMU_CPU": self.cpu,
            "PYTHONPATH": f"/{SITE}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": "/tmp",
            "PATH": "/usr/bin",
            "LC_ALL": "C.UTF-8",
        }
        chroot = shutil.which("chroot") or "chroot"
        command = [chroot, str(self.root), f"/usr/bin/{QEMU}", PYTHON, *map(str, arguments)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def check(self, artifact: Artifact) -> tuple[dict[str, Any], str]:
        """The record of `compress check` there, and what it said when it failed."""
        target = self.root / "work" / "artifact"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(artifact.place, target)
        done = self.python("-m", "compress", "check", "/work/artifact", "--json", "-", "--quiet")
        if not done.stdout.startswith("{"):
            lines = done.stderr.strip().splitlines()
            raise InputError(f"compress check ended with {done.returncode} there: {lines[-1:]}")
        return json.loads(done.stdout), done.stderr.strip()

    def float_layers(self, model: Path) -> tuple[list[str], int]:
        """Layers left in float, and the number in integers, in the graph optimized there."""
        optimized = self.root / "work" / "optimized.onnx"
        optimized.unlink(missing_ok=True)
        done = self.python("-c", OPTIMIZE, f"/work/artifact/{model.name}", "/work/optimized.onnx")
        if not optimized.is_file():
            raise InputError(f"{model.name} cannot be opened there: {done.stderr.strip()[-300:]}")
        graph = onnx.load_model(optimized).graph
        left = [node.name for node in graph.node if node.op_type in FLOAT_TYPES]
        return left, sum(node.op_type in INTEGER_TYPES for node in graph.node)


def examine(board: Board, artifact: Artifact) -> dict[str, Any]:
    """One artifact: the answers of every form, and the float layers of its INT8 form."""
    record, said = board.check(artifact)
    result: dict[str, Any] = {"label": artifact.label, "rows": record["rows"], "said": said}
    result["machine"] = {key: record["environment"][key] for key in ("system", "packages")}
    if "int8" in artifact.files:
        left, integer = board.float_layers(artifact.files["int8"])
        quantization = artifact.manifest.quantization if artifact.manifest else None
        kept = set(quantization.kept_float) if quantization else set()
        result["int8_layers"] = {
            "integer": integer,
            "float": left,
            "kept_float": sorted(kept),
            "unexpected": sorted(set(left) - kept),
        }
    return result


def problems(result: dict[str, Any]) -> list[str]:
    """What is wrong with one artifact, in words."""
    words = [
        f"{result['label']} {row['file']}: {row['different']} of {row['images']} images differ, "
        f"{row['top1_different']} in their class; allowed: {row['allowed']}"
        for row in result["rows"]
        if row["verdict"] == "fail"
    ]
    words += [
        f"{result['label']} {row['file']}: no golden answers to compare with"
        for row in result["rows"]
        if row["verdict"] == "opened"
    ]
    unexpected = result.get("int8_layers", {}).get("unexpected", [])
    if unexpected:
        words.append(f"{result['label']} int8: left in float on ARM: {', '.join(unexpected)}")
    return words


def main() -> int:
    """Examine every artifact, write the record, and say what differs."""
    parser = argparse.ArgumentParser(description="Check artifacts on an emulated ARM machine.")
    parser.add_argument("artifacts", nargs="+", metavar="ARTIFACT")
    parser.add_argument("--cpu", default="cortex-a53", help="what qemu pretends to be")
    parser.add_argument("--root", type=Path, default=cache_folder() / "arm64-root")
    parser.add_argument("--out", type=Path, default=RECORD)
    options = parser.parse_args()
    try:
        found = [each for name in options.artifacts for each in find_artifacts(resolve(name))]
        for each in found:
            if not each.place.is_dir():
                raise InputError(f"{each.place} is no artifact folder, whose answers are known")
        make_root(options.root, require_emulation())
        board = Board(options.root, options.cpu)
        results = [examine(board, each) for each in found]
    except CompressError as error:
        print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
        return error.exit_code
    wrong = [problem for result in results for problem in problems(result)]
    record = {
        "schema": 1,
        "command": "python benchmarks/arm_check.py ARTIFACT",
        "cpu": options.cpu,
        "emulated_on": read_environment().model_dump(mode="json"),
        "artifacts": results,
        "problems": wrong,
    }
    write_text(options.out, json.dumps(record, indent=2) + "\n")
    for result in results:
        for row in result["rows"]:
            steps = "" if row["max_steps"] is None else f", {row['max_steps']:.0f} steps"
            if row["verdict"] == "opened":
                continue
            print(
                f"{row['label']:20} {row['file']:18} {row['verdict']:6} {row['different']} of "
                f"{row['images']} images differ, largest {row['max_difference']:.2g}{steps}"
            )
        if "int8_layers" in result:
            layers = result["int8_layers"]
            print(
                f"{result['label']:20} int8 on ARM: {layers['integer']} layers in integers, "
                f"{len(layers['float'])} in float"
            )
    print("\n".join(f"problem: {problem}" for problem in wrong) or "as allowed on ARM")
    return 5 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
