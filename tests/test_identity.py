"""Runs are named by what was asked, and by nothing else."""

import hashlib
import json
from typing import Any

import pytest

from compress.identity import differences, run_id

CONFIG: dict[str, Any] = {"data": "digits", "epochs": 3, "seed": 0}


def test_id_names_data_students_and_a_digest() -> None:
    text = json.dumps({"data": "digits", "epochs": 3, "seed": 0})
    expected = hashlib.sha256(text.encode()).hexdigest()[:8]
    assert run_id("digits", "small_cnn", CONFIG) == f"digits-small_cnn-{expected}"


def test_id_of_a_folder_uses_its_last_part_and_safe_characters() -> None:
    name = run_id("/some/where/my photos", "a,b", CONFIG)
    assert name.startswith("my-photos-a-b-")


@pytest.mark.parametrize(
    "place",
    [
        {"data_dir": "/elsewhere"},
        {"run_dir": "x"},
        {"resume": "last"},
        {"restart": True},
        {"workers": 4},
        {"soft_labels": "cache"},
        {"tensorboard": True},
        {"teacher_training": {"data_dir": "/elsewhere"}},
    ],
)
def test_places_and_machine_limits_are_no_part_of_the_id(place: dict[str, Any]) -> None:
    plain = {**CONFIG, "teacher_training": {}} if "teacher_training" in place else CONFIG
    assert run_id("d", "m", {**plain, **place}) == run_id("d", "m", plain)


@pytest.mark.parametrize(
    "change", [{"epochs": 4}, {"seed": 1}, {"teacher_training": {"epochs": 1}}]
)
def test_what_changes_the_result_changes_the_id(change: dict[str, Any]) -> None:
    assert run_id("d", "m", {**CONFIG, **change}) != run_id("d", "m", CONFIG)


def test_what_never_changes_the_result_counts_as_its_default() -> None:
    text = json.dumps({"checkpoint_every": 0, "data": "digits", "epochs": 3, "seed": 0})
    expected = hashlib.sha256(text.encode()).hexdigest()[:8]
    often, plain = ({**CONFIG, "checkpoint_every": steps} for steps in (100, 0))
    assert run_id("d", "m", often) == run_id("d", "m", plain) == f"d-m-{expected}"
    assert differences({"teacher_training": often}, {"teacher_training": plain}) == []


def test_an_option_that_came_later_changes_the_id_only_where_it_changes_the_run() -> None:
    before, now, other = CONFIG, {**CONFIG, "select": "best"}, {**CONFIG, "select": "last"}
    assert run_id("d", "m", before) == run_id("d", "m", now) != run_id("d", "m", other)
    none, more = {**CONFIG, "unlabelled": None}, {**CONFIG, "unlabelled": "more"}
    assert run_id("d", "m", before) == run_id("d", "m", none) != run_id("d", "m", more)
    assert differences({"teacher_training": before}, {"teacher_training": now}) == []
    assert differences(before, other) == ['--select is "best" in the run, "last" now']


def test_in_tables_over_the_others_such_an_option_counts_as_it_is() -> None:
    last = {**CONFIG, "select": "last", "model_settings": {"small_cnn": {"momentum": 0.9}}}
    over = {**last, "model_settings": {"small_cnn": {"momentum": 0.9, "select": "best"}}}
    assert run_id("d", "m", over) != run_id("d", "m", last)
    name = "model_settings.small_cnn.select"
    assert differences({"teacher_training": last}, {"teacher_training": over}) == [
        f'teacher_training.{name} is unset in the run, "best" now'
    ]


def test_a_difference_inside_a_table_is_named_alone() -> None:
    old = {"augmentation": {"flip": True, "cutout": 0}, "sweep": {}}
    new = {"augmentation": {"flip": False, "cutout": 0}, "sweep": {}}
    assert differences(old, new) == [
        "augmentation.flip is true in the run, false now",
    ]
