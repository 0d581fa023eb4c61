"""What `compress gate` requires."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from compress.config.bench import MeasuringConfig, Positive, host_and_python
from compress.config.specs import Reference
from compress.errors import ConfigError, InputError, unknown

Fraction = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[float, Field(ge=0)]

ACCURACY = (
    "min_top1", "max_top1_drop", "max_quant_drop", "min_agreement", "max_top1_regression",
)  # fmt: skip
TIMES = ("max_latency_ratio", "max_p90_ms", "max_latency_regression")
WITH_BASELINE = ("max_latency_regression", "max_top1_regression")
THRESHOLDS = (*ACCURACY, "max_size_kib", *TIMES)
MEASURING = (
    *(name for name in MeasuringConfig.model_fields if name not in (*THRESHOLDS, "on")),
    "teacher",
)
"""What says how to measure, and so means nothing for a record; `on` says whose times it judges."""

RECORD_SUFFIX = ".json"


class GateConfig(MeasuringConfig):
    """Judge figures against limits. Accuracies are fractions of 1.

    Attributes:
        target: Export folder, artifact folder, .onnx file, run, `last`, or the JSON of a bench.
        baseline: What to compare with: an artifact, measured in the same call, or a bench's JSON.
        teacher: Another artifact or .onnx file to compare with.
        student: Labels to judge; empty judges every row but the teacher's.
        precision: Precisions to judge; empty judges all.
        min_top1: Lowest top-1.
        max_top1_drop: Largest top-1 lost against the teacher.
        max_quant_drop: Largest top-1 lost against the float32 form of the same student.
        min_agreement: Smallest share of images with the teacher's top-1.
        max_latency_ratio: Largest latency by that of `latency_reference`.
        latency_reference: The teacher, or the float32 form of the same student.
        max_p90_ms: Largest 90th percentile of the latency, in milliseconds.
        max_latency_regression: Largest growth of the latency against the baseline; 0.05 is 1.05x.
        max_top1_regression: Largest top-1 lost against the baseline.
        inconclusive: What an undecided check counts as, where another check was decided.
        junit: JUnit file to write.
        markdown: Markdown file to write.
    """

    target: Reference
    baseline: Reference | None = None
    teacher: Reference | None = None
    student: tuple[str, ...] = ()
    precision: tuple[str, ...] = ()
    min_top1: Fraction | None = None
    max_top1_drop: Fraction | None = None
    max_quant_drop: Fraction | None = None
    min_agreement: Fraction | None = None
    max_latency_ratio: Positive | None = None
    latency_reference: Literal["teacher", "fp32"] = "teacher"
    max_p90_ms: Positive | None = None
    max_latency_regression: NotNegative | None = None
    max_top1_regression: Fraction | None = None
    inconclusive: Literal["pass", "fail"] | None = None
    junit: Path | None = None
    markdown: Path | None = None

    @field_validator("target", "baseline", "teacher", mode="before")
    @classmethod
    def _parse_reference(cls, value: Any) -> Any:
        return Reference.parse(value) if isinstance(value, str) else value

    @field_validator("student", "precision", mode="before")
    @classmethod
    def _one_is_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("precision")
    @classmethod
    def _known_precisions(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        known = ("fp32", "fp16", "int8")
        for name in value:
            if name not in known:
                raise ValueError(f"unknown precision {name!r}, known: {', '.join(known)}")
        return value

    @property
    def thresholds(self) -> dict[str, float]:
        """The limits that were set, by name."""
        values = {name: getattr(self, name) for name in THRESHOLDS}
        return {name: float(value) for name, value in values.items() if value is not None}

    @property
    def judges_record(self) -> bool:
        """Whether the target is the JSON of a bench, which is not measured again."""
        return self.target.target.endswith(RECORD_SUFFIX)

    @property
    def baseline_is_record(self) -> bool:
        """Whether the baseline is the JSON of a bench."""
        return self.baseline is not None and self.baseline.target.endswith(RECORD_SUFFIX)

    @model_validator(mode="after")
    def _something_to_judge(self) -> Self:
        if not self.thresholds:
            names = ", ".join("--" + name.replace("_", "-") for name in THRESHOLDS)
            raise ConfigError("no threshold to judge by", hint=f"set at least one of {names}")
        return self

    @model_validator(mode="after")
    def _a_record_is_not_measured(self) -> Self:
        given = [name for name in MEASURING if name in self.model_fields_set]
        if self.judges_record and given:
            options = ", ".join("--" + name.replace("_", "-") for name in given)
            raise ConfigError(
                f"no meaning for the record {self.target}: {options}",
                hint="give an artifact, which is measured",
            )
        if self.judges_record and self.baseline is not None and not self.baseline_is_record:
            raise ConfigError(
                f"{self.target} is a record and {self.baseline} is not",
                hint="give both as records, or both as artifacts (measured beside each other)",
            )
        if self.on is not None and self.baseline_is_record and not self.judges_record:
            raise ConfigError(
                f"--baseline {self.baseline} is a record, and --on {self.on} measures there",
                hint="give the baseline as an artifact: both are measured beside each other there",
            )
        return self


def without_measuring(layer: Mapping[str, Any], *, hosts: Sequence[str]) -> dict[str, Any]:
    """A table of settings without those that mean nothing for a record.

    Args:
        layer: The table.
        hosts: The other machines whose times the record holds.
    """
    kept = {key: value for key, value in layer.items() if key.replace("-", "_") not in MEASURING}
    if host_and_python(str(kept.get("on", "")))[0] not in hosts:
        kept.pop("on", None)
    if not str(kept.get("baseline", RECORD_SUFFIX)).endswith(RECORD_SUFFIX):
        del kept["baseline"]  # an artifact would have to be measured
    return kept


def project_table(path: Path) -> dict[str, Any]:
    """The `[tool.compress.gate]` table of a pyproject.toml; empty where there is none.

    Raises:
        ConfigError: The file is not TOML, a table is none, or a key is unknown (the known ones are
            listed).
        InputError: The file is there and cannot be read.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    table, place = content, ""
    for key in ("tool", "compress", "gate"):
        place = f"{place}.{key}".removeprefix(".")
        table = table.get(key, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{place} in {path} is not a table", hint=f"write [{place}]")
    known = [name.replace("_", "-") for name in GateConfig.model_fields if name != "target"]
    for key in table:
        if key.replace("_", "-") not in known:
            raise unknown("[tool.compress.gate] key", key, known)
    return dict(table)
