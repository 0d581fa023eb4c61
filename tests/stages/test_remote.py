import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compress.config.bench import BenchConfig
from compress.config.gate import GateConfig
from compress.config.specs import Reference
from compress.errors import CompressError, ConfigError, MachineError
from compress.progress import Silent
from compress.records.bench import BenchRecord
from compress.stages import remote
from compress.stages.bench import bench
from compress.stages.bench_rows import Row, collect
from compress.stages.gate import gate
from compress.version import WHEEL
from tests.fake_bench import ratio, record, row
from tests.ssh_host import SSHD, Host, client, free_port, serving
from tests.tiny_models import (
    coloured_images,
    in_ort_format,
    write_classifier,
    write_export,
    write_folder,
)

CLIENT = shutil.which("ssh") and shutil.which("scp") and shutil.which("ssh-keygen")
needs_sshd = pytest.mark.skipif(
    not SSHD or not CLIENT, reason="OpenSSH's sshd is not installed (apt install openssh-server)"
)
needs_ssh = pytest.mark.skipif(not CLIENT, reason="OpenSSH's client is not installed")


@pytest.fixture(scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    with serving(tmp_path_factory.mktemp("ssh")) as server:
        yield server


@pytest.fixture
def device(_server: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Host:
    programs, temporary = _server
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    return Host(f"device:{sys.executable}", temporary)


def fake_python(place: Path, *, new: bool, version: str | None) -> Path:
    """An interpreter that is new enough or not, and has the package or not."""
    place.write_text(
        "#!/bin/sh\n"
        f'if [ "$1" = -c ]; then exit {0 if new else 1}; fi\n'
        + (f"echo {version}\n" if version else "exit 1\n")
    )
    place.chmod(0o755)
    return place


def rows(place: Path) -> list[Row]:
    return collect([Reference(target=str(place))])[0]


def config(*targets: object, **options: Any) -> BenchConfig:
    given = {"max_seconds": 0.2, **options}
    return BenchConfig.model_validate({"targets": [str(target) for target in targets], **given})


def write_teacher(folder: Path, name: str, *, work: int) -> Path:
    """An artifact folder of a teacher as fp32 and "int8", as an export holds it."""
    given: dict[str, Any] = {"name": name, "role": "teacher", "work": work}
    write_classifier(folder / "model.onnx", **given)
    write_classifier(folder / "model.int8.onnx", **given, precision="int8", target="portable")
    return folder


@needs_sshd
def test_the_times_of_another_machine_come_home_beside_ours(device: Host, tmp_path: Path) -> None:
    found = bench(config(write_export(tmp_path), on=device.place))
    (there,) = found.hosts
    assert there.host == "device"
    assert [(one.name, one.precision) for one in there.rows] == [
        ("big", "fp32"),
        ("small", "fp32"),
        ("small", "int8"),
    ]
    assert all(one.p50_ms for one in there.rows)
    assert there.rows[1].speedup is not None
    assert there.rows[2].fp32_ratio is not None
    assert there.rows[2].fp32_ratio.to == "small fp32"
    assert there.environment.cpu == found.environment.cpu
    assert all(model.p50_ms for model in found.models)
    assert device.left() == []


@needs_sshd
def test_files_from_elsewhere_keep_the_names_they_have_here(device: Host, tmp_path: Path) -> None:
    slow = write_classifier(tmp_path / "slow.onnx", work=20, card=False)
    fast = write_classifier(tmp_path / "fast.onnx", card=False)
    (there,) = bench(config(fast, teacher=str(slow), on=device.place)).hosts
    assert [one.name for one in there.rows] == ["slow", "fast"]
    assert there.rows[1].teacher_ratio is not None
    assert there.rows[1].teacher_ratio.to == "slow fp32"


@needs_sshd
def test_the_int8_form_of_the_teacher_is_timed_there_too(device: Host, tmp_path: Path) -> None:
    export = write_export(tmp_path)
    write_teacher(export / "teacher", "big", work=20)
    (there,) = bench(config(export, on=device.place)).hosts
    assert [(one.name, one.precision) for one in there.rows] == [
        ("big", "fp32"),
        ("big", "int8"),
        ("small", "fp32"),
        ("small", "int8"),
    ]
    assert all(one.p50_ms for one in there.rows)
    assert there.rows[1].fp32_ratio is not None
    assert there.rows[1].fp32_ratio.to == "big fp32"
    assert there.rows[2].teacher_ratio is not None
    assert there.rows[2].teacher_ratio.to == "big fp32"


@needs_sshd
def test_of_several_teachers_all_are_timed_and_the_first_here_is_compared_with(
    device: Host, tmp_path: Path
) -> None:
    first = write_teacher(tmp_path / "a" / "zeta", "zeta", work=2)
    second = write_teacher(tmp_path / "b" / "alpha", "alpha", work=1)
    small = write_classifier(tmp_path / "small.onnx", name="small")
    foreign = write_classifier(tmp_path / "foreign.onnx", card=False)
    found = bench(config(first, second, f"{foreign}:role=teacher", small, on=device.place))
    (there,) = found.hosts
    assert [(one.name, one.precision) for one in there.rows] == [
        ("zeta", "fp32"),
        ("zeta", "int8"),
        ("alpha", "fp32"),
        ("alpha", "int8"),
        ("foreign", "fp32"),
        ("small", "fp32"),
    ]
    assert there.rows[4].teacher_ratio is None
    assert there.rows[5].teacher_ratio is not None
    assert there.rows[5].teacher_ratio.to == "zeta fp32"


@needs_sshd
def test_a_teacher_of_the_same_name_is_told_apart_there(device: Host, tmp_path: Path) -> None:
    old = write_classifier(tmp_path / "old" / "model.onnx", name="small", work=20)
    new = write_classifier(tmp_path / "new" / "model.onnx", name="small")
    (there,) = bench(config(new, teacher=str(old), on=device.place)).hosts
    assert [one.name for one in there.rows] == ["old/small", "new/small"]
    assert there.rows[1].teacher_ratio is not None
    assert there.rows[1].teacher_ratio.to == "old/small fp32"


@needs_sshd
def test_files_in_onnx_runtimes_own_format_are_timed_there(device: Host, tmp_path: Path) -> None:
    export = write_export(tmp_path / "e")
    teacher = in_ort_format(export / "teacher" / "model.onnx")
    int8 = in_ort_format(export / "small" / "model.int8.onnx")
    foreign = in_ort_format(write_classifier(tmp_path / "foreign.onnx", card=False))
    fp32 = export / "small" / "model.onnx"
    found = bench(config(fp32, int8, foreign, teacher=str(teacher), on=device.place))
    (there,) = found.hosts
    assert [(one.name, one.precision) for one in there.rows] == [
        ("big", "fp32"),
        ("small", "fp32"),
        ("small", "int8"),
        ("foreign", "fp32"),
    ]
    assert all(one.teacher_ratio and one.teacher_ratio.to == "big fp32" for one in there.rows[1:])
    assert there.rows[2].fp32_ratio is not None
    assert there.rows[2].fp32_ratio.to == "small fp32"
    assert there.rows[3].fp32_ratio is None


@needs_sshd
def test_a_gate_judges_a_file_in_onnx_runtimes_own_format(device: Host, tmp_path: Path) -> None:
    model = write_classifier(tmp_path / "model.onnx", name="small")
    given = {"target": str(in_ort_format(model)), "on": device.place, "max_seconds": 15}
    found = gate(GateConfig.model_validate({**given, "max_p90_ms": 1000}))
    (check,) = found.checks
    assert (check.row, check.outcome) == ("small fp32", "pass")


@needs_sshd
def test_a_baseline_in_onnx_runtimes_own_format_is_refused(device: Host, tmp_path: Path) -> None:
    model = write_classifier(tmp_path / "model.onnx", name="small")
    baseline = in_ort_format(write_classifier(tmp_path / "old.onnx", name="small", work=1))
    given = {"target": str(model), "baseline": str(baseline), "on": device.place}
    with pytest.raises(ConfigError, match=r"baseline .*old\.ort cannot be .* --on device") as error:
        gate(GateConfig.model_validate({**given, "max_latency_regression": 0.05}))
    assert "name the .onnx" in error.value.hint
    assert device.left() == []


@needs_sshd
def test_a_gate_judges_times_there_and_accuracy_here(device: Host, tmp_path: Path) -> None:
    export = write_export(tmp_path / "e")
    slower = tmp_path / "slower"
    write_classifier(slower / "model.onnx", name="small", work=40, dataset="colours")
    images = write_folder(tmp_path / "i", coloured_images([0, 1, 2] * 40))
    found = gate(
        GateConfig.model_validate(
            {
                "target": str(slower), "baseline": str(export / "small"), "on": device.place,
                "data": str(images), "min_top1": 0.9, "max_latency_regression": 0.05,
                "max_seconds": 15,
            }
        )
    )  # fmt: skip
    checks = {check.name: check for check in found.checks}
    assert checks["min-top1"].outcome == "pass"
    assert checks["max-latency-regression"].outcome == "fail"
    assert checks["max-latency-regression"].row == "small fp32"
    assert checks["max-latency-regression"].reason.startswith("on device: latency ")
    assert found.exit_code == 1
    assert found.bench.models[0].p50_ms is None
    assert found.bench.hosts[0].rows[0].p50_ms


@needs_sshd
def test_what_fails_there_fails_here_with_the_hosts_name(device: Host, tmp_path: Path) -> None:
    with (
        pytest.raises(MachineError, match=r"on device: provider 'TensorrtEx") as error,
        remote.connected(device.place, Silent()) as connection,
    ):
        remote.time_on(
            connection,
            rows(write_export(tmp_path)),
            config("x", provider="TensorrtExecutionProvider"),
        )
    assert "CPUExecutionProvider" in error.value.hint
    assert device.left() == []


@needs_sshd
@pytest.mark.parametrize(
    ("new", "version", "said", "hint"),
    [
        (False, None, "no Python 3.11 or newer", "--on device:/path/to/bin/python"),
        (True, None, "but not the package", "-m pip install compress_edge-"),
        (
            True,
            "0.0.1",
            "has compress-edge 0.0.1, this is",
            f"pip install {WHEEL}",
        ),
    ],
)
def test_what_the_host_lacks_is_said_with_what_to_do(
    device: Host, tmp_path: Path, new: bool, version: str | None, said: str, hint: str
) -> None:
    python = fake_python(tmp_path / "python", new=new, version=version)
    with (
        pytest.raises(MachineError, match=said) as error,
        remote.connected(f"device:{python}", Silent()),
    ):
        pass
    assert hint in error.value.hint


@needs_ssh
def test_no_route_is_said_with_sshs_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = client(tmp_path, free_port())
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    with (
        pytest.raises(MachineError, match=r"cannot reach device: .*refused") as error,
        remote.connected("device", Silent()),
    ):
        pass
    assert "`ssh device true` must work" in error.value.hint
    monkeypatch.setattr("compress.stages.bench.measure_rows", None)
    with pytest.raises(MachineError, match="cannot reach device"):
        bench(config(write_export(tmp_path), on="device"))


def test_a_machine_without_ssh_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError, match="not installed here"), remote.connected("x", Silent()):
        pass


class FakeSsh:
    """Answers what a test says instead of a host."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, code: int, out: str, err: str) -> None:
        self.scripts: list[str] = []

        def ssh(_host: str, _options: object, script: str) -> "subprocess.CompletedProcess[str]":
            self.scripts.append(script)
            return subprocess.CompletedProcess([], code, out, err)

        monkeypatch.setattr(remote, "_ssh", ssh)


CONNECTION = remote.Connection("device", (), "/opt/my python", "/tmp/a b")


def test_a_greeting_of_the_login_shell_is_no_part_of_the_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = FakeSsh(monkeypatch, 0, 'Welcome! {"x"}\n@@compress@@\n{"schema": 1}\n', "")
    assert CONNECTION.compress(["bench", "judged"]) == {"schema": 1}
    assert "cd '/tmp/a b' &&" in fake.scripts[0]
    assert "'/opt/my python' -P -m compress bench judged --json -" in fake.scripts[0]
    assert "unset COMPRESS_DATA" in fake.scripts[0]


@pytest.mark.parametrize(
    ("code", "err", "kind", "said"),
    [
        (3, "error: x.onnx does not exist\nhint: copy it\n", 3, "on device: x.onnx does not exist"),
        (70, "Traceback\nKeyError: 1\n", 4, "on device: KeyError: 1"),
        (137, "", 4, "on device: it said nothing"),
        (255, "ssh: timed out\n", 4, "cannot reach device: ssh: timed out"),
    ],
)
def test_failures_there_keep_their_kind(
    monkeypatch: pytest.MonkeyPatch, code: int, err: str, kind: int, said: str
) -> None:
    FakeSsh(monkeypatch, code, "@@compress@@\n", err)
    with pytest.raises(CompressError) as raised:
        CONNECTION.compress(["bench"])
    assert (raised.value.exit_code, raised.value.message) == (kind, said)


def test_a_gates_verdict_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeSsh(monkeypatch, 6, "@@compress@@\n{}", "")
    assert CONNECTION.compress(["gate"], accepted=(0, 1, 6)) == {}


def test_a_folder_stands_for_a_name_in_all_groups(tmp_path: Path) -> None:
    now, before = (rows(write_export(tmp_path / place))[1:] for place in ("now", "before"))
    renamed = [replace(row, name="other/small") for row in before]
    assert remote.places_of({"judged": now, "baseline": before}) == {"model-000": "small"}
    assert remote.places_of({"judged": now, "baseline": renamed}) == {
        "model-000": "small",
        "model-001": "other/small",
    }


def test_rows_are_known_by_content_wherever_they_are_named_otherwise(tmp_path: Path) -> None:
    here = rows(write_export(tmp_path))[1:]
    models = [
        row("00", one.precision, sha256=one.sha256, teacher_ratio=None,
            fp32_ratio=ratio(0.5, to="00 fp32"))
        for one in here
    ]  # fmt: skip
    elsewhere: BenchRecord = record(*models)
    found = remote.host_times("device", here, elsewhere)
    assert [(one.name, one.precision) for one in found.rows] == [
        ("small", "fp32"),
        ("small", "int8"),
    ]
    assert found.rows[1].fp32_ratio is not None
    assert found.rows[1].fp32_ratio.to == "small fp32"
