import json
from pathlib import Path
from typing import Any

import pytest

from compress.config.gate import GateConfig
from compress.config.specs import Reference
from compress.errors import ConfigError, InputError
from compress.progress import Silent
from compress.records.bench import BenchRecord
from compress.records.gate import GateRecord
from compress.stages import gate as stage
from compress.stages.bench import Wanted, measure_rows
from compress.stages.bench_rows import Row
from compress.stages.gate import gate
from tests.fake_bench import MACHINE, check, drop, ratio, record, row, verdicts
from tests.notes import Notes
from tests.tiny_models import coloured_images, write_classifier, write_export, write_folder


def run(target: object, *, notes: Notes | None = None, **options: Any) -> GateRecord:
    config = GateConfig.model_validate({"target": str(target), **options})
    return gate(config, progress=notes or Silent())


def saved(place: Path, found: BenchRecord) -> Path:
    place.write_text(found.to_json())
    return place


@pytest.fixture
def export(tmp_path: Path) -> Path:
    return write_export(tmp_path / "export")


@pytest.fixture
def images(tmp_path: Path) -> str:
    return str(write_folder(tmp_path / "images", coloured_images([0, 1, 2] * 40)))


def outcomes(found: GateRecord) -> dict[str, str]:
    return {f"{check.name} {check.row}": check.outcome for check in found.checks}


def test_every_row_but_the_teachers_is_judged(export: Path, images: str) -> None:
    found = run(export, data=images, min_top1=0.9)
    assert outcomes(found) == {"min-top1 small fp32": "pass", "min-top1 small int8": "fail"}
    assert (found.outcome, found.exit_code) == ("fail", 1)


def test_label_and_precision_narrow_what_is_judged(export: Path, images: str) -> None:
    found = run(export, data=images, min_top1=0.9, precision=["fp32"], student=["small"])
    assert outcomes(found) == {"min-top1 small fp32": "pass"}
    assert (found.outcome, found.exit_code) == ("pass", 0)


def test_an_unknown_label_lists_the_known_ones(export: Path) -> None:
    with pytest.raises(ConfigError, match="unknown student 'smal'") as error:
        run(export, max_size_kib=100, student=["smal"])
    assert "small" in error.value.hint


def test_a_precision_that_is_not_there_is_nothing_compared(export: Path) -> None:
    for student in ([], ["small"]):
        found = run(
            export, max_size_kib=100, precision=["fp16"], inconclusive="pass", student=student
        )
        assert (found.outcome, found.exit_code) == ("inconclusive", 6)
        assert found.checks[0].reason == "small has no fp16 form"


def test_a_precision_that_one_student_lacks_is_no_silent_pass(export: Path) -> None:
    write_classifier(export / "other" / "model.onnx", name="other", dataset="colours")
    found = run(export, max_size_kib=100, precision=["int8"])
    assert outcomes(found) == {
        "max-size-kib small int8": "pass",
        "max-size-kib other int8": "inconclusive",
    }
    assert found.exit_code == 6
    place = saved(export / "bench.json", found.bench.model_copy(update={"models": (row(),)}))
    assert outcomes(run(place, min_top1=0.5, precision=["fp32", "int8"])) == {
        "min-top1 small fp32": "pass",
        "min-top1 small int8": "inconclusive",
    }


def test_quantization_is_compared_with_its_own_fp32_form(export: Path, images: str) -> None:
    found = run(export, data=images, max_quant_drop=0.3, precision=["int8"])
    assert outcomes(found) == {"max-quant-drop small int8": "fail"}
    assert run(export, data=images, max_quant_drop=0.34, precision=["int8"]).exit_code == 0


def test_without_images_accuracy_cannot_be_told(export: Path) -> None:
    found = run(export, min_top1=0.5, max_size_kib=100)
    assert found.exit_code == 6
    assert "unknown data 'colours'" in found.checks[0].reason
    assert run(export, min_top1=0.5, max_size_kib=100, inconclusive="pass").exit_code == 0
    assert run(export, min_top1=0.5, max_size_kib=100, inconclusive="fail").exit_code == 1
    assert run(export, min_top1=0.5, inconclusive="pass").exit_code == 6


