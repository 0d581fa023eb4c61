"""The record of a report."""

from compress.records.report import families
from tests.fake_run import student


def test_rows_that_differ_in_the_seed_alone_are_a_family() -> None:
    rows = [
        student("a-s0", seed=0),
        student("a-s1", seed=1),
        student("a-control-s0", seed=0),
        student("a-control-s1", seed=1),
    ]
    assert families(rows) == {
        "a-s0": "a",
        "a-s1": "a",
        "a-control-s0": "a-control",
        "a-control-s1": "a-control",
    }


def test_a_name_that_only_looks_like_a_seed_is_kept() -> None:
    assert families([student("model-s0", seed=0)]) == {"model-s0": "model-s0"}
    rows = [student("model-s2", seed=0), student("model-s3", seed=0)]
    assert families(rows) == {"model-s2": "model-s2", "model-s3": "model-s3"}
