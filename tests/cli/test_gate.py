"""`compress gate` as a CI job types it."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from compress.config.gate import THRESHOLDS
from tests.conftest import RunCli
from tests.fake_bench import ratio, record, row
from tests.tiny_models import coloured_images, write_export, write_folder


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A working directory with an export and a folder of images."""
    folder = tmp_path / "here"
    write_export(folder / "exported" / "demo")
    write_folder(folder / "images", coloured_images([0, 1, 2] * 40))
    return folder


JUDGED = ("gate", "demo", "--data", "images")


def test_a_passed_gate_ends_with_0(run_cli: RunCli, here: Path) -> None:
    finished = run_cli(*JUDGED, "--min-top1", 0.6, "--max-size-kib", 100, cwd=here)
    assert finished.code == 0, finished.stderr
    assert finished.stdout.splitlines()[-1] == "gate passed (exit code 0)"


def test_a_failed_gate_ends_with_1_and_says_why(run_cli: RunCli, here: Path) -> None:
    finished = run_cli(*JUDGED, "--min-top1", 0.9, cwd=here)
    assert finished.code == 1
    assert "FAIL min-top1 of small int8: top-1 0.6667, at least 0.9000 required" in " ".join(
        finished.stdout.split()
    )


def test_a_gate_that_compared_nothing_ends_with_6(run_cli: RunCli, here: Path) -> None:
    (here / "pyproject.toml").write_text("[tool.compress.gate]\nmax-top1-regression = 0.1\n")
    finished = run_cli("gate", "demo", cwd=here)
    assert finished.code == 6
    assert "no --baseline to compare with" in finished.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("--json", "./bench.json"),
        ("--junit", "bench.json"),
        ("--markdown", "old.json"),
        ("--json", "old.json"),
        ("--junit", "new", "--markdown", "new"),
    ],
)
def test_no_output_replaces_an_input(
    invoke: RunCli, here: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    for name in ("bench.json", "old.json"):
        (here / name).write_text(record(row()).to_json())
    before = (here / "bench.json").read_bytes()
    monkeypatch.chdir(here)
    finished = invoke(
        "gate", "bench.json", "--baseline", "old.json", "--max-size-kib", 500, *arguments
    )
    assert (finished.code, finished.stdout) == (2, "")
    assert f"error: {arguments[-2]} " in finished.stderr
    assert "would overwrite the file of" in finished.stderr
    assert (here / "bench.json").read_bytes() == before
    assert not (here / "new").exists()


def test_no_threshold_ends_with_2(run_cli: RunCli, here: Path) -> None:
    finished = run_cli("gate", "demo", cwd=here)
    assert (finished.code, finished.stdout) == (2, "")
    assert "set at least one of --min-top1" in finished.stderr


@pytest.mark.parametrize("name", THRESHOLDS)
def test_each_limit_of_the_command_line_is_judged(
    invoke: RunCli, here: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for file in ("bench.json", "old.json"):
        (here / file).write_text(record(row(), row(precision="int8")).to_json())
    monkeypatch.chdir(here)
    flag = name.replace("_", "-")
    finished = invoke(
        *("gate", "bench.json", "--baseline", "old.json"), f"--{flag}", 0.5, "--json", "-"
    )
    # an allowance above 1 is judged as what it allows
    limit = 1.5 if name == "max_latency_regression" else 0.5
    checks = json.loads(finished.stdout)["checks"]
    assert {(check["name"], check["limit"]) for check in checks} == {(flag, limit)}


def test_the_reference_of_the_latency_ratio_is_chosen(
    invoke: RunCli, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    int8 = row(precision="int8", fp32_ratio=ratio(0.6, to="small fp32"))
    (here / "bench.json").write_text(record(row(), int8).to_json())
    monkeypatch.chdir(here)
    judged = ("gate", "bench.json", "--precision", "int8", "--max-latency-ratio", 0.5)
    assert invoke(*judged).code == 0, "0.25 of the teacher"
    finished = invoke(*judged, "--latency-reference", "fp32", "--json", "-")
    assert finished.code == 1
    assert [check["value"] for check in json.loads(finished.stdout)["checks"]] == [0.6]


def test_a_limit_of_zero_is_a_limit(run_cli: RunCli, here: Path) -> None:
    finished = run_cli(*JUDGED, "--max-quant-drop", 0, cwd=here)
    assert finished.code == 1


def test_limits_come_from_the_project_under_recipe_and_flags(run_cli: RunCli, here: Path) -> None:
    (here / "pyproject.toml").write_text(
        "[tool.compress.gate]\nmin-top1 = 0.9\nmax-size-kib = 1\nmax-quant-drop = 0.5\n"
    )
    (here / "mine.toml").write_text("[gate]\nmax-size-kib = 2\nmin-top1 = 0.6\n")
    finished = run_cli(
        *JUDGED, "--recipe", "mine.toml", "--max-size-kib", 100, "--json", "-", cwd=here
    )
    limits = {check["name"]: check["limit"] for check in json.loads(finished.stdout)["checks"]}
    assert limits == {"min-top1": 0.6, "max-size-kib": 100.0, "max-quant-drop": 0.5}
    assert finished.code == 0


@pytest.mark.parametrize(
    ("file", "arguments", "code", "said"),
    [
        ("[tool.compress.gate]\nmin_top = 1\n", (), 2, "unknown [tool.compress.gate] key"),
        ("[tool", ("--min-top1", 0.5), 2, "pyproject.toml is not TOML"),
        ("", ("--min-top1", 93), 2, "--min-top1 93"),
        ("", ("--min-top1", 0.5, "--precision", "int4"), 2, "unknown precision"),
        ("", ("--min-top1", 0.5, "--student", "smal"), 2, "unknown student 'smal'"),
        ("", ("--max-size-kib", 5, "--inconclusive", "maybe"), 2, "--inconclusive maybe"),
        ("", ("--max-top1-regression", 0), 2, "--max-top1-regression has nothing to compare"),
        ("", ("--max-latency-regression", 0.1), 2, "--max-latency-regression has nothing"),
        ("", ("--max-p90-ms", 5, "--latency-reference", "x"), 2, "--latency-reference x"),
        ("", ("--max-size-kib", 5, "--baseline", "gone.json"), 3, "gone.json does not exist"),
        ("", ("--max-p90-ms", 5, "--baseline", "b.json", "--on", "pi"), 2, "b.json is a record"),
        ("", ("--max-top1-drop", 0.1, "--teacher", "t.pth"), 2, "--teacher t.pth is no model file"),
    ],
)
def test_what_cannot_be_is_one_line_with_its_exit_code(
    run_cli: RunCli, here: Path, file: str, arguments: tuple[object, ...], code: int, said: str
) -> None:
    (here / "pyproject.toml").write_text(file)
    finished = run_cli("gate", "demo", *arguments, cwd=here)
    assert (finished.code, finished.stdout) == (code, "")
    assert said in finished.stderr
    assert "Traceback" not in finished.stderr


def test_a_file_that_cannot_be_written_takes_no_other_with_it(run_cli: RunCli, here: Path) -> None:
    (here / "file").touch()
    finished = run_cli(
        *JUDGED, "--max-size-kib", 100, "--json", "file/b.json", "--junit", "file/j.xml",
        "--markdown", "m.md", cwd=here,
    )  # fmt: skip
    assert finished.code == 3
    assert "max-size-kib" in finished.stdout
    assert "max-size-kib" in (here / "m.md").read_text()
    assert "file/b.json" in finished.stderr
    assert "file/j.xml" in finished.stderr


def test_a_record_is_judged_whatever_the_project_says_of_measuring(
    run_cli: RunCli, here: Path
) -> None:
    (here / "pyproject.toml").write_text(
        "[tool.compress.gate]\nmin-top1 = 0.6\nmax-p90-ms = 5\nmax-seconds = 3\n"
        "data = 'images'\non = 'pi'\n"
    )
    (here / "bench.json").write_text(record(row()).to_json())
    finished = run_cli("gate", "bench.json", cwd=here)
    assert finished.code == 0, finished.stderr
    finished = run_cli("gate", "bench.json", "--limit", 5, "--threads", 2, cwd=here)
    assert (finished.code, finished.stdout) == (2, "")
    assert "no meaning for the record bench.json: --threads, --limit" in finished.stderr


def test_reports_are_written_for_what_reads_them(run_cli: RunCli, here: Path) -> None:
    summary = here / "summary.md"
    summary.write_text("before\n")
    finished = run_cli(
        *JUDGED, "--min-top1", 0.9, "--junit", "out/gate.xml", "--markdown", "out/gate.md",
        cwd=here, env={"GITHUB_STEP_SUMMARY": str(summary), "GITHUB_ACTIONS": "true"},
    )  # fmt: skip
    assert finished.code == 1
    suite = ElementTree.parse(here / "out" / "gate.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    text = (here / "out" / "gate.md").read_text()
    assert text.startswith("### compress: gate failed")
    assert summary.read_text() == "before\n" + text
    assert "::error title=compress gate%3A min-top1 of small int8::" in finished.stderr


def test_outside_github_nothing_is_annotated(run_cli: RunCli, here: Path) -> None:
    finished = run_cli(
        *JUDGED, "--min-top1", 0.9, cwd=here, env={"GITHUB_ACTIONS": "", "GITHUB_STEP_SUMMARY": ""}
    )
    assert "::error" not in finished.stderr


def test_json_is_the_only_output_and_the_verdict_still_counts(run_cli: RunCli, here: Path) -> None:
    finished = run_cli(*JUDGED, "--min-top1", 0.9, "--json", "-", "--quiet", cwd=here)
    document = json.loads(finished.stdout)
    assert (finished.code, document["exit_code"], document["outcome"]) == (1, 1, "fail")
    assert finished.stderr == ""


def test_a_reader_that_leaves_does_not_turn_a_failure_into_a_pass(
    run_cli: RunCli, here: Path
) -> None:
    """Of one stream, as `| head` leaves it, or of both, as `2>&1 | head` does."""
    closed = "import os\nread, write = os.pipe()\nos.close(read)\nos.dup2(write, 1)\n"
    for code in (closed, f"{closed}os.dup2(write, 2)\n"):
        finished = run_cli(*JUDGED, "--min-top1", 0.9, "--junit", "j.xml", cwd=here, code=code)
        assert finished.code == 1, finished.stderr
        assert (here / "j.xml").is_file()
        (here / "j.xml").unlink()
        assert run_cli(*JUDGED, "--min-top1", 0.1, cwd=here, code=code).code == 0
        assert run_cli("gate", "gone", "--min-top1", 0.1, cwd=here, code=code).code == 3


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_messages_that_meet_a_full_disk_leave_the_verdict(
    run_cli: RunCli, here: Path, unbuffered: str
) -> None:
    full = "import os\nos.dup2(os.open('/dev/full', os.O_WRONLY), 2)\n"
    env = {"PYTHONUNBUFFERED": unbuffered, "GITHUB_ACTIONS": "true"}
    for least, code in ((0.1, 0), (0.9, 1)):
        finished = run_cli(*JUDGED, "--min-top1", least, cwd=here, code=full, env=env)
        assert finished.code == code
        assert finished.stdout.splitlines()[-1].endswith(f"(exit code {code})")


def test_it_runs_where_there_is_no_torch_and_no_onnx(run_cli: RunCli, here: Path) -> None:
    block = "import sys\nfor name in ('torch', 'onnx', 'sklearn'): sys.modules[name] = None\n"
    finished = run_cli(*JUDGED, "--min-top1", 0.6, cwd=here, code=block)
    assert finished.code == 0, finished.stderr


def test_a_locale_without_its_signs_is_no_failure(run_cli: RunCli, here: Path) -> None:
    """A table says at most and at least with signs that Latin-1 does not have."""
    env = {"PYTHONIOENCODING": "latin-1"}
    finished = run_cli(*JUDGED, "--min-top1", 0.1, cwd=here, env=env)
    assert finished.code == 0, finished.stderr
