"""The floors of the package, and the habits that keep it one package."""

import ast
import importlib
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "compress"

FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"errors", "version", "digests", "streams"}),
    frozenset({"config", "records", "progress", "interrupts", "cache"}),
    frozenset({"files", "environment", "identity", "onnx_bytes"}),
    frozenset({"replaced", "locks"}),
    frozenset({"runs", "evaluate"}),
    frozenset({"data", "models", "runtime"}),
    frozenset({"losses", "graph", "measure"}),
    frozenset({"training"}),
    frozenset({"stages", "render"}),
    frozenset({"cli"}),
    frozenset({"__main__"}),
)
"""Bottom first. What shares a floor does not know each other."""

WORKSTATION = frozenset(
    {"torch", "torchvision", "onnx", "onnxscript", "onnxsim", "onnx_ir", "safetensors"}
    | {"sklearn", "scipy", "matplotlib", "tensorboard"}
)
"""Packages that a device does not have."""

DEVICE_COMMANDS = ("bench", "gate", "check", "predict")
DEVICE_ALWAYS = (
    "compress.runtime",
    "compress.evaluate",
    "compress.data.images",
    "compress.data.cifar",
    "compress.data.folder",
)
VAGUE = frozenset({"util", "utils", "helper", "helpers", "common", "misc", "base", "core"})

UNMIRRORED = {
    "__main__": "tests/test_cli.py starts it",
    "cli.app": "tests/test_cli.py, through the installed command",
    "progress": "a protocol, and doing nothing",
}
"""Modules without a test file of their own, and why; declarations without code need none."""


@dataclass(frozen=True)
class Import:
    """One imported name.

    Attributes:
        module: What is imported; for `from a import b` it is `a.b` where that is a module.
        inside: Docstrings of the functions around it, outermost first; none at module level.
        typing: Whether it stands under `if TYPE_CHECKING:`.
        line: Where.
    """

    module: str
    inside: tuple[str, ...]
    typing: bool
    line: int


