"""Write docs/recipes.md from the recipes and their configuration: `python docs/make_recipes.py`."""

import inspect
import json
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from compress.config import recipes
from compress.config.bench import MeasuringConfig
from compress.config.distill import DistillConfig
from compress.config.gate import GateConfig
from compress.config.recipes import FLAGS_ONLY
from compress.config.specs import Augmentation, ModelSpec, StudentSpec
from compress.config.train import TrainConfig
from compress.config.training import Optimization, TrainingConfig
from compress.files import write_text

PAGE = Path(__file__).parent / "recipes.md"
PLACES = FLAGS_ONLY | {"target", "data_dir", "device"}
"""Keys about one invocation: flags and not recipes are for them."""
HEAD = """\
# Recipes

Written by `python docs/make_recipes.py` from the program itself; do not edit it by hand.

A recipe is a TOML file that fills the options of `train`, `distill` and `soft-labels`:
`--recipe NAME` takes one that is installed, `--recipe FILE.toml` one of yours. Without the option,
the recipe named like the data is taken where there is one, and the first line of the run says so.
A flag replaces a recipe's key, which replaces the default. Two ways to say one thing displace each
other: `--alpha` and `--temperature` a recipe's losses, `--loss` its alpha and temperature, each of
them also where it is swept; a single seed displaces seeds and their ensemble. What a recipe sweeps
besides stays and is crossed: with `--sweep learning_rate=0.1,0.2` each of its swept losses is
trained at both, and with `--sweep temperature=1,4` each that has a temperature at both, the others
once.

```toml
[about]                       # shown by `compress list recipes`, all of it free text
summary = "what it is for"

[data]                        # for train, distill and soft-labels
data = "cifar10"
augmentation = { crop_padding = 4, flip = true }

[train]                       # the teacher, where one must be trained
model = "resnet50"
epochs = 120

[distill]
student = ["mobilenet_v2", "tiny=small_cnn:width=0.5"]
epochs = 200
alpha = 0.9                   # reached from alpha_from in a straight line, our reading of a
                              # "dynamic" alpha: the origin system that had one published no formula
alpha_from = 0.5
alpha_ramp_epochs = 50

[distill.model-settings.mobilenet_v2]
learning_rate = 0.1           # the optimisation of one model, over the shared one

[gate]                        # limits for `compress gate --recipe`
min_top1 = 0.92
```
"""


def attributes(model: type[BaseModel]) -> dict[str, str]:
    """What a configuration's docstring says of each of its own keys."""
    _, _, text = (inspect.getdoc(model) or "").partition("Attributes:\n")
    found: dict[str, str] = {}
    key = ""
    for line in text.splitlines():
        begun = re.match(r"    (\w+): (.*)", line)
        if begun:
            key, found[begun[1]] = begun[1], begun[2]
        elif line.startswith("     ") and key:
            found[key] += f" {line.strip()}"
    return found


def _default(model: type[BaseModel], key: str) -> str:
    """A key's default as TOML has it; nothing where it has none."""
    field = model.model_fields[key]
    if field.is_required():
        return ""
    value: Any = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, ModelSpec):
        value = str(value)
    elif isinstance(value, tuple) and value and isinstance(value[0], StudentSpec):
        value = [str(one.model) for one in value]
    return f"`{json.dumps(value)}`" if isinstance(value, (str, int, float, list)) else ""


def keys(title: str, model: type[BaseModel], *, of: type[BaseModel] | None = None) -> list[str]:
    """A table of keys.

    Args:
        title: Above it.
        model: Whose docstring and defaults.
        of: Leave out what this one has, too.
    """
    inherited = set() if of is None else set(of.model_fields)
    lines = [f"## {title}", "", "| key | default | |", "|---|---|---|"]
    for key, says in attributes(model).items():
        if key in model.model_fields and key not in PLACES | inherited:
            cell = says.replace("|", "\\|")
            lines.append(f"| `{key}` | {_default(model, key)} | {cell} |")
    return [*lines, ""]


def page() -> str:
    """The whole page as Markdown."""
    lines = [HEAD, "## Installed", "", "| recipe | | expected |", "|---|---|---|"]
    for name in recipes.names():
        about = recipes.about(name)
        lines.append(f"| `{name}` | {about.summary} | {about.expected} |")
    lines += ["", *keys("Keys of data, train and distill", TrainingConfig, of=Optimization)]
    lines += keys("Keys of the optimisation, also in model-settings", Optimization)
    lines += keys("Keys of augmentation", Augmentation)
    lines += keys("Keys of train alone", TrainConfig, of=TrainingConfig)
    lines += keys("Keys of distill alone", DistillConfig, of=TrainingConfig)
    lines += keys("Keys of gate: limits", GateConfig)
    lines += keys("Keys of gate: how to measure, and the largest file", MeasuringConfig)
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    write_text(PAGE, page())