def spy(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], Wanted, list[str]]]:
    """What is measured, seen on its way."""
    seen = []

    def watch(rows: Any, config: Any, wanted: Wanted, **options: Any) -> BenchRecord:
        baseline = [row.key for row in options.get("baseline", ())]
        seen.append(([row.label for row in rows], wanted, baseline))
        return measure_rows(rows, config, wanted, **options)

    monkeypatch.setattr(stage, "measure_rows", watch)
    return seen


def test_only_what_the_limits_need_is_measured(
    export: Path, images: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = spy(monkeypatch)
    run(export, data=images, max_size_kib=100)
    run(export, data=images, min_top1=0.1)
    run(export, data=images, max_p90_ms=1000, max_seconds=0.2, precision=["int8"])
    run(export, data=images, max_top1_drop=1, precision=["int8"])
    run(export, data=images, max_quant_drop=1, precision=["int8"])
    assert [(wanted.answers, wanted.times) for _, wanted, _ in seen] == [
        (False, False),
        (True, False),
        (False, True),
        (True, False),
        (True, False),
    ]
    assert not any(wanted.memory or wanted.peaks for _, wanted, _ in seen)
    assert [labels for labels, _, _ in seen[2:]] == [
        ["small int8"],
        ["big fp32", "small int8"],
        ["small fp32", "small int8"],
    ]


def test_a_baseline_artifact_is_measured_in_the_same_call(
    export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = spy(monkeypatch)
    slower = tmp_path / "slower"
    write_classifier(slower / "model.onnx", name="small", work=40)
    found = run(slower, baseline=str(export / "small"), max_latency_regression=0.05)
    assert seen[0][2] == ["baseline:small fp32"]
    assert found.exit_code == 1
    (check,) = found.checks
    assert check.against == "baseline:small fp32"
    assert check.value is not None
    assert check.value > 1.5
    assert found.bench.processes >= 5


def test_a_gate_stops_timing_as_soon_as_it_is_decided(export: Path) -> None:
    found = run(export, precision=["fp32"], max_p90_ms=10_000)
    assert (found.exit_code, found.bench.processes) == (0, 5)


def test_an_earlier_bench_is_judged_by_its_own_figures(tmp_path: Path) -> None:
    place = saved(tmp_path / "bench.json", record(row(), row(precision="int8", top1=0.91)))
    found = run(place, min_top1=0.92, max_latency_ratio=0.3)
    assert outcomes(found) == {
        "min-top1 small fp32": "pass",
        "min-top1 small int8": "fail",
        "max-latency-ratio small fp32": "pass",
        "max-latency-ratio small int8": "pass",
    }


def test_two_records_are_compared(tmp_path: Path) -> None:
    now = saved(tmp_path / "now.json", record(row(ruler_ratio=ratio(2.4))))
    before = saved(tmp_path / "before.json", record(row(top1=0.935)))
    found = run(now, baseline=str(before), max_latency_regression=0.05, max_top1_regression=0.01)
    assert outcomes(found) == {
        "max-top1-regression small fp32": "pass",
        "max-latency-regression small fp32": "fail",
    }
    assert found.baseline == str(before)


def test_a_record_of_another_machine_decides_accuracy_but_not_times(tmp_path: Path) -> None:
    other = MACHINE.model_copy(update={"cpu": "Other"})
    now = saved(tmp_path / "now.json", record(row()))
    before = saved(tmp_path / "before.json", record(row(), environment=other))
    found = run(now, baseline=str(before), max_latency_regression=0.05, max_top1_regression=0.01)
    assert outcomes(found) == {
        "max-top1-regression small fp32": "pass",
        "max-latency-regression small fp32": "inconclusive",
    }
    assert found.exit_code == 6


def test_a_record_is_a_baseline_for_an_artifact(export: Path, images: str, tmp_path: Path) -> None:
    first = run(export, data=images, min_top1=0.1, precision=["fp32"]).bench
    better = saved(tmp_path / "old.json", first)
    found = run(
        export, data=images, baseline=str(better), max_top1_regression=0.0, precision=["fp32"]
    )
    assert outcomes(found) == {"max-top1-regression small fp32": "pass"}


def test_a_measured_baseline_is_compared_image_by_image(
    export: Path, images: str, tmp_path: Path
) -> None:
    worse, notes = tmp_path / "worse", Notes()
    write_classifier(worse / "model.onnx", name="small", answers=(0, 0, 2))
    limits: dict[str, Any] = {"max_top1_regression": 0.3, "notes": notes}
    found = run(worse, data=images, baseline=str(export / "small"), **limits)
    assert f"the baseline has small int8 and {worse} has not: it is not judged" in notes.notes
    (check,) = found.checks
    assert check.outcome == "fail"
    assert check.value == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("content", "said"),
    [("{", "is not JSON"), ('{"schema": 9}', "has schema 9"), ('{"schema": 1}', "is no BenchRec")],
)
@pytest.mark.parametrize("place", ["target", "baseline"])
def test_a_broken_record_is_named(tmp_path: Path, content: str, said: str, place: str) -> None:
    good, bad = saved(tmp_path / "good.json", record(row())), tmp_path / "bad.json"
    bad.write_text(content)
    target, baseline = (bad, good) if place == "target" else (good, bad)
    with pytest.raises(InputError, match=said):
        run(target, baseline=str(baseline), min_top1=0.9)


def test_a_missing_baseline_is_an_error_not_an_open_question(export: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json does not exist"):
        run(export, baseline="none.json", max_latency_regression=0.1)


@pytest.mark.parametrize("host", [None, "pi"])
def test_nothing_is_measured_for_a_regression_without_a_baseline(
    export: Path, images: str, monkeypatch: pytest.MonkeyPatch, host: str | None
) -> None:
    seen = spy(monkeypatch)
    found = run(export, data=images, max_latency_regression=0.1, max_top1_regression=0.1, on=host)
    assert (found.exit_code, found.bench.processes) == (6, 0)
    assert {check.reason for check in found.checks} == {"no --baseline to compare with"}
    assert [(wanted.answers, wanted.times, wanted.inputs) for _, wanted, _ in seen] == [
        (False, False, False)
    ]


def test_a_record_cannot_be_compared_with_what_must_be_measured(
    export: Path, tmp_path: Path
) -> None:
    place = saved(tmp_path / "bench.json", record(row(baseline_difference=drop(0))))
    with pytest.raises(ConfigError, match="is a record and"):
        run(place, baseline=str(export), max_latency_regression=0.1)


def test_a_teacher_that_is_no_model_file_is_refused_with_what_to_do(export: Path) -> None:
    for teacher in ("resnet50", "teacher.safetensors:model=resnet56", "t.th:model=resnet56"):
        with pytest.raises(ConfigError, match="is no model file") as error:
            run(export, max_top1_drop=0.1, teacher=teacher)
        assert "compress export" in error.value.hint


def test_another_machine_judges_times_under_the_names_that_rows_have_here(
    export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_classifier(export / "other" / "model.onnx", name="other", dataset="colours")
    asked: list[str] = []

    def there(
        _: GateConfig, host: str, limits: list[str], rows: list[Row], *__: object
    ) -> tuple[GateRecord, dict[str, str]]:
        asked.extend([host, *limits, *(one.label for one in rows)])
        (judged,) = rows
        said = "as model-000, model-000/small and model-002"
        checks = [
            check(name="max-p90-ms", row=name, unit="ms", outcome=outcome, reason=said)
            for name, outcome in (("model-000 int8", "pass"), ("model-001 int8", "inconclusive"))
        ]
        found = verdicts(*checks)
        models = (row("model-000", "int8", sha256=judged.sha256),)
        bench = found.bench.model_copy(update={"models": models})
        return found.model_copy(update={"bench": bench}), {"model-000": "old/small"}

    monkeypatch.setattr(stage, "_gate_there", there)
    found = run(
        export,
        on="pi", precision=["int8"], max_p90_ms=5, max_size_kib=100, max_latency_regression=0.1,
    )  # fmt: skip
    assert asked == ["pi", "max_p90_ms", "small int8"]
    assert {f"{one.name} {one.row}": (one.outcome, one.reason) for one in found.checks} == {
        "max-size-kib small int8": ("pass", "size 0.9 KiB, at most 100.0 KiB allowed"),
        "max-size-kib other int8": ("inconclusive", "other has no int8 form"),
        "max-p90-ms small int8": ("pass", "on pi: as old/small, old/small and model-002"),
        "max-p90-ms other int8": ("inconclusive", "other has no int8 form"),
        "max-latency-regression small int8": ("inconclusive", "no --baseline to compare with"),
        "max-latency-regression other int8": ("inconclusive", "other has no int8 form"),
    }
    assert found.bench.hosts[0].rows[0].p50_ms == 1.0


def test_a_host_without_a_limit_of_times_is_not_reached(export: Path) -> None:
    notes = Notes()
    config = GateConfig(target=Reference(target=str(export)), on="pi", max_size_kib=100)
    assert gate(config, progress=notes).exit_code == 0
    assert notes.notes == ["nothing to measure on pi: no limit is about times"]


def test_images_that_are_named_are_timed_with(
    export: Path, images: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = spy(monkeypatch)
    run(export, data=images, max_p90_ms=1000, max_seconds=0.2, precision=["int8"])
    run(export, data=images, max_size_kib=1000)
    assert [wanted.inputs for _, wanted, _ in seen] == [True, False]


def test_classes_without_images_are_said_in_the_verdict(export: Path, tmp_path: Path) -> None:
    images = write_folder(tmp_path / "two", coloured_images([0, 2] * 10))
    found = run(export, data=str(images), min_top1=0.5, precision=["fp32"])
    assert found.checks[0].outcome == "pass"
    assert found.checks[0].reason.endswith(
        "; judged by the interval: only 20 test images; no test images of green"
    )
    assert found.bench.notes == ("no test images of green",)


def test_one_image_shows_no_loss_by_quantization_and_no_absence_of_it(
    export: Path, tmp_path: Path
) -> None:
    images = write_folder(tmp_path / "one", coloured_images([0]))
    found = run(export, data=str(images), max_quant_drop=0)
    assert outcomes(found) == {"max-quant-drop small int8": "inconclusive"}
    assert found.exit_code == 6
    # both forms know red: the difference itself is 0
    assert found.checks[0].value == 0


def test_the_record_of_a_gate_survives_json(export: Path, images: str) -> None:
    found = run(export, data=images, min_top1=0.1, max_quant_drop=0.1)
    assert GateRecord.from_data(json.loads(found.to_json()), source="x") == found


def test_a_student_is_compared_with_its_own_baseline_alone(tmp_path: Path) -> None:
    """That only one is judged makes the other's no earlier version of it."""
    for place, models in (("new", ("a", "b")), ("old", ("b",))):
        for model in models:
            write_classifier(tmp_path / place / model / "model.onnx", name=model)
    images = str(write_folder(tmp_path / "images", coloured_images([0, 1, 2] * 40)))
    asked: dict[str, Any] = {
        "data": images,
        "max_top1_regression": 0,
        "baseline": str(tmp_path / "old"),
    }
    notes = Notes()
    run(tmp_path / "new", **asked, student=["a"], notes=notes)
    assert not any("has not: it is not judged" in note for note in notes.notes)
    for student in ("a", "b"):
        found = run(tmp_path / "new", student=[student], **asked)
        assert found.outcome == ("pass" if student == "b" else "inconclusive"), student
    alone = run(tmp_path / "new" / "a", **asked)
    assert alone.outcome == "pass"
    assert alone.checks[0].against == "baseline:b fp32"
    bench = saved(tmp_path / "old.json", run(tmp_path / "old", data=images, min_top1=0.1).bench)
    found = run(tmp_path / "new", student=["a"], **{**asked, "baseline": str(bench)})
    assert found.checks[0].reason == "the baseline has no accuracy of a fp32"
