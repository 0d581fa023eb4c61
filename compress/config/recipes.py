"""Recipes: TOML files that fill a configuration, under its flags and over its defaults."""

import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from compress.config.about import About
from compress.config.flags import written
from compress.config.specs import Frozen, underscored
from compress.digests import digest
from compress.errors import ConfigError, InputError, unknown

Config = TypeVar("Config", bound=Frozen)
DISPLACED = {
    "alpha": ("loss", "ce_weight"),
    "temperature": ("loss", "ce_weight"),
    "loss": ("alpha", "alpha_from", "alpha_ramp_epochs", "temperature"),
    "seed": ("seeds", "ensemble"),
}
"""What a flag hides of a recipe, of its sweep too: other ways to say the same."""
SWEPT_WITH_LOSSES = "temperature"
"""Swept, it is no other way to say a loss but set in every term that has one."""
KEY_BY_KEY = ("augmentation", "sweep")
"""Tables of which a flag replaces the keys it names."""
EPOCHS = 20
"""Of a training, where nothing else is said."""
FLAGS_ONLY = frozenset({"run_dir", "resume", "restart", "recipe", "tensorboard"})
"""Options about one invocation, which no recipe may hold."""
TABLES = ("about", "data", "train", "distill", "gate")


def names() -> list[str]:
    """The recipes installed with the package, sorted."""
    folder = resources.files("compress.recipes")
    return sorted(f.name[:-5] for f in folder.iterdir() if f.name.endswith(".toml"))


def load(recipe: str) -> dict[str, Any]:
    """Read a recipe by its installed name or by a path ending in `.toml`.

    A recipe has an `about` table (source, command, expected times and accuracy, record), a `data`
    table shared by train, distill and soft-labels, and one table per command.

    Raises:
        ConfigError: No such recipe, not TOML, or an unknown table.
        InputError: The file cannot be read.
    """
    if recipe.endswith(".toml"):
        try:
            text = Path(recipe).read_text(encoding="utf-8")
        except OSError as error:
            raise InputError(f"cannot read recipe {recipe}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"recipe {recipe} is not TOML: {error}") from error
    elif recipe in names():
        text = (resources.files("compress.recipes") / f"{recipe}.toml").read_text(encoding="utf-8")
    else:
        raise unknown("recipe", recipe, names())
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"recipe {recipe} is not TOML: {error}") from error
    for table, content in tables.items():
        if table not in TABLES:
            raise unknown("recipe table", table, TABLES)
        if not isinstance(content, dict):
            raise ConfigError(f"{table} in recipe {recipe} is not a table", hint=f"write [{table}]")
    return tables


def about(name: str) -> About:
    """The header of an installed recipe.

    Raises:
        ConfigError: No such recipe, or its header is incomplete.
    """
    return build(About, load(name).get("about", {}))


def sha256(recipe: str) -> str:
    """Of all that a recipe sets; its header, comments and layout count for nothing.

    Raises:
        ConfigError: As `load`.
        InputError: As `load`.
    """
    tables = {name: table for name, table in load(recipe).items() if name != "about"}
    return digest(tables)


