"""Runs bench or gate on another machine over plain ssh, and brings the record home."""

import json
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.config.bench import MeasuringConfig, host_and_python
from compress.errors import CompressError, ConfigError, InputError, MachineError, UnusableError
from compress.measure.artifact import GOLDEN, MODEL_FILES
from compress.progress import Progress
from compress.records.bench import BenchModel, BenchRecord, HostRow, HostTimes, Ratio, Times
from compress.runtime import ORT
from compress.stages.bench_rows import Row
from compress.version import VERSION, WHEEL

CONNECT_SECONDS = 10
ALIVE_SECONDS = 15
"""How often a host has to show that it is there; after four times without, it is given up."""
PYTHONS = ("python3", "python3.14", "python3.13", "python3.12", "python3.11", "python")
MARK = "@@compress@@"
"""Printed before anything that is ours: a login shell may greet first."""

UNREACHABLE = 255
"""What ssh itself ends with."""

PROBE = """
for p in {pythons}; do
  command -v "$p" >/dev/null 2>&1 || continue
  if ! "$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    old="$p"; continue
  fi
  if v=$("$p" -P -c 'from compress.version import VERSION; print(VERSION)' 2>/dev/null); then
    echo {mark}; echo "ready $v"; echo "$p"; exit 0
  fi
  bare="$p"
done
echo {mark}; if [ -n "$bare" ]; then echo "bare $bare"; else echo "old $old"; fi
"""

ERRORS: dict[int, type[CompressError]] = {3: InputError, 4: MachineError, 5: UnusableError}


@dataclass(frozen=True)
class Connection:
    """A machine that ssh reaches and that has the device half installed.

    Attributes:
        host: As ssh knows it.
        options: Of ssh and scp, for one authentication only.
        python: An interpreter there that has the package.
        folder: A folder of our own there.
    """

    host: str
    options: tuple[str, ...]
    python: str
    folder: str

    def compress(self, arguments: Sequence[str], *, accepted: Sequence[int] = (0,)) -> Any:
        """Run a command of ours there with `--json -`.

        Args:
            arguments: Of the command; paths are relative to `folder`.
            accepted: Exit codes that come with a record.

        Returns:
            The parsed record.

        Raises:
            CompressError: What failed there, as it would have failed here.
            MachineError: The connection broke, or the version there is another.
        """
        words = [self.python, "-P", "-m", "compress", *arguments, "--json", "-"]
        script = (
            f"cd {shlex.quote(self.folder)} && "
            # without its data and cache: accuracy is measured here
            f"unset COMPRESS_DATA; COMPRESS_CACHE={shlex.quote(self.folder + '/cache')}; "
            f"export COMPRESS_CACHE; echo {MARK}; exec {' '.join(map(shlex.quote, words))}"
        )
        done = _ssh(self.host, self.options, script)
        if done.returncode in accepted:
            try:
                return json.loads(done.stdout.partition(f"{MARK}\n")[2])
            except json.JSONDecodeError as error:
                raise MachineError(
                    f"{self.host} answered with no record: {done.stdout[-200:]!r}",
                    hint=f"install {WHEEL} there",
                ) from error
        if done.returncode == UNREACHABLE:
            raise _unreachable(self.host, done.stderr)
        lines = done.stderr.strip().splitlines()
        said = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        hints = [line.removeprefix("hint: ") for line in lines if line.startswith("hint: ")]
        reason = said[-1] if said else (lines or ["it said nothing"])[-1]
        kind = ERRORS.get(done.returncode, MachineError)
        raise kind(f"on {self.host}: {reason}", hint=hints[-1] if hints else "")


