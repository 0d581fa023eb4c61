"""Every expected failure and the exit code it ends the program with."""

from typing import ClassVar


class CompressError(Exception):
    """A failure with something to tell the user; the subclass decides the exit code.

    Args:
        message: What was wrong, with the offending value, on one line.
        hint: What to do about it; empty when the message says it all.
    """

    exit_code: ClassVar[int] = 70
    told: bool = False
    """Whether another process of the same run tells the user."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def retell(self, message: str, *, hint: str) -> None:
        """Tell it in the words of what the user asked for, of which this was a step."""
        self.args = (message,)
        self.message, self.hint = message, hint


class ConfigError(CompressError):
    """The command, an option or a recipe asks for something that does not exist or make sense."""

    exit_code: ClassVar[int] = 2


class InputError(CompressError):
    """A file or folder is missing, corrupt, unfinished, altered, or cannot be written."""

    exit_code: ClassVar[int] = 3


class MachineError(CompressError):
    """This machine lacks the device, provider, memory or package that was asked for."""

    exit_code: ClassVar[int] = 4


class UnusableError(CompressError):
    """The work finished, but its result must not be used: broken parity, a NaN loss."""

    exit_code: ClassVar[int] = 5


class DivergedError(UnusableError):
    """A model in training gave what is no number: as its loss, in its weights, or as an answer.

    Args:
        label: The model.
        reason: What is not finite, and at which learning rate.
    """

    def __init__(self, label: str, reason: str) -> None:
        super().__init__(
            f"{label} diverged: {reason}",
            hint="use a smaller --learning-rate, or --amp off; the last checkpoint is kept",
        )
        self.reason = reason


class InconclusiveError(CompressError):
    """Nothing could be judged: noise, another machine, no baseline."""

    exit_code: ClassVar[int] = 6


class Interrupted(CompressError):  # noqa: N818 - not an error: somebody asked
    """The user or the system asked the program to stop; what was finished is saved."""

    exit_code: ClassVar[int] = 130


def unknown(kind: str, name: str, known: list[str] | tuple[str, ...]) -> ConfigError:
    """The error for a name that is in no registry, listing the names that are.

    Args:
        kind: What was looked up, in the singular: "model", "loss".
        name: The name asked for.
        known: The registered names.
    """
    return ConfigError(
        f"unknown {kind} {name!r}", hint=f"known {kind} names: {', '.join(sorted(known))}"
    )