def build(kind: type[Config], *layers: Mapping[str, Any]) -> Config:
    """Validate a configuration made of layers, later ones overriding earlier ones key by key.

    `seed` and `seeds` are one setting: a layer with either hides both of those before it.

    Raises:
        ConfigError: A key is unknown (the known ones are listed), a value is out of bounds, or
            a layer has both `seed` and `seeds`.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        named = underscored(layer, "key")
        if {"seed", "seeds"} <= named.keys():
            raise ConfigError("--seed and --seeds are two ways to say it", hint="leave one out")
        if not named.keys().isdisjoint(("seed", "seeds")):
            merged.pop("seed", None)
            merged.pop("seeds", None)
        merged.update(named)
    try:
        return kind.model_validate(merged)
    except ValidationError as error:
        raise config_error(kind, error) from error


def _table(kind: type[BaseModel], location: tuple[str | int, ...]) -> type[BaseModel]:
    """The model that describes a nested table: Augmentation for ("augmentation",)."""
    for part in location:
        field = kind.model_fields.get(str(part))
        annotation = field.annotation if field else None
        for choice in get_args(annotation) or (annotation,):
            if isinstance(choice, type) and issubclass(choice, BaseModel):
                kind = choice
    return kind


def data_of(flags: Mapping[str, Any]) -> str:
    """The data a command is about: the flag's, else the recipe's, else the default."""
    if "data" in flags:
        return str(flags["data"])
    recipe = flags.get("recipe")
    return str(load(str(recipe)).get("data", {}).get("data", "digits")) if recipe else "digits"


def layers(command: str, flags: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The recipe's tables for a command, without what the flags displace, then the flags.

    Without `--recipe` it is the recipe named like the data, where there is one. Two ways to say
    one thing displace each other: `--alpha` a recipe's losses, `--loss` its alpha, a sweep of
    either likewise, a single seed its seeds and their ensemble, an optimisation flag the recipe's
    setting for a single model. What a recipe sweeps besides stays. With fewer epochs than the
    recipe's its warm-up is shorter by as much.

    Args:
        command: The recipe's table, "train" or "distill".
        flags: What the user gave, by configuration key.

    Raises:
        ConfigError: No such recipe, not TOML, or it holds what only flags may say; a flag that
            is swept, too.
        InputError: The recipe's file cannot be read.
    """
    asked = {key: value for key, value in flags.items() if key != "recipe"}
    for key in asked.get("sweep", {}):
        if (name := key.replace("-", "_")) in asked:
            raise ConfigError(
                f"{written(name)} and --sweep {key}=… are two ways to say it", hint="leave one out"
            )
    data = data_of(flags)
    recipe = flags.get("recipe") or (data if data in names() else None)
    tables = load(str(recipe)) if recipe else {}
    found = {
        key: value
        for table in ("data", command)
        for key, value in underscored(tables.get(table, {}), f"[{table}] of {recipe}:").items()
    }
    teacher = found.get("teacher_training")
    said = found.keys() | (underscored(teacher, "key") if isinstance(teacher, dict) else {}).keys()
    if only := sorted(said & FLAGS_ONLY):
        raise ConfigError(
            f"{only[0]} in recipe {recipe}: it is of one invocation, not of a recipe",
            hint=f"leave it out, and give {written(only[0])}",
        )
    hidden = _displaced(asked)
    found = {key: value for key, value in found.items() if key not in hidden}
    if isinstance(found.get("sweep"), dict):
        sweep = underscored(found["sweep"], f"sweep of {recipe}:")
        found["sweep"] = {k: v for k, v in sweep.items() if k not in hidden | asked.keys()}
    found["model_settings"] = {
        name: {k: v for k, v in own.items() if k.replace("-", "_") not in asked}
        for name, own in _settings(found, str(recipe), command).items()
    }
    sweep = found["sweep"] if isinstance(found.get("sweep"), dict) else {}
    for table in (found, sweep, *found["model_settings"].values()):
        _shorten_warmup(table, epochs=found.get("epochs", EPOCHS), asked=asked.get("epochs"))
    if recipe and tables.keys() & {"data", command}:
        found["recipe"] = str(recipe)
    own = "resume" in asked and "recipe" not in flags  # a run has its own, not a default recipe's
    for key in () if own else KEY_BY_KEY:
        if key in asked and isinstance(found.get(key), dict):
            asked[key] = {**found[key], **asked[key]}
    return [found, asked]


def _shorten_warmup(table: dict[str, Any], *, epochs: Any, asked: Any) -> None:
    """Keep a recipe's warm-up the share of the epochs that it is, where a flag asks for fewer."""
    for key in table.keys() & {"warmup_epochs", "warmup-epochs"}:
        values = table[key] if isinstance(table[key], list) else [table[key]]
        numbers = (epochs, asked, *values)
        if all(isinstance(number, (int, float)) for number in numbers) and asked < epochs:
            shorter = [value * asked / epochs for value in values]
            table[key] = shorter if isinstance(table[key], list) else shorter[0]


def _settings(found: Mapping[str, Any], recipe: str, command: str) -> dict[str, dict[str, Any]]:
    """The settings of single models in a recipe.

    Raises:
        ConfigError: They, or those of one model, are no table.
    """
    settings = found.get("model_settings", {})
    whole = isinstance(settings, dict)
    for name, own in (settings if whole else {"NAME": settings}).items():
        if not isinstance(own, dict):
            raise ConfigError(
                f"model-settings{f'.{name}' if whole else ''} in recipe {recipe} is not a table",
                hint=f"write [{command}.model-settings.{name}]",
            )
    return dict(settings)


def _displaced(asked: Mapping[str, Any]) -> set[str]:
    """The keys of a recipe that the flags say in another way."""
    swept = asked.get("sweep", {}).keys() - {SWEPT_WITH_LOSSES}
    hidden = {key for given in asked.keys() | swept for key in DISPLACED.get(given, ())}
    return hidden | {"ensemble"} if len(asked.get("seeds", ())) == 1 else hidden


def config_error(kind: type[Frozen], error: ValidationError) -> ConfigError:
    """The first problem pydantic found, in the words of the command line."""
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return unknown("recipe key", place, sorted(_table(kind, first["loc"][:-1]).model_fields))
    option = written(str(first["loc"][0])) if first["loc"] else ""
    message = first["msg"].removeprefix("Value error, ")
    value = first.get("input")
    shown = f" {value}" if isinstance(value, (str, int, float, Path)) else ""
    return ConfigError(f"{option}{shown}: {message}".strip(": "))
