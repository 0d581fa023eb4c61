"""What a run is called, and whether two configurations ask for the same."""

import json
from pathlib import Path
from typing import Any

from compress.config.flags import written
from compress.digests import digest

NOT_ASKED = frozenset(
    {"data_dir", "soft_labels", "soft_labels_limit_mib", "workers", "run_dir", "resume", "restart"}
    | {"tensorboard", "group", "recipe"}
)
"""Keys that are no part of a run's identity: places, output, limits, where values come from."""
SAME_RESULT = {"checkpoint_every": 0, "ensemble": False}
"""Keys that never change what is trained, and the value each counts as in a run's identity.

It is their default, for runs were named with it before: a run without the option keeps its name.
"""
ADDED = {"select": "best", "unlabelled": None, "initial_weights": None}
"""Options that came later, and what runs did before: at that value the identity has none."""
OVERRIDES = frozenset({"model_settings", "sweep"})
"""Tables over the other options: what is said there counts as it is."""


def identity(config: dict[str, Any]) -> dict[str, Any]:
    """The part of a configuration (in JSON form) that decides the result, nested tables too."""
    return {
        key: identity(value)
        if isinstance(value, dict) and key not in OVERRIDES
        else SAME_RESULT.get(key, value)
        for key, value in config.items()
        if key not in NOT_ASKED and (key not in ADDED or value != ADDED[key])
    }


def run_id(data: str, what: str, config: dict[str, Any]) -> str:
    """Name a run by what was asked: `<data>-<what>-<8 hex digits>`.

    Args:
        data: Data name or folder; a folder's last part is used, where it has one.
        what: Model or students, for people.
        config: The configuration in JSON form.
    """
    words = f"{data_name(data)}-{what}"
    safe = "".join(c if c.isalnum() or c in "-_." else "-" for c in words)
    return f"{safe[:80]}-{digest(identity(config))[:8]}"


def data_name(data: str) -> str:
    """What data are called in names of runs and artifacts: a folder's last part, if it has one."""
    return Path(data).name or "data"


def _flat(config: dict[str, Any], place: str = "") -> dict[str, Any]:
    """Nested tables as one, their keys joined by dots."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict) and value:
            found |= _flat(value, f"{place}{key}.")
        else:
            found[f"{place}{key}"] = value
    return found


def _value(flat: dict[str, Any], key: str) -> Any:
    *tables, name = key.split(".")
    return flat.get(key, None if OVERRIDES & set(tables) else ADDED.get(name))


def _shown(value: Any) -> str:
    return "unset" if value is None else json.dumps(value)


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """How two configurations ask for different things, one line per option."""
    first, second = _flat(identity(old)), _flat(identity(new))
    return [
        f"{written(key)} is {_shown(_value(first, key))} in the run, "
        f"{_shown(_value(second, key))} now"
        for key in sorted(first.keys() | second.keys())
        if first.get(key) != second.get(key)
    ]
