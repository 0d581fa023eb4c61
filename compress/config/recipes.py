"""Recipes: TOML files that fill a configuration, under its flags and over its defaults."""

import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from compress.config.specs import Frozen
from compress.errors import ConfigError, InputError, unknown

Config = TypeVar("Config", bound=Frozen)
TABLES = ("about", "data", "train", "distill", "export", "gate")


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
    elif recipe in names():
        text = (resources.files("compress.recipes") / f"{recipe}.toml").read_text(encoding="utf-8")
    else:
        raise unknown("recipe", recipe, names())
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"recipe {recipe} is not TOML: {error}") from error
    for table, content in tables.items():
        if table not in TABLES or not isinstance(content, dict):
            raise unknown("recipe key", table, TABLES)
    return tables


def build(kind: type[Config], *layers: Mapping[str, Any]) -> Config:
    """Validate a configuration made of layers, later ones overriding earlier ones key by key.

    Raises:
        ConfigError: A key is unknown (the known ones are listed) or a value out of bounds.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        merged.update({key.replace("-", "_"): value for key, value in layer.items()})
    try:
        return kind.model_validate(merged)
    except ValidationError as error:
        raise config_error(kind, error) from error


def config_error(kind: type[Frozen], error: ValidationError) -> ConfigError:
    """The first problem pydantic found, in the words of the command line."""
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        if len(first["loc"]) == 1:
            return unknown("recipe key", place, sorted(kind.model_fields))
        return ConfigError(f"unknown recipe key {place!r}")
    option = "--" + str(first["loc"][0]).replace("_", "-") if first["loc"] else ""
    message = first["msg"].removeprefix("Value error, ")
    value = first.get("input")
    shown = f" {value}" if isinstance(value, (str, int, float, Path)) else ""
    return ConfigError(f"{option}{shown}: {message}".strip(": "))
