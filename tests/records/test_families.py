"""Models that differ in nothing but the seed."""

from compress.config.distill import distill_config, plan_students
from compress.records.families import families
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


def test_a_users_label_that_looks_like_a_seed_is_kept() -> None:
    rows = [student("a-s0", seed=0), student("a", seed=0)]
    assert families(rows) == {"a-s0": "a-s0", "a": "a"}
    rows = [student("model-s2", seed=0), student("model-s3", seed=0)]
    assert families(rows) == {"model-s2": "model-s2", "model-s3": "model-s3"}


def test_of_several_seeds_only_the_last_part_of_a_label_is_one() -> None:
    asked = {"student": ["a-s0=small_cnn:width=0.25", "b=small_cnn"], "seeds": [0, 1]}
    plans = plan_students(distill_config(asked))
    assert set(families(plans).values()) == {"a-s0", "b", "a-s0-control", "b-control"}
