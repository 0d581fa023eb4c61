from pathlib import Path
from typing import Any

import pytest

from compress.config.gate import GateConfig
from compress.config.specs import Reference
from compress.errors import ConfigError
from compress.stages import gate_rows
from compress.stages.bench_rows import Row, collect, students
from tests.tiny_models import write_classifier, write_export

FORMS = [("small", "fp32"), ("small", "int8"), ("other", "fp32")]


def config(**options: Any) -> GateConfig:
    thresholds = options or {"max_size_kib": 1}
    return GateConfig.model_validate({"target": "x", **thresholds})


def rows(place: Path) -> list[Row]:
    """A teacher in two forms, and two students of which one has an INT8 form."""
    write_export(place)
    write_classifier(
        place / "teacher" / "model.int8.onnx", name="big", role="teacher", precision="int8"
    )
    write_classifier(place / "other" / "model.onnx", name="other")
    return collect([Reference(target=str(place))])[0]


def needed(found: list[Row], *, everything: bool = False, **options: Any) -> list[str]:
    return [row.label for row in gate_rows.needed(config(**options), found, everything=everything)]


def test_every_row_but_the_teachers_may_be_judged(tmp_path: Path) -> None:
    assert sorted(students(rows(tmp_path))) == sorted(FORMS)


def test_label_and_precision_narrow_what_is_judged() -> None:
    assert gate_rows.judged(config(), FORMS) == FORMS
    assert gate_rows.judged(config(max_size_kib=1, precision=["int8"]), FORMS) == FORMS[1:2]
    assert gate_rows.judged(config(max_size_kib=1, student=["other"]), FORMS) == FORMS[2:]
    with pytest.raises(ConfigError, match="unknown student 'smal'"):
        gate_rows.judged(config(max_size_kib=1, student=["smal"]), FORMS)


def test_a_form_that_a_chosen_model_lacks_is_absent() -> None:
    assert gate_rows.absent(config(), FORMS) == []
    asked = {"max_size_kib": 1, "precision": ["int8", "fp16"]}
    assert gate_rows.absent(config(**asked), FORMS) == [
        ("small", "fp16"),
        ("other", "int8"),
        ("other", "fp16"),
    ]
    assert gate_rows.absent(config(**asked, student=["small"]), FORMS) == [("small", "fp16")]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"max_p90_ms": 1}, ["small int8"]),
        ({"max_top1_drop": 0}, ["big fp32", "small int8"]),
        ({"min_agreement": 1}, ["big fp32", "small int8"]),
        ({"max_latency_ratio": 1}, ["big fp32", "small int8"]),
        ({"max_latency_ratio": 1, "latency_reference": "fp32"}, ["small fp32", "small int8"]),
        ({"max_quant_drop": 0}, ["small fp32", "small int8"]),
    ],
)
def test_what_no_limit_compares_is_not_measured(
    tmp_path: Path, options: dict[str, Any], expected: list[str]
) -> None:
    assert needed(rows(tmp_path), precision=["int8"], **options) == expected


def test_what_only_the_baseline_has_is_lost() -> None:
    now = [("small", "fp32"), ("other", "fp32")]
    assert gate_rows.lost(config(), now, FORMS, renamed=False) == [("small", "int8")]
    assert gate_rows.lost(config(), FORMS, now, renamed=False) == []
    for narrowed in ({"precision": ["fp32"]}, {"student": ["other"]}):
        options: dict[str, Any] = {"max_size_kib": 1, **narrowed}
        assert gate_rows.lost(config(**options), now, FORMS, renamed=False) == []
    assert gate_rows.lost(config(), [("new", "fp32")], [("old", "fp32")], renamed=True) == []
    assert gate_rows.lost(config(), [("new", "fp32")], [("old", "int8")], renamed=True) == [
        ("old", "int8")
    ]


def test_everything_is_measured_where_a_bench_is_repeated(tmp_path: Path) -> None:
    found = rows(tmp_path)
    assert len(needed(found, everything=True, max_p90_ms=1, precision=["int8"])) == 5
    assert needed(found, everything=True, max_p90_ms=1, precision=["fp16"]) == []


def test_only_the_counterparts_of_a_baseline_are_measured(tmp_path: Path) -> None:
    now, before = rows(tmp_path / "now"), rows(tmp_path / "before")

    def compared(**options: Any) -> list[str]:
        found = gate_rows.compared(config(**options), now, before, renamed=False)
        return [row.label for row in found]

    assert compared(max_p90_ms=1) == []
    assert compared(max_latency_regression=1, student=["small"]) == ["small fp32", "small int8"]
    assert compared(max_top1_regression=1, precision=["int8"]) == ["small int8"]
    limits = config(max_latency_regression=1)
    assert gate_rows.compared(limits, [], before, renamed=False) == []


def test_the_float_form_of_a_model_may_stand_under_another_name(tmp_path: Path) -> None:
    """Of two exports of one model that share it: it is a row of the first."""
    made_of: dict[str, Any] = {"name": "small", "weights_sha256": "5" * 64}
    for folder, gain in (("a", 1.0), ("b", 0.5)):
        place = tmp_path / folder / "small"
        write_classifier(place / "model.onnx", **made_of)
        write_classifier(place / "model.int8.onnx", precision="int8", gain=gain, **made_of)
    found = collect([Reference(target=str(tmp_path / folder)) for folder in "ab"])[0]
    only: dict[str, Any] = {"student": ["b/small"], "max_quant_drop": 0}
    assert needed(found, **only) == ["a/small fp32", "b/small int8"]