def _name(path: Path) -> str:
    """The dotted name of a module file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def _walk(node: ast.AST, inside: tuple[str, ...], typing: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        around, for_types = inside, typing
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            around = (*inside, ast.get_docstring(child) or "")
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for_types = True
        elif isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, inside, typing, child.lineno)
        elif isinstance(child, ast.ImportFrom):
            base = "." * child.level + (child.module or "")
            for alias in child.names:
                full = f"{base}.{alias.name}"
                yield Import(full if full in MODULES else base, inside, typing, child.lineno)
        yield from _walk(child, around, for_types)


@cache
def _imports(module: str) -> tuple[Import, ...]:
    return tuple(_walk(_tree(module), (), False))


def _floor(module: str) -> int:
    part = module.split(".")[1]
    for number, floor in enumerate(FLOORS):
        if part in floor:
            return number
    raise AssertionError(f"{module} stands on no floor: add it to FLOORS")


def _own(module: str) -> bool:
    return module.split(".")[0] == "compress"


def _code_modules() -> list[str]:
    """Every module below the package itself; `compress` and its recipes hold no code."""
    return [name for name in MODULES if name not in {"compress", "compress.recipes"}]


@pytest.mark.parametrize("module", _code_modules())
def test_imports_go_down_the_floors(module: str) -> None:
    wrong = [
        f"line {found.line}: {found.module}"
        for found in _imports(module)
        if _own(found.module)
        and found.module != "compress"
        and found.module.split(".")[1] != module.split(".")[1]
        and _floor(found.module) >= _floor(module)
    ]
    assert not wrong, f"{module} (floor {_floor(module)}) imports upwards or sideways: {wrong}"


def test_imports_are_absolute() -> None:
    relative = [m for m in MODULES for found in _imports(m) if found.module.startswith(".")]
    assert relative == []


def test_packages_export_nothing_but_a_docstring() -> None:
    for name, path in MODULES.items():
        if path.name == "__init__.py":
            body = _tree(name).body
            assert len(body) == 1, f"{path} holds more than a docstring"
            assert ast.get_docstring(_tree(name)), f"{path} has no docstring"


def test_every_module_says_what_it_is_for() -> None:
    assert [name for name in MODULES if not ast.get_docstring(_tree(name))] == []


def test_no_module_has_a_vague_name() -> None:
    assert [name for name in MODULES if name.rpartition(".")[2] in VAGUE] == []


def test_no_file_outgrows_400_lines() -> None:
    folders = ("compress", "tests", "benchmarks", "docs")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    long = {
        str(path.relative_to(ROOT)): lines
        for path in files
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert long == {}


def test_only_the_command_line_knows_typer() -> None:
    users = {m for m in MODULES for found in _imports(m) if found.module.startswith("typer")}
    assert users <= {m for m in MODULES if m.startswith("compress.cli")}


def test_only_the_command_line_and_render_know_rich() -> None:
    users = {m for m in MODULES for f in _imports(m) if f.module.split(".")[0] == "rich"}
    assert {m.split(".")[1] for m in users} <= {"cli", "render"}


def test_only_the_command_line_and_render_print() -> None:
    printing = {
        module
        for module in MODULES
        for node in ast.walk(_tree(module))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    }
    assert {m.split(".")[1] for m in printing} <= {"cli", "render"}


def test_the_command_line_imports_nothing_heavy_before_a_command_runs() -> None:
    allowed = {"typer", "compress", *sys.stdlib_module_names}
    for module in (m for m in MODULES if m.startswith("compress.cli")):
        for found in _imports(module):
            if found.inside or found.typing:
                continue
            top = found.module.split(".")[0]
            assert top in allowed, f"{module} imports {found.module}"
            if _own(found.module):
                light = ("compress.cli", "compress.errors", "compress.streams", "compress.version")
                assert found.module.startswith(light), f"{module} imports {found.module}"


def _device_modules() -> set[str]:
    """What bench, gate, check and predict reach, not counting functions for workstations only."""
    start = [
        f"compress.{part}.{command}"
        for command in DEVICE_COMMANDS
        for part in ("cli", "config", "stages", "records", "render.tables")
    ]
    start += [m for m in MODULES if m.startswith("compress.measure.")]
    start += ["compress.cli.app", "compress.cli.options", "compress.data.registry", *DEVICE_ALWAYS]
    reached: set[str] = set()
    waiting = [module for module in start if module in MODULES]
    while waiting:
        module = waiting.pop()
        if module in reached:
            continue
        reached.add(module)
        waiting += [
            found.module
            for found in _imports(module)
            if found.module in MODULES and not found.typing and not _for_workstations(found)
        ]
    return reached


def _for_workstations(found: Import) -> bool:
    """Whether a function around an import says that it needs a workstation."""
    return any("workstation" in docstring.lower() for docstring in found.inside)


def test_the_device_half_never_imports_what_a_device_lacks() -> None:
    wrong = [
        f"{module}:{found.line} imports {found.module}"
        for module in sorted(_device_modules())
        for found in _imports(module)
        if found.module.split(".")[0] in WORKSTATION
        and not found.typing
        and not _for_workstations(found)
    ]
    assert wrong == []


def test_what_measures_never_names_torch_or_onnx_even_lazily() -> None:
    always = [m for m in MODULES if m.startswith("compress.measure")] + list(DEVICE_ALWAYS)
    wrong = [
        f"{module}:{found.line} imports {found.module}"
        for module in always
        if module in MODULES
        for found in _imports(module)
        if found.module.split(".")[0] in WORKSTATION
    ]
    assert wrong == []


def _registrations() -> list[tuple[str, str, str]]:
    """(module, key, "module:function") of every registry in the package."""
    pattern = re.compile(r"compress(\.\w+)+:\w+")
    return [
        (module, ast.unparse(key) if key else "", value.value)
        for module in MODULES
        for node in ast.walk(_tree(module))
        if isinstance(node, ast.Dict)
        for key, value in zip(node.keys, node.values, strict=True)
        if isinstance(value, ast.Constant)
        and isinstance(value.value, str)
        and pattern.fullmatch(value.value)
    ]


@pytest.mark.parametrize(("module", "key", "place"), _registrations())
def test_every_registered_name_leads_to_something(module: str, key: str, place: str) -> None:
    where, _, name = place.partition(":")
    assert callable(getattr(importlib.import_module(where), name)), f"{module}[{key}]"


@pytest.mark.parametrize("command", ["train", "distill", "export", "bench", "gate"])
def test_one_rule_finds_everything_of_a_command(command: str) -> None:
    name = command.capitalize()
    stage = importlib.import_module(f"compress.stages.{command}")
    config = importlib.import_module(f"compress.config.{command}")
    record = importlib.import_module(f"compress.records.{command}")
    assert callable(getattr(stage, command))
    assert hasattr(config, f"{name}Config")
    assert hasattr(record, f"{name}Record")


def test_every_module_has_its_test_where_its_path_says() -> None:
    missing = []
    for module, path in MODULES.items():
        inner = path.relative_to(PACKAGE)
        declares = not any(
            isinstance(n, (ast.FunctionDef, ast.Lambda)) for n in ast.walk(_tree(module))
        )
        if declares or module.removeprefix("compress.") in UNMIRRORED:
            continue
        if not (ROOT / "tests" / inner.parent / f"test_{inner.name}").is_file():
            missing.append(str(inner))
    assert missing == []


@pytest.mark.parametrize("module", UNMIRRORED)
def test_the_list_of_modules_without_tests_is_true(module: str) -> None:
    path = MODULES[f"compress.{module}"].relative_to(PACKAGE)
    assert not (ROOT / "tests" / path.parent / f"test_{path.name}").exists()


def test_every_package_is_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = {_name(path) for path in PACKAGE.rglob("__init__.py")}
    assert set(project["tool"]["setuptools"]["packages"]) == packages
