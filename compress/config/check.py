"""Options of `compress check`."""

from compress.config.specs import Frozen


class CheckConfig(Frozen):
    """Prove on this machine that artifacts answer as they did where they were made.

    Attributes:
        artifact: An artifact folder, a folder of these, a model file, a run or `last`.
        provider: Execution provider of ONNX Runtime.
    """

    artifact: str
    provider: str = "CPUExecutionProvider"
