"""The one place the version is written, and how what has it is installed."""

VERSION = "0.1.0"
WHEEL = f"compress_edge-{VERSION}-py3-none-any.whl"
"""What `pip wheel --no-deps --wheel-dir wheels .` writes in a clone. No package index has it."""


def install_hint(extra: str) -> str:
    """How to add an optional extra of the package: "train", "tensorboard"."""
    return f'pip install ".[{extra}]" in a clone of compress, or "{WHEEL}[{extra}]"'
