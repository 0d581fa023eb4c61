"""A teacher of which only stored answers are there."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compress.data.images import Splits
from compress.data.views import View
from compress.errors import ConfigError, InputError
from compress.stages.stored_teacher import check_whole, only_stored
from compress.training.soft_labels import SoftLabels
from tests.tiny_training import digits, schedule, teacher

ANSWER = np.zeros((2, 3), np.float32)
NOBODY = np.zeros((0, 3), np.float32)


def views(count: int) -> list[View]:
    return schedule(Path(), epochs=count).all_views(digits())


def store(
    folder: Path, key: str, *, splits: Splits | None = None, stored: tuple[int, ...] = (), **of: Any
) -> SoftLabels:
    """A teacher's folder: its description with some changes, and some views."""
    asked = teacher(folder / "weights", splits=splits)
    described = asked.describe(*asked.evaluation()).model_copy(update={"top1": 0.9, **of})
    labels = SoftLabels(folder / "labels" / key, limit_bytes=10**9)
    labels.describe(described)
    labels.write_evaluation(NOBODY, NOBODY)
    for number in stored:
        labels.write(views(number + 1)[number].digest, ANSWER)
    return labels


def test_the_one_teacher_of_this_data_is_taken(tmp_path: Path) -> None:
    store(tmp_path, "mine")
    store(tmp_path, "other", splits=digits(140))
    assert only_stored(tmp_path / "labels", digits(), views(1)).key == "mine"


def test_who_answered_some_of_the_views_is_meant(tmp_path: Path) -> None:
    store(tmp_path, "evicted")
    store(tmp_path, "mine", stored=(1,))
    store(tmp_path, "other-views", stored=(7,))
    assert only_stored(tmp_path / "labels", digits(), views(2)).key == "mine"


def test_several_are_listed_with_their_format_and_views(tmp_path: Path) -> None:
    store(tmp_path, "a", stored=(0, 1))
    store(tmp_path, "b", stored=(1,), number_format="bfloat16")
    with pytest.raises(ConfigError) as caught:
        only_stored(tmp_path / "labels", digits(), views(2))
    listed = "a (float32, 2 of 2 views), b (bfloat16, 1 of 2 views)"
    assert caught.value.message.endswith(listed)


def test_the_labels_a_run_began_with_are_taken_from_several(tmp_path: Path) -> None:
    for key in ("a", "b"):
        store(tmp_path, key, stored=(0,))
    labels = tmp_path / "labels"
    assert only_stored(labels, digits(), views(1), begun_with="b").key == "b"
    with pytest.raises(ConfigError):
        only_stored(labels, digits(), views(1), begun_with="c")


def test_a_teacher_at_chance_is_refused(tmp_path: Path) -> None:
    store(tmp_path, "fool", top1=0.1)
    with pytest.raises(InputError, match="chance"):
        only_stored(tmp_path / "labels", digits(), views(1))


def test_a_damaged_description_is_named_where_no_other_will_do(tmp_path: Path) -> None:
    place_of = tmp_path / "labels" / "broken"
    place_of.mkdir(parents=True)
    (place_of / "teacher.json").write_text(json.dumps([]))
    with pytest.raises(InputError, match=r"no soft labels for digits in .*broken/teacher\.json"):
        only_stored(tmp_path / "labels", digits(), views(1))
    whole = store(tmp_path, "t", stored=(0,))
    assert only_stored(tmp_path / "labels", digits(), views(1)).key == whole.key


def test_missing_views_are_counted_and_the_first_named(tmp_path: Path) -> None:
    stored = store(tmp_path, "t", stored=(1,))
    asked = views(9)
    with pytest.raises(InputError, match=r"to 8 of 9 views are missing: 0, 2, 3, 4, 5, …$") as all_:
        check_whole(stored, asked)
    assert "compress soft-labels --teacher …" in all_.value.hint
    assert f"--soft-labels {tmp_path / 'labels'} --views 9" in all_.value.hint
    with pytest.raises(InputError, match=r"to 1 of 2 views are missing: 0$"):
        check_whole(stored, asked[:2])
    check_whole(stored, asked[1:2])


def test_damaged_views_are_counted_beside_missing_ones(tmp_path: Path) -> None:
    stored = store(tmp_path, "t", stored=(0, 1))
    path = stored.view_path(views(1)[0].digest)
    path.write_bytes(path.read_bytes()[:-1])
    expected = "to 1 of 3 views are missing: 2; 1 of 3 views are damaged: 0$"
    with pytest.raises(InputError, match=expected):
        check_whole(stored, views(3))


def test_damaged_answers_to_the_test_images_are_found(tmp_path: Path) -> None:
    stored = store(tmp_path, "t", stored=(0,))
    (stored.folder / "evaluation.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match=r"evaluation\.safetensors is damaged"):
        check_whole(stored, views(1))
