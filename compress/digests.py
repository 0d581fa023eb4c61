"""Short names for what was asked, so that the same question finds its answer again."""

import hashlib
import json
from collections.abc import Mapping


def digest(values: Mapping[str, object]) -> str:
    """sha256 of plain values in JSON form, in hex digits; the order of keys counts for nothing.

    Raises:
        TypeError: A value has no form in JSON.
    """
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
