"""The documentation says what the program does: commands, options, defaults."""

import importlib
import io
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.main import get_command

from compress.cli.output import LOG_WIDTH
from compress.config import recipes
from compress.config.distill import DistillConfig, plan_students
from compress.config.gate import GateConfig
from compress.records.bench import BenchRecord
from compress.records.distill import DistillRecord
from compress.records.footprint import FootprintRecord
from compress.records.throughput import ThroughputRecord
from compress.render.tables.distill import table as distill_table
from tests.conftest import ROOT, program
from tests.scripts import load_script

DOCS = ROOT / "docs"
COMMANDS = (
    *("train", "distill", "soft-labels", "export", "bench", "gate"),
    *("check", "predict", "report", "list"),
)
ELSEWHERE = {"json", "quiet", "augment", "recipe", "junit", "markdown"}
"""Options that are about the output, or take another name inside."""
DEFAULT = re.compile(r"\[default: (?:(the recipe's)[^,]*, else )?([^\]]+)\]")
"""What the help states: whether a recipe comes first, and the configuration's own default."""
FILLED = ("data", "train", "distill")
"""Tables of a recipe that fill the options of a training."""
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]


@pytest.fixture(scope="module")
def make_commands() -> Any:
    """The script that writes docs/commands.md."""
    return load_script("docs", "make_commands")


@pytest.fixture(scope="module")
def commands(make_commands: Any) -> dict[str, list[Any]]:
    """The options and arguments of every command."""
    return {
        name: make_commands.parameters(function)
        for name, function in make_commands.commands().items()
    }


def _config(command: str) -> Any:
    """The configuration model of a command, or None where it has none."""
    name = command.replace("-", "_")
    try:
        module = importlib.import_module(f"compress.config.{name}")
    except ModuleNotFoundError:
        return None
    return getattr(module, "".join(w.capitalize() for w in name.split("_")) + "Config")


def _field(command: str, option: Any) -> Any:
    """The configuration field behind an option, or None: it has another form or none."""
    config = _config(command)
    return None if config is None else config.model_fields.get(option.field)


def _filled_in() -> dict[str, Any]:
    """What takes the place of distill's options that are empty because they exclude each other."""
    alone, with_loss = (
        plan_students(config)[0] for config in (DistillConfig(), DistillConfig(loss=("kd",)))
    )
    (kd,) = alone.terms
    return {"alpha": kd.weight, **kd.options, "ce_weight": with_loss.ce_weight}


def _as_number(text: str) -> str | float:
    """Text, or the number it is: the help may say 0.0005 where Python says 5e-4."""
    try:
        return float(text)
    except ValueError:
        return text


def test_the_page_of_commands_is_up_to_date(make_commands: Any) -> None:
    written = (DOCS / "commands.md").read_text(encoding="utf-8")
    assert written == make_commands.page(), "run `python docs/make_commands.py`"


def test_the_page_of_recipes_is_up_to_date_and_names_every_key() -> None:
    written = (DOCS / "recipes.md").read_text(encoding="utf-8")
    make = load_script("docs", "make_recipes")
    assert written == make.page(), "run `python docs/make_recipes.py`"
    limits = set(GateConfig.model_fields) - {"baseline", "teacher"}
    for key in (set(DistillConfig.model_fields) | limits) - make.PLACES - {"junit", "markdown"}:
        assert f"| `{key}` |" in written, key


def test_the_page_of_speeds_and_the_picture_show_the_records() -> None:
    speed, picture = load_script("docs", "make_speed"), load_script("docs", "make_picture")
    written = (DOCS / "speed.md").read_text(encoding="utf-8")
    assert written == speed.page(speed.RECORDS), "run `python docs/make_speed.py`"
    assert "cached / plain" in written
    drawn = (DOCS / "bench.svg").read_text(encoding="utf-8")
    record = BenchRecord.read(picture.RECORD)
    assert drawn == picture.picture(record), "run `python docs/make_picture.py`"
    assert {model.role for model in record.models} == {"teacher", "student", "control"}


@pytest.mark.parametrize("ours", ["cached", "uncached"])
def test_the_readme_states_the_speeds_of_a_record(ours: str) -> None:
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    ranges = []
    for path in sorted((ROOT / "benchmarks" / "records").glob("distill_throughput-*.json")):
        found = [pair.ratio(ours, "plain") for pair in ThroughputRecord.read(path).pairs]
        ranges.append(f"{min(found):.1f} to {max(found):.1f} times")
    assert any(stated in text for stated in ranges), f"none of {ranges} in README.md"


def test_the_readme_shows_the_table_of_a_record_as_a_log_has_it() -> None:
    record = DistillRecord.read(ROOT / "benchmarks" / "records" / "readme-distill.json")
    console = Console(file=io.StringIO(), width=LOG_WIDTH)
    console.print(distill_table(record))
    assert isinstance(console.file, io.StringIO)
    shown = [line.rstrip().removeprefix(" ") for line in console.file.getvalue().splitlines()]
    assert "\n".join(shown).rstrip() in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_page_of_machines_states_the_footprints_of_the_records() -> None:
    written = (DOCS / "machines.md").read_text(encoding="utf-8")
    for path in sorted((ROOT / "benchmarks" / "records").glob("run_footprint-*.json")):
        record = FootprintRecord.read(path)
        above, needed = record.peak_bytes - record.imports_bytes, record.needed_bytes
        row = (
            f"{above / 2**20:.0f} MiB | {needed / 2**20:.0f} MiB | {record.memory_ratio:.2f} | "
            f"{record.first_step_seconds:.2f} s | {record.imports_seconds:.2f} s |"
        )
        assert f"(../benchmarks/records/{path.name})" in written
        assert row in written


