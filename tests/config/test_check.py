"""Options of `compress check`."""

from compress.config.check import CheckConfig
from compress.config.recipes import build


def test_the_cpu_is_the_default_provider() -> None:
    config = build(CheckConfig, {"artifact": "last"})
    assert (config.artifact, config.provider) == ("last", "CPUExecutionProvider")
