"""What `compress bench` is asked to measure, and what it shares with `compress gate`."""

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from compress.config.specs import Frozen, Reference, StudentSpec, each_parsed

Positive = Annotated[float, Field(gt=0)]


class MeasuringConfig(Frozen):
    """How models are measured.

    Attributes:
        data: Data to measure accuracy on; None takes what the artifacts were trained for.
        data_dir: Where CIFAR lies.
        threads: Threads of each session, each on a core of its own.
        max_seconds: Longest time spent on timing; None is 20, or as long as five
            processes take.
        limit: Measure accuracy on this many test images, drawn evenly; None takes all.
        on: Host whose times are wanted, as ssh knows it: measured there, or of a record that a gate
            judges those it holds of it; None is this machine.
        max_size_kib: Largest file allowed, in KiB.
        provider: Execution provider of ONNX Runtime.
        strict: Refuse images of another size instead of resizing them.
    """

    data: str | None = None
    data_dir: Path | None = None
    threads: Annotated[int, Field(ge=1)] = 1
    max_seconds: Positive | None = None
    limit: Annotated[int | None, Field(ge=1)] = None
    on: str | None = None
    max_size_kib: Positive | None = None
    provider: str = "CPUExecutionProvider"
    strict: bool = False

    @field_validator("on")
    @classmethod
    def _host_is_no_option(cls, host: str | None) -> str | None:
        if host is not None and (not host or host.startswith("-") or any(map(str.isspace, host))):
            raise ValueError("is no host name: write HOST, USER@HOST or a name from ~/.ssh/config")
        return host


def host_and_python(host: str) -> tuple[str, str]:
    """The name in `HOST[:/path/to/python]` as ssh knows it, and the path or nothing."""
    name, colon, python = host.rpartition(":")
    return (name, python) if colon and python.startswith(("/", "~/")) else (host, "")


class BenchConfig(MeasuringConfig):
    """Measure latency, size and accuracy of models side by side.

    Attributes:
        targets: Export folders, artifact folders, .onnx files, runs or `last`; none with `student`.
        teacher: Another file to compare with: artifact, .onnx, weights file, run or model name.
        student: Untrained candidates to choose from.
        per_class: Also report the accuracy of every class.
    """

    targets: tuple[Reference, ...] = ()
    teacher: Reference | None = None
    student: tuple[StudentSpec, ...] = ()
    per_class: bool = False

    @field_validator("targets", mode="before")
    @classmethod
    def _parse_targets(cls, value: Any) -> Any:
        return each_parsed(value, Reference.parse)

    @field_validator("teacher", mode="before")
    @classmethod
    def _parse_teacher(cls, value: Any) -> Any:
        return Reference.parse(value) if isinstance(value, str) else value

    @field_validator("student", mode="before")
    @classmethod
    def _parse_students(cls, value: Any) -> Any:
        return each_parsed(value, StudentSpec.parse)

    @model_validator(mode="after")
    def _something_to_measure(self) -> Self:
        if not self.targets and not self.student:
            raise ValueError(
                "nothing to measure: name an export folder, an .onnx file or `last`, "
                "or untrained candidates with --student"
            )
        return self
