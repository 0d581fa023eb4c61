"""A gate of a record that holds the times of other machines, too."""

from pathlib import Path
from typing import Any

import pytest

from compress.config.gate import GateConfig
from compress.errors import InputError
from compress.records.bench import BenchRecord, HostRow, HostTimes, Times
from compress.records.gate import GateRecord
from compress.stages.gate import gate
from tests.fake_bench import MACHINE, ratio, record, row
from tests.notes import Notes

PI = MACHINE.model_copy(update={"cpu": "Example Board"})


def run(target: Path, *, notes: Notes | None = None, **options: Any) -> GateRecord:
    config = GateConfig.model_validate({"target": str(target), **options})
    return gate(config, progress=notes or Notes())


def there(name: str = "small", precision: str = "fp32", **times: Any) -> HostRow:
    """A row of another machine, ten times as slow."""
    own = row(name, precision, **times)
    fields = {key: getattr(own, key) for key in Times.model_fields}
    slow = {key: 10 * fields[key] for key in ("p50_ms", "p90_ms", "p90_low_ms", "p90_high_ms")}
    return HostRow(name=name, precision=precision, **{**fields, **slow})


def with_times_of(*rows: HostRow, host: str = "pi@kitchen", **changes: Any) -> BenchRecord:
    times = HostTimes(host=host, rows=rows, ruler_sha256="r" * 64, environment=PI)
    return record(row(), row(precision="int8"), hosts=(times,), **changes)


def saved(place: Path, found: BenchRecord) -> Path:
    place.write_text(found.to_json())
    return place


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    """1.2 ms here, 12 ms there, where one form was not timed."""
    lacking = HostRow(name="small", precision="int8", not_timed="made for vnni")
    return saved(tmp_path / "bench.json", with_times_of(there(), lacking))


def test_the_times_of_the_machine_that_made_it_are_judged_and_that_is_said(bench: Path) -> None:
    notes = Notes()
    found = run(bench, max_p90_ms=5, notes=notes)
    assert {check.outcome for check in found.checks} == {"pass"}
    assert "times of Example CPU, which made it, are judged, and not those of pi@k" in notes.text
    run(bench, max_size_kib=1000, notes=(quiet := Notes()))
    assert quiet.notes == []


def test_on_judges_the_times_of_the_machine_it_names(bench: Path) -> None:
    found = run(bench, max_p90_ms=5, min_top1=0.9, on="pi@kitchen:/opt/python")
    by_name = {f"{check.name} {check.row}": check for check in found.checks}
    assert by_name["max-p90-ms small fp32"].outcome == "fail"
    assert by_name["max-p90-ms small fp32"].value == 12
    assert by_name["max-p90-ms small fp32"].reason.startswith("on pi@kitchen: ")
    assert by_name["max-p90-ms small int8"].outcome == "inconclusive"
    assert "made for vnni" in by_name["max-p90-ms small int8"].reason
    assert by_name["min-top1 small fp32"].outcome == "pass"
    assert by_name["min-top1 small fp32"].reason.startswith("top-1")
    assert found.bench.hosts


def test_a_machine_that_the_record_does_not_hold_is_an_error_with_those_it_holds(
    bench: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="no times of nano") as error:
        run(bench, max_p90_ms=5, on="nano")
    assert error.value.hint == "it holds those of pi@kitchen"
    alone = saved(tmp_path / "alone.json", record(row()))
    with pytest.raises(InputError, match="no times of nano"):
        run(alone, max_p90_ms=5, on="nano")
    notes = Notes()
    assert run(alone, min_top1=0.9, on="nano", notes=notes).exit_code == 0
    assert notes.notes == ["no times of nano are judged"]


def test_a_row_that_was_not_timed_there_is_open(tmp_path: Path) -> None:
    place = saved(tmp_path / "bench.json", with_times_of(there()))
    found = run(place, max_p90_ms=20, on="pi@kitchen")
    assert [check.outcome for check in found.checks] == ["pass", "inconclusive"]
    assert "it was not timed on pi@kitchen" in found.checks[1].reason


def test_a_regression_there_is_judged_against_the_baselines_times_there(
    bench: Path, tmp_path: Path
) -> None:
    faster = there(ruler_ratio=ratio(1.0))
    old = saved(tmp_path / "old.json", with_times_of(faster))
    options: dict[str, Any] = {"max_latency_regression": 0.1, "precision": ["fp32"]}
    (check,) = run(bench, baseline=str(old), on="pi@kitchen", **options).checks
    assert check.outcome == "fail"
    assert check.value == pytest.approx(2.0)
    (check,) = run(bench, baseline=str(old), **options).checks
    assert check.outcome == "pass"
    elsewhere = saved(tmp_path / "elsewhere.json", record(row()))
    (check,) = run(bench, baseline=str(elsewhere), on="pi@kitchen", **options).checks
    assert check.outcome == "inconclusive"
    assert "another machine" in check.reason