@contextmanager
def connected(host: str, progress: Progress) -> Iterator[Connection]:
    """Reach a host, find its Python and the package, and make a folder there for a while.

    Args:
        host: As ssh knows it; `HOST:/path/to/python` names the interpreter.
        progress: Told what was found.

    Raises:
        MachineError: No ssh here, no route, no Python ≥ 3.11 there, or no package.
    """
    name, python = host_and_python(host)
    if shutil.which("ssh") is None or shutil.which("scp") is None:
        raise MachineError("ssh and scp are not installed here", hint="install openssh-client")
    with tempfile.TemporaryDirectory(prefix="cmp-") as control:
        settings = {
            "ConnectTimeout": str(CONNECT_SECONDS),
            "ControlMaster": "auto",
            "ControlPath": f"{control}/s",
            "ControlPersist": "60",
            "ServerAliveInterval": str(ALIVE_SECONDS),
            "ServerAliveCountMax": "4",
        }
        options = tuple(w for key, value in settings.items() for w in ("-o", f"{key}={value}"))
        try:
            found = _probe(name, options, python)
            progress.note(f"measuring on {name} with {found.python}")
            try:
                yield found
            finally:
                _ssh(name, options, f"rm -rf {shlex.quote(found.folder)}")
        finally:
            subprocess.run(["ssh", *options, "-O", "exit", name], capture_output=True, check=False)


def _installing(python: str) -> str:
    """How another host gets this version: with the wheel that a clone makes."""
    return (
        f"run there: {python} -m pip install {WHEEL}, "
        "which `pip wheel --no-deps --wheel-dir wheels .` writes in a clone"
    )


def _probe(host: str, options: tuple[str, ...], python: str) -> Connection:
    names = [_home(python)] if python else list(PYTHONS)
    done = _ssh(host, options, PROBE.format(pythons=" ".join(names), mark=MARK))
    if done.returncode == UNREACHABLE:
        raise _unreachable(host, done.stderr)
    _, _, answer = done.stdout.partition(f"{MARK}\n")
    lines = answer.splitlines()
    state, _, detail = (lines[0] if lines else "old ").partition(" ")
    if state == "ready" and len(lines) == 2:
        if detail != VERSION:
            raise MachineError(
                f"{host} has compress-edge {detail}, this is {VERSION}",
                hint=_installing(lines[1]),
            )
        return Connection(host, options, lines[1], _folder_there(host, options))
    if state == "bare":
        raise MachineError(
            f"{host} has {detail} but not the package",
            hint=f"{_installing(detail)}; for an environment of its own: "
            f"--on {host}:/path/to/bin/python",
        )
    older = f" ({detail} is older)" if detail else ""
    raise MachineError(
        f"{host} has no Python 3.11 or newer{older}",
        hint=f"install one, or name it: --on {host}:/path/to/bin/python",
    )


def _folder_there(host: str, options: tuple[str, ...]) -> str:
    """A new folder on a host, of our own."""
    done = _ssh(host, options, f"echo {MARK}; mktemp -d")
    lines = done.stdout.partition(f"{MARK}\n")[2].splitlines()
    if done.returncode == UNREACHABLE:
        raise _unreachable(host, done.stderr)
    if done.returncode != 0 or not lines:
        said = done.stderr.strip().splitlines()
        raise MachineError(
            f"cannot make a folder on {host}: {said[-1] if said else 'mktemp failed'}",
            hint="is its disk full?",
        )
    return lines[0]


def _home(path: str) -> str:
    """A path for the shell there; `~/` is its home."""
    if path.startswith("~/"):
        return '"$HOME"/' + shlex.quote(path[2:])
    return shlex.quote(path)


