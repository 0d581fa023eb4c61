"""The version, and how what has it is installed."""

import re
import tomllib

from compress.version import VERSION, WHEEL, install_hint
from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_version_is_one() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION)
    assert WHEEL.startswith(f"{PROJECT['name'].replace('-', '_')}-{VERSION}-")


def test_a_hint_names_an_extra_that_there_is_in_a_clone_and_as_a_wheel() -> None:
    for extra in ("train", "tensorboard"):
        assert extra in PROJECT["optional-dependencies"]
        assert install_hint(extra).startswith(f'pip install ".[{extra}]" in a clone')
        assert install_hint(extra).endswith(f'"{WHEEL}[{extra}]"')