def test_the_options_before_a_command_are_documented() -> None:
    text = (DOCS / "commands.md").read_text(encoding="utf-8")
    section = text.partition("## compress\n")[2].partition("\n## ")[0]
    for name in ("--version", "--debug"):
        assert f"| `{name}` |" in section


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_option_is_documented(
    make_commands: Any, commands: dict[str, list[Any]], command: str
) -> None:
    text = (DOCS / "commands.md").read_text(encoding="utf-8")
    _, found, section = text.partition(f"## compress {command}\n")
    section = section.partition("\n## ")[0]
    assert found
    assert make_commands.commands()[command].__doc__, f"compress {command} has no help"
    heads = re.findall(r"^\| ((?:[^|\\]|\\.)*) \|", section, re.MULTILINE)
    for parameter in commands[command]:
        assert parameter.help, f"compress {command} {parameter.names} has no help"
        for name in parameter.names:
            assert f"`{name}".replace("|", "\\|") in section or f"`{name}" in section
    typed = get_command(program()).commands[command].params  # type: ignore[attr-defined]
    options = [one for one in typed if one.param_type_name == "option" and one.name != "help"]
    assert options
    for option in options:
        for name in (*option.opts, *option.secondary_opts):
            assert any(re.search(rf"{name}(?![A-Za-z0-9-])", head) for head in heads), name


def test_the_commands_are_those_of_the_contract(commands: dict[str, list[Any]]) -> None:
    assert tuple(commands) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_the_default_in_the_help_is_that_of_the_configuration(
    commands: dict[str, list[Any]], command: str
) -> None:
    for option in commands[command]:
        field = _field(command, option)
        if field is None or option.argument:
            continue
        default = field.get_default(call_default_factory=True)
        if default is None and command == "distill":
            default = _filled_in().get(option.field)
        stated = [_as_number(text) for _, text in DEFAULT.findall(option.help)]
        where = f"compress {command} {option.names[0]}"
        if isinstance(default, (bool, dict)) or default in (None, ()):
            # what is off, empty or left to the program is told in words, if at all
            assert not [value for value in stated if isinstance(value, float)], where
        elif isinstance(default, (int, float, str)):
            assert stated == [_as_number(str(default))], where
        elif all(isinstance(item, (int, float, str)) for item in default):
            assert stated == [_as_number(",".join(map(str, default)))], where


@pytest.mark.parametrize("command", ["train", "distill", "soft-labels"])
def test_the_help_says_of_which_defaults_a_recipe_decides(
    commands: dict[str, list[Any]], command: str
) -> None:
    tables = [recipes.load(name).get(part, {}) for name in recipes.names() for part in FILLED]
    decided = {key.replace("-", "_") for table in tables for key in table}
    decided |= {"seed"} if "seeds" in decided else set()
    said = {
        o.field: DEFAULT.findall(o.help)[0][0] for o in commands[command] if DEFAULT.search(o.help)
    }
    assert {field for field, recipe in said.items() if recipe} == decided & said.keys()
    assert {"data", "batch_size", "views"} <= decided & said.keys()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_a_command_has_its_place_in_the_configuration(
    commands: dict[str, list[Any]], command: str
) -> None:
    config = _config(command)
    if config is None:
        pytest.skip(f"compress {command} has no configuration")
    for parameter in commands[command]:
        names = {parameter.field, parameter.field.removeprefix("no_")}
        assert names & (config.model_fields.keys() | ELSEWHERE), (command, parameter.field)


@pytest.mark.parametrize("command", COMMANDS)
def test_an_option_is_spelled_like_what_it_sets(
    commands: dict[str, list[Any]], command: str
) -> None:
    for option in (p for p in commands[command] if not p.argument):
        spelled = option.names[0].removeprefix("--").replace("-", "_")
        assert option.field.rstrip("_") == spelled, (command, option.field)


def _fenced(page: Path) -> list[str]:
    """The `compress …` lines in a page's fenced blocks, continued lines joined."""
    blocks = re.findall(r"^ *```[a-z]*\n(.*?)^ *```", page.read_text(), re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    found = [re.sub(r"^\s*(?:- )?(?:run: *)?(?:\$ *)?", "", line) for line in lines]
    return [line for line in found if line.startswith("compress ")]


def _invocations() -> list[tuple[str, str]]:
    return [(page.name, line) for page in PAGES for line in _fenced(page)]


@pytest.mark.parametrize(("page", "line"), _invocations())
def test_every_command_shown_exists(commands: dict[str, list[Any]], page: str, line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    if not words or words[0] in {"--version", "--help"}:
        return
    known = {name for option in commands[words[0]] for name in option.names} | {"--help"}
    used = {word.partition("=")[0] for word in words[1:] if word.startswith("--")}
    assert used <= known, f"{page}: {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_inside_the_project_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        if "://" not in target and not target.startswith("mailto:"):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_page_can_be_found_from_the_map() -> None:
    text = (DOCS / "index.md").read_text(encoding="utf-8")
    pages = [p.name for p in DOCS.glob("*.md") if p.name != "index.md"]
    assert [name for name in pages if f"({name}" not in text] == []


def test_every_make_target_shown_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        for name in re.findall(r"`make ([a-z]+)", page.read_text(encoding="utf-8")):
            assert name in targets, f"{page.name}: make {name}"
