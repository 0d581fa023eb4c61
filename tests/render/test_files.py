"""What continuous integration reads."""

from xml.etree import ElementTree

import pytest

from compress.records.bench import HostRow, HostTimes
from compress.records.gate import GateRecord
from compress.render.files import annotations, in_github_actions, junit, markdown
from tests.fake_bench import MACHINE, check, record, row, verdicts

FAILED = check(name="max-p90-ms", outcome="fail", unit="ms", value=5.1, low=5.0, high=5.2,
               limit=4.0, reason="p90 5.1 ms, at most 4 ms allowed")  # fmt: skip
OPEN = check(name="max-latency-ratio", outcome="inconclusive", unit="ratio", value=None, low=None,
             high=None, limit=0.3, reason="no teacher")  # fmt: skip


def suite(found: GateRecord, *, inconclusive: str | None = None) -> ElementTree.Element:
    root = ElementTree.fromstring(junit(found, inconclusive=inconclusive).encode())
    assert root.tag == "testsuites"
    (only,) = root
    return only


def test_junit_has_one_case_per_check() -> None:
    found = suite(verdicts(check(), FAILED, OPEN, code=1))
    assert {key: found.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "3", "failures": "1", "errors": "1", "skipped": "0",
    }  # fmt: skip
    cases = [(case.get("classname"), case.get("name")) for case in found]
    assert cases == [
        ("small int8", "min-top1"),
        ("small int8", "max-p90-ms"),
        ("small int8", "max-latency-ratio"),
    ]
    passed, failed, unknown = found
    assert passed.find("failure") is None
    failure, error = failed.find("failure"), unknown.find("error")
    assert failure is not None
    assert failure.get("message") == FAILED.reason
    assert error is not None
    assert error.get("type") == "inconclusive"


@pytest.mark.parametrize(
    ("policy", "code", "tag"), [("fail", 1, "failure"), ("pass", 0, "skipped")]
)
def test_an_undecided_check_is_what_the_user_says_it_is(policy: str, code: int, tag: str) -> None:
    _, case = suite(verdicts(check(), OPEN, code=code), inconclusive=policy)
    assert case.find(tag) is not None


@pytest.mark.parametrize("policy", ["fail", "pass", None])
def test_a_gate_that_decided_nothing_is_never_green(policy: str | None) -> None:
    found = suite(verdicts(OPEN, code=6), inconclusive=policy)
    assert (found.get("errors"), found.get("skipped")) == ("1", "0")
    assert found[0].find("error") is not None
    (line,) = annotations(verdicts(OPEN, code=6), inconclusive=policy)
    assert line.startswith("::error ")


def test_junit_survives_names_that_xml_forbids() -> None:
    odd = check(row='<a & "b">\x07 int8', reason="a < b & c\x00")
    (case,) = suite(verdicts(odd))
    assert case.get("classname") == '<a & "b">  int8'


def test_markdown_shows_verdicts_reasons_and_figures() -> None:
    text = markdown(verdicts(check(), FAILED, code=1))
    assert text.startswith("### compress: gate failed\n")
    assert "| ✅ pass | min-top1 | small int8 | 93.00% | - | ≥ 92.00% |" in text
    assert (
        "| ❌ fail | max-p90-ms | small int8 | 5.100 ms | 5.000 ms to 5.200 ms | ≤ 4.000 ms |"
        in text
    )
    assert "* max-p90-ms of small int8: p90 5.1 ms, at most 4 ms allowed" in text
    assert "| big (teacher) | fp32 |" in text
    assert "Example CPU, 1 thread(s), ONNX Runtime 1.31.1" in text


def test_markdown_names_the_machine_that_the_times_are_from() -> None:
    there = HostTimes(
        host="pi",
        rows=(HostRow(name="small", precision="int8", p50_ms=12.34, p90_ms=15.6),),
        ruler_sha256="r",
        environment=MACHINE.model_copy(update={"cpu": "Cortex-A72"}),
    )
    bench = record(row(precision="int8", p50_ms=None, p90_ms=None), hosts=(there,))
    text = markdown(verdicts(check()).model_copy(update={"bench": bench}))
    assert "| p50 ms on pi | p90 ms on pi |" in text
    assert "| 12.3 | 15.6 |" in text
    assert "pi: Cortex-A72, 1 thread(s), ONNX Runtime 1.31.1" in text


def test_markdown_shows_names_as_they_are() -> None:
    text = markdown(verdicts(check(row="a|b*c_d<script> $x$ ~~y~~ &lt; int8")))
    assert r"a\|b\*c\_d\<script\> \$x\$ \~\~y\~\~ \&lt; int8" in text


def test_every_table_row_of_the_markdown_has_its_heads_columns() -> None:
    blocks = markdown(verdicts(check(), FAILED, OPEN, code=1)).split("\n\n")
    widths = [
        {line.replace(r"\|", "").count("|") for line in block.splitlines()}
        for block in blocks
        if block.startswith("|")
    ]
    assert widths == [{7}, {10}]


def test_annotations_name_what_did_not_pass_on_one_line_each() -> None:
    odd = FAILED.model_copy(update={"row": "a: b, c", "reason": "100% slower\nby far"})
    assert annotations(verdicts(check(), odd, code=1), inconclusive=None) == [
        "::error title=compress gate%3A max-p90-ms of a%3A b%2C c::100%25 slower%0Aby far"
    ]


@pytest.mark.parametrize(
    ("policy", "code", "kind"), [(None, 6, "error"), ("fail", 1, "error"), ("pass", 0, "warning")]
)
def test_undecided_checks_are_annotated_as_they_count(
    policy: str | None, code: int, kind: str
) -> None:
    (line,) = annotations(verdicts(check(), OPEN, code=code), inconclusive=policy)
    assert line.startswith(f"::{kind} ")


def test_jobs_of_github_are_known_by_their_variable() -> None:
    assert in_github_actions({"GITHUB_ACTIONS": "true"})
    assert not in_github_actions({})