def _ssh(host: str, options: tuple[str, ...], script: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["ssh", *options, host, f"sh -c {shlex.quote(script)}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="backslashreplace",
        check=False,
    )


def _unreachable(host: str, said: str) -> MachineError:
    lines = said.strip().splitlines()
    reason = lines[-1].strip() if lines else "ssh failed"
    return MachineError(f"cannot reach {host}: {reason}", hint=f"`ssh {host} true` must work")


def send(connection: Connection, groups: Mapping[str, Sequence[Row]]) -> None:
    """Copy model files, as artifact folders without a manifest, or as `.ort` files.

    Args:
        connection: Where to.
        groups: Rows by the path that names them there: a folder of artifacts, or the one file in
            ONNX Runtime's own format, which only its name can find.

    Raises:
        ConfigError: A file in ONNX Runtime's own format is in a folder.
        MachineError: scp fails.
    """
    places = {row_name: place for place, row_name in places_of(groups).items()}
    with tempfile.TemporaryDirectory(prefix="compress-") as name:
        for group, rows in groups.items():
            for row in rows:
                file = Path(name) / group
                if file.suffix != ORT:
                    if row.path.suffix == ORT:
                        raise ConfigError(
                            f"{group} {row.path} cannot be measured with --on {connection.host}",
                            hint="name the .onnx file it was made from",
                        )
                    file = file / places[row.name] / MODEL_FILES[row.precision]
                file.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(row.path, file)
                if row.golden is not None:
                    shutil.copyfile(row.golden, file.parent / GOLDEN)
        done = subprocess.run(
            ["scp", "-q", "-r", *connection.options, *map(str, sorted(Path(name).iterdir())),
             f"{connection.host}:{connection.folder}/"],
            stdin=subprocess.DEVNULL, capture_output=True, check=False,
            encoding="utf-8", errors="backslashreplace",
        )  # fmt: skip
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise MachineError(
            f"cannot copy to {connection.host}: {lines[-1] if lines else 'scp failed'}",
            hint="is its disk full?",
        )


def places_of(groups: Mapping[str, Sequence[Row]]) -> dict[str, str]:
    """The folders that models lie in on a host, and what they are called here.

    There is one per name in all groups, so that files are one model there where they are one here.
    A model that does not say its name is called after its folder there.
    """
    names = dict.fromkeys(row.name for rows in groups.values() for row in rows)
    return {f"model-{number:03}": name for number, name in enumerate(names)}


def grouped(rows: Sequence[Row]) -> tuple[dict[str, Sequence[Row]], list[str]]:
    """Rows by the path that names them on the host, and the arguments that do.

    One teacher is given there as `--teacher`, whatever its card says. That option stands for one
    file and drops all other teachers, so of several each is a target, in the order they have here:
    the first is the one that is compared with.
    """
    groups: dict[str, list[Row]] = {}
    for number, row in enumerate(rows):
        alone = row.role == "teacher" or row.path.suffix == ORT
        group = f"{row.role}{number}" if alone else "judged"
        path = f"{group}/{group}{ORT}" if row.path.suffix == ORT else group
        groups.setdefault(path, []).append(row)
    teachers = {path: held[0] for path, held in groups.items() if held[0].role == "teacher"}
    judged = [path for path in groups if path not in teachers]
    if len(teachers) == 1 and judged:
        return {**groups}, [*judged, "--teacher", *teachers]
    told = [path + ":role=teacher" * row.card.foreign for path, row in teachers.items()]
    return {**groups}, [*told, *judged]


def machine_options(config: MeasuringConfig) -> list[str]:
    """How to measure there, as arguments."""
    limit = [] if config.max_seconds is None else ["--max-seconds", str(config.max_seconds)]
    return [
        "--threads", str(config.threads), *limit, "--provider", config.provider, "--quiet",
    ]  # fmt: skip


def time_on(connection: Connection, rows: Sequence[Row], config: MeasuringConfig) -> HostTimes:
    """Time rows on another machine.

    Raises:
        CompressError: What failed there, as it would have failed here.
        MachineError: The host cannot be reached any more.
    """
    groups, arguments = grouped(rows)
    send(connection, groups)
    data = connection.compress(["bench", *arguments, *machine_options(config)])
    record = BenchRecord.from_data(data, source=f"the record from {connection.host}")
    return host_times(connection.host, rows, record)


def host_times(host: str, rows: Sequence[Row], record: BenchRecord) -> HostTimes:
    """The times of a record made elsewhere, under the names the rows have here."""
    labels = {row.sha256: row.label for row in rows}
    here = {model.label: labels.get(model.sha256, model.label) for model in record.models}
    by_sha = {model.sha256: model for model in record.models}
    found = [
        HostRow(
            name=row.name,
            precision=row.precision,
            not_timed=model.not_timed,
            **_times(model, here),
        )
        for row in rows
        if (model := by_sha.get(row.sha256)) is not None
    ]
    return HostTimes(
        host=host,
        rows=tuple(found),
        peaks=record.peaks,
        ruler_sha256=record.ruler_sha256,
        environment=record.environment,
    )


def _times(model: BenchModel, here: dict[str, str]) -> dict[str, Any]:
    fields = {name: getattr(model, name) for name in Times.model_fields}
    for name, value in fields.items():
        if isinstance(value, Ratio):
            fields[name] = value.model_copy(update={"to": here.get(value.to, value.to)})
    return fields
