from pathlib import Path

import pytest

from compress.config import recipes
from compress.config.gate import (
    THRESHOLDS,
    GateConfig,
    project_table,
    without_measuring,
)
from compress.errors import ConfigError, InputError


def build(*layers: dict[str, object]) -> GateConfig:
    return recipes.build(GateConfig, {"target": "a"}, *layers)


def test_no_threshold_at_all_is_refused_and_all_are_named() -> None:
    with pytest.raises(ConfigError, match="no threshold") as error:
        build({"max_seconds": 3})
    for name in THRESHOLDS:
        assert "--" + name.replace("_", "-") in error.value.hint


@pytest.mark.parametrize("name", THRESHOLDS)
def test_each_threshold_alone_is_enough(name: str) -> None:
    assert build({name: 0.5}).thresholds == {name: 0.5}


def test_a_limit_of_zero_is_a_limit() -> None:
    assert build({"max_top1_drop": 0}).thresholds == {"max_top1_drop": 0.0}


@pytest.mark.parametrize(
    ("name", "value"),
    [("min_top1", 93), ("max_top1_drop", -0.1), ("max_p90_ms", 0), ("max_latency_ratio", 0)],
)
def test_limits_out_of_bounds_are_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"--{name.replace('_', '-')} {value}"):
        build({name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("data", "images"), ("data_dir", "x"), ("threads", 2), ("max_seconds", 3), ("limit", 9)],
        *[("provider", "CPU"), ("strict", True), ("teacher", "t.onnx")],
    ],
)
def test_a_record_cannot_be_measured_in_another_way(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"no meaning for the record b.json: --{name[:3]}"):
        build({"target": "b.json", "min_top1": 0.9, name: value})
    assert build({"target": "b", "min_top1": 0.9, name: value}).thresholds


def test_of_a_record_the_times_of_another_machine_can_be_judged() -> None:
    assert build({"target": "b.json", "on": "pi", "max_p90_ms": 5}).on == "pi"
    assert build({"target": "b.json", "baseline": "a.json", "on": "pi", "max_p90_ms": 5}).baseline


def test_settings_that_measure_can_be_left_out_of_a_table() -> None:
    table = {"max-seconds": 5, "data_dir": "x", "min-top1": 0.9, "max-size-kib": 3, "on": "pi"}
    kept = {"min-top1": 0.9, "max-size-kib": 3}
    assert without_measuring(table, hosts=()) == kept
    assert without_measuring(table, hosts=("nano", "pi")) == {**kept, "on": "pi"}
    named = without_measuring({"on": "pi:/opt/python"}, hosts=("pi",))
    assert named == {"on": "pi:/opt/python"}


def test_a_baseline_that_would_be_measured_is_left_out_of_a_table() -> None:
    """Nobody typed it, and no flag takes it away."""
    assert without_measuring({"baseline": "before/student", "min-top1": 0.9}, hosts=()) == {
        "min-top1": 0.9
    }
    assert without_measuring({"baseline": "before.json"}, hosts=()) == {"baseline": "before.json"}


def test_records_and_artifacts_are_not_compared_with_each_other_where_they_cannot_be() -> None:
    with pytest.raises(ConfigError, match=r"b\.json is a record and old is not"):
        build({"target": "b.json", "baseline": "old", "min_top1": 0.9})
    with pytest.raises(ConfigError, match=r"old\.json is a record, and --on pi measures there"):
        build({"baseline": "old.json", "on": "pi", "max_latency_regression": 0.1})


def test_an_unknown_precision_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"int4.*fp32, fp16, int8"):
        build({"min_top1": 0.9, "precision": ["int4"]})


def test_flags_override_the_recipe_which_overrides_the_project(tmp_path: Path) -> None:
    project = tmp_path / "pyproject.toml"
    project.write_text(
        "[tool.compress.gate]\nmin-top1 = 0.8\nmax_top1_drop = 0.01\nmax-p90-ms = 5\n"
    )
    config = build(project_table(project), {"min-top1": 0.85, "max-p90-ms": 6}, {"min_top1": 0.9})
    assert config.thresholds == {"min_top1": 0.9, "max_top1_drop": 0.01, "max_p90_ms": 6.0}


@pytest.mark.parametrize("text", ["", "[project]\nname = 'a'\n", "[tool.compress]\n"])
def test_a_project_without_a_gate_table_sets_nothing(tmp_path: Path, text: str) -> None:
    project = tmp_path / "pyproject.toml"
    project.write_text(text)
    assert project_table(project) == {}
    assert project_table(tmp_path / "missing.toml") == {}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("tool = 3", "tool"),
        ("[tool]\ncompress = 3", "tool.compress"),
        ("[tool.compress]\ngate = 3", "tool.compress.gate"),
        ("[[tool.compress.gate]]\nmin-top1 = 0.9", "tool.compress.gate"),
    ],
)
def test_a_project_whose_table_is_none_is_refused(tmp_path: Path, text: str, place: str) -> None:
    project = tmp_path / "pyproject.toml"
    project.write_text(text)
    with pytest.raises(ConfigError, match=rf"^{place} in .*pyproject\.toml is not a table"):
        project_table(project)


def test_an_unknown_key_of_the_project_lists_the_known_ones(tmp_path: Path) -> None:
    project = tmp_path / "pyproject.toml"
    project.write_text("[tool.compress.gate]\nmin-top-1 = 0.8\n")
    with pytest.raises(ConfigError, match=r"\[tool.compress.gate\] key 'min-top-1'") as error:
        project_table(project)
    assert "min-top1" in error.value.hint
    assert "target" not in error.value.hint


def test_a_broken_project_file_is_named(tmp_path: Path) -> None:
    project = tmp_path / "pyproject.toml"
    project.write_text("[tool")
    with pytest.raises(ConfigError, match=r"pyproject.toml is not TOML"):
        project_table(project)
    with pytest.raises(InputError, match="cannot read"):
        project_table(tmp_path)
