"""Scripts of benchmarks/ and docs/ as modules."""

import importlib
import sys
from typing import Any

from tests.conftest import ROOT


def load_script(folder: str, name: str) -> Any:
    """Import a script, which finds its neighbours as it does when it is run.

    Args:
        folder: `benchmarks` or `docs`.
        name: The file's name without `.py`.
    """
    place = str(ROOT / folder)
    sys.path.insert(0, place)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(place)
