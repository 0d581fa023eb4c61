"""Write docs/commands.md from the program itself: `python docs/make_commands.py`."""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from typer.models import ArgumentInfo, OptionInfo

from compress.cli.app import COMMANDS, start
from compress.files import write_text
from compress.models.normalization import NORMALIZATIONS

PAGE = Path(__file__).parent / "commands.md"
HEAD = """\
# Commands and options

Written by `python docs/make_commands.py` from the program itself; do not edit it by hand.

A flag overrides the recipe, which overrides the default shown here; without `--recipe` it is the
recipe named like the data, so each named data set has one. Fractions are 0 to 1 everywhere.
`last` names the newest run under `runs/`, and where artifacts are asked for those that were
exported from it to `exported/<id>`; what `--run-dir` or `--out` put elsewhere is named by its
folder. Exit codes are in [design.md](design.md#exit-codes).

## What follows a name

Models, losses, runs and files take options of their own: `NAME:key=value,key=value`.

* **A model**: those that `compress list models` shows, as in `mobilenet_v2:width=0.5`. One that
  `bench --student` times untrained takes `image_size` and `classes`, too.
* **A loss**: those that `compress list losses` shows; `weight`; and with
  `ramp_epochs=10,ramp_from=0` the weight goes in a straight line, over so many epochs, from that
  multiple of it to the whole. Losses on features take `student_taps` and `teacher_taps`: module
  paths joined by `+`, paired in order. One whose output the next module changes in place (a
  BatchNorm before a ReLU) is refused: name that module, or the block that holds both.
* **A run**: `student=LABEL` where it holds several models, `students=all` for an ensemble of
  them.
* **A weights file that compress did not write**: `model=NAME` with that model's options;
  `normalization=NAME`, or `mean=R/G/B` and `std=R/G/B`; `image_size` and `classes`; `entry=KEY`
  where a checkpoint holds several networks. What compress wrote says all that itself.
* **An .onnx file that compress did not write**: `normalization`, or `mean` and `std`;
  `role=teacher`, `student` or `control`; `name`. Where the answers to every image are shares that
  sum to 1 they are taken for probabilities, and bench says so.

A normalization is one of NORMALIZATION_NAMES.

A folder of images holds `train/<class>/*`, `test/<class>/*` and perhaps `val/<class>/*`; for
bench and gate it may also be plain `<class>/*`, or pictures without labels. What is hidden
(`.name`) is no part of it, and a run belongs to its pictures as they were: where they have
changed, the same command refuses to show it, and `distill` trains a teacher of the new ones.

"""
KINDS = {int: "INTEGER", float: "NUMBER", str: "TEXT", Path: "PATH"}


def _head() -> str:
    """What stands before the commands."""
    names = ", ".join(f"`{name}`" for name in NORMALIZATIONS)
    return HEAD.replace("NORMALIZATION_NAMES", names)


@dataclass(frozen=True)
class Parameter:
    """An option or an argument of a command.

    Attributes:
        field: Its name in the command's function.
        names: Its spellings; an argument has the one that stands for it.
        value: What stands for its value; empty for a switch.
        argument: Whether it has no name of its own on the command line.
        required: Whether an argument must be given.
        help: What the program's help says.
        panel: The help's panel.
    """

    field: str
    names: tuple[str, ...]
    value: str
    argument: bool
    required: bool
    help: str
    panel: str


def commands() -> dict[str, Callable[..., None]]:
    """The function behind every command, in the order of the help."""
    found = {}
    for name, place in COMMANDS.items():
        module, _, function = place.partition(":")
        found[name] = getattr(import_module(module), function)
    return found


def _kind(annotation: Any) -> Any:
    """The type of one value: int for `list[int] | None`."""
    choices = [choice for choice in get_args(annotation) if choice is not NoneType]
    if not choices:
        return annotation
    return _kind(choices[0])


def parameters(function: Callable[..., None]) -> list[Parameter]:
    """What a command takes, in the order of its help."""
    hints = get_type_hints(function, include_extras=True)
    found = []
    for name, parameter in inspect.signature(function).parameters.items():
        annotation, info = (*get_args(hints[name]), None, None)[:2]
        if not isinstance(info, (OptionInfo, ArgumentInfo)) or info.hidden:
            continue
        kind = _kind(annotation)
        argument = isinstance(info, ArgumentInfo)
        stands = info.metavar or (name.upper() if argument else KINDS.get(kind, kind.__name__))
        found.append(
            Parameter(
                field=name,
                names=(stands,) if argument else _spellings(info),
                value="" if kind is bool else stands + (" …" if _repeats(annotation) else ""),
                argument=argument,
                required=parameter.default is inspect.Parameter.empty,
                help=info.help or "",
                panel=str(info.rich_help_panel or "Options"),
            )
        )
    return found


def _spellings(info: OptionInfo | ArgumentInfo) -> tuple[str, ...]:
    """The names of an option; inside Annotated, Typer keeps the first one where a default goes."""
    return tuple(n for n in (info.default, *(info.param_decls or ())) if isinstance(n, str))


def _repeats(annotation: Any) -> bool:
    """Whether a parameter may be given several times."""
    return get_origin(annotation) is list or any(
        get_origin(choice) is list for choice in get_args(annotation)
    )


def _cell(text: str) -> str:
    """Text for a Markdown table: on one line, its bars kept from ending the cell."""
    return re.sub(r"\s+", " ", text).strip().replace("|", "\\|")


def _section(name: str, function: Callable[..., None]) -> str:
    """One command: what it does, how it is written, and its options by panel."""
    taken = parameters(function)
    arguments = [parameter for parameter in taken if parameter.argument]
    words = " ".join(a.names[0] if a.required else f"[{a.names[0]}]" for a in arguments)
    lines = [f"## compress {name}", "", inspect.getdoc(function) or "", ""]
    lines += ["```text", f"compress {name} {words}".rstrip() + " [OPTIONS]", "```", ""]
    for argument in arguments:
        lines += [f"`{argument.names[0]}`: {argument.help}", ""]
    return "\n".join([*lines, *_options(taken)])


def _options(taken: list[Parameter]) -> list[str]:
    """A table of options for every panel of the help."""
    panels: dict[str, list[Parameter]] = {}
    for parameter in taken:
        if not parameter.argument:
            panels.setdefault(parameter.panel, []).append(parameter)
    lines = []
    for panel, members in panels.items():
        lines += [f"| {panel} | |", "|---|---|"]
        for option in members:
            written = " ".join([", ".join(option.names), option.value]).strip()
            lines.append(f"| `{_cell(written)}` | {_cell(option.help)} |")
        lines += [""]
    return lines


def _program() -> str:
    """The options of the program itself."""
    lines = [
        "## compress",
        "",
        "These stand before the command, as in `compress --debug bench last`.",
        "",
    ]
    return "\n".join([*lines, *_options(parameters(start))])


def page() -> str:
    """The whole page as Markdown."""
    sections = [_section(name, function) for name, function in commands().items()]
    return "\n".join([_head(), _program(), *sections]).rstrip() + "\n"


if __name__ == "__main__":
    write_text(PAGE, page())
