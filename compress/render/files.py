"""Results as files that continuous integration reads: JUnit, Markdown, GitHub's annotations."""

from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

from compress.records.bench import BenchModel, HostTimes
from compress.records.document import Environment
from compress.records.gate import Check, GateRecord
from compress.render.markdown import plain
from compress.render.numbers import ABSENT, amount, percent, size
from compress.render.tables.bench import factor, milliseconds
from compress.render.tables.gate import ENDS, headline, interval, limit, value

SIGNS = {"pass": "✅ pass", "fail": "❌ fail", "inconclusive": "❔ cannot tell"}
CONTROL_CHARACTERS = {number: " " for number in range(32) if chr(number) not in "\t\n"}


def junit(record: GateRecord, *, inconclusive: str | None) -> str:
    """A JUnit document with one test case per check.

    Args:
        record: The verdicts.
        inconclusive: What an undecided check counts as: "fail" is a failure, "pass" skipped, None
            an error. All are errors where the whole gate is inconclusive: it is not green then.

    Returns:
        XML text.
    """
    kinds = {"fail": "failure", "pass": "skipped", None: "error"}
    undecided = "error" if record.outcome == "inconclusive" else kinds[inconclusive]
    words = {"pass": "", "fail": "failure", "inconclusive": undecided}
    tags = [words[check.outcome] for check in record.checks]
    suite = ElementTree.Element(
        "testsuite",
        name="compress gate",
        tests=str(len(tags)),
        failures=str(tags.count("failure")),
        errors=str(tags.count("error")),
        skipped=str(tags.count("skipped")),
        time=f"{record.bench.seconds:.3f}",
    )
    for check, tag in zip(record.checks, tags, strict=True):
        case = ElementTree.SubElement(
            suite, "testcase", classname=_clean(check.row or "gate"), name=check.name, time="0"
        )
        if tag:
            ElementTree.SubElement(case, tag, message=_clean(check.reason), type=check.outcome)
        else:
            ElementTree.SubElement(case, "system-out").text = _clean(check.reason)
    root = ElementTree.Element("testsuites", name="compress gate")
    root.append(suite)
    ElementTree.indent(root)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        + ElementTree.tostring(root, encoding="unicode")
        + "\n"
    )


def _clean(text: str) -> str:
    """Without the control characters that XML forbids."""
    return text.translate(CONTROL_CHARACTERS)


def markdown(record: GateRecord) -> str:
    """Verdicts and figures as Markdown tables, for a job summary."""
    verdicts = _table(
        ["Verdict", "Check", "Model", "Measured", "Range", "Limit"],
        [
            [SIGNS[c.outcome], c.name, c.row or ABSENT, value(c), interval(c), limit(c)]
            for c in record.checks
        ],
    )
    reasons = [
        f"* {plain(headline(check))}: {plain(check.reason)}"
        for check in record.checks
        if check.outcome != "pass"
    ]
    hosts = record.bench.hosts
    figures = _table(
        ["Model", "Form", "Size", "Params", "MACs", "Top-1", "p50 ms", "p90 ms", "Speed-up"]
        + [f"{share} on {host.host}" for host in hosts for share in ("p50 ms", "p90 ms")],
        [[*_figures(model), *_elsewhere(model, hosts)] for model in record.bench.models],
    )
    threads = record.bench.threads
    machines = [
        _machine(record.bench.environment, threads),
        *(f"{plain(host.host)}: {_machine(host.environment, threads)}" for host in hosts),
    ]
    parts = [
        f"### compress: {ENDS[record.outcome]}",
        verdicts,
        *(["\n".join(reasons)] if reasons else []),
        figures,
        *machines,
    ]
    return "\n\n".join(parts) + "\n"


def _machine(machine: Environment, threads: int) -> str:
    runtime = machine.packages.get("onnxruntime", "?")
    return f"{plain(machine.cpu)}, {threads} thread(s), ONNX Runtime {runtime}"


def _elsewhere(model: BenchModel, hosts: Sequence[HostTimes]) -> list[str]:
    """A model's times on other machines."""
    found: list[str] = []
    for host in hosts:
        times = {(row.name, row.precision): (row.p50_ms, row.p90_ms) for row in host.rows}
        found += map(milliseconds, times.get((model.name, model.precision), (None, None)))
    return found


def _figures(model: BenchModel) -> list[str]:
    role = "" if model.role == "student" else f" ({model.role})"
    return [
        model.name + role,
        model.precision,
        size(model.size_bytes),
        ABSENT if model.parameters is None else amount(model.parameters),
        ABSENT if model.macs is None else amount(model.macs),
        percent(model.top1),
        milliseconds(model.p50_ms),
        milliseconds(model.p90_ms),
        factor(model.speedup),
    ]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [[plain(cell) for cell in line] for line in (heads, *rows)]
    lines.insert(1, ["---"] * len(heads))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def annotations(record: GateRecord, *, inconclusive: str | None) -> list[str]:
    """GitHub Actions' workflow commands for what did not pass, one line each.

    Args:
        record: The verdicts.
        inconclusive: What an undecided check counts as; "pass" makes it a warning, unless the whole
            gate is inconclusive.
    """
    accepted = inconclusive == "pass" and record.outcome != "inconclusive"

    def kind(check: Check) -> str:
        return "warning" if check.outcome == "inconclusive" and accepted else "error"

    return [
        f"::{kind(check)} title={_property(f'compress gate: {headline(check)}')}"
        f"::{_message(check.reason)}"
        for check in record.checks
        if check.outcome != "pass"
    ]


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")


def in_github_actions(environment: Mapping[str, str]) -> bool:
    """Whether a job of GitHub Actions runs this."""
    return environment.get("GITHUB_ACTIONS") == "true"
