"""A folder whose pictures change is other data, whatever its name: runs and teachers of before."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from compress.errors import DivergedError, InputError
from compress.records.distill import DistillRecord
from compress.runs import read_manifest
from compress.stages.distill import distill
from compress.stages.train import train
from tests.notes import Notes
from tests.tiny_stages import place, tiny_distill, train_config

MINE = "mine"
ASKED: dict[str, Any] = {"data": MINE, "image_size": None, "batch_size": 16, "epochs": 4}


def take_pictures(seed: int) -> None:
    """Dark ones and light ones: 40 of each to train on, 20 of each to test on."""
    generator = np.random.default_rng(seed)
    for split, count in (("train", 40), ("test", 20)):
        for number, name in enumerate(("dark", "light")):
            folder = Path(MINE, split, name)
            folder.mkdir(parents=True, exist_ok=True)
            for k in range(count):
                pixels = generator.integers(150 * number, 150 * number + 100, (8, 8, 3), np.uint8)
                Image.fromarray(pixels).save(folder / f"{k}.png")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path) -> Iterator[None]:
    with place(tmp_path / "here"):
        take_pictures(0)
        yield


def taught(notes: Notes | None = None, **changes: Any) -> DistillRecord:
    """Learn from a teacher whose batch is larger than the data."""
    config = tiny_distill(**ASKED, control=False, **changes)
    training = train_config(**{**ASKED, "batch_size": 128})
    return distill(
        config.model_copy(update={"teacher_training": training}), progress=notes or Notes()
    )


def teacher_runs() -> list[Path]:
    return [path for path in Path("runs").iterdir() if read_manifest(path).command == "train"]


def test_a_complete_run_is_not_shown_for_other_pictures() -> None:
    first = train(train_config(**ASKED))
    assert train(train_config(**ASKED)) == first
    take_pictures(1)
    with pytest.raises(InputError, match="the pictures of mine changed since runs") as caught:
        train(train_config(**ASKED))
    assert "--restart" in caught.value.hint
    again = train(train_config(**ASKED, restart=True))
    assert again.run == first.run
    shutil.rmtree(MINE)
    assert train(train_config(**ASKED)) == again


def test_a_teacher_of_other_pictures_stays_and_another_is_trained() -> None:
    first = taught()
    (before,) = teacher_runs()
    assert read_manifest(before).config["batch_size"] == 64
    take_pictures(1)
    with pytest.raises(InputError, match="changed since"):
        taught()
    second = taught(alpha=0.5)
    (after,) = [path for path in teacher_runs() if path != before]
    assert read_manifest(before).status == read_manifest(after).status == "complete"
    pins = [
        read_manifest(Path("runs") / record.run).choices["teacher"][0] for record in (first, second)
    ]
    assert [Path(pin["path"]).parent.parent for pin in pins] == [before, after]
    assert not second.teacher.foreign
    notes = Notes()
    taught(notes, alpha=0.3)
    assert f"teacher: {after}, the newest complete run" in notes.text


def test_what_a_teachers_training_lacks_is_said_to_be_about_it() -> None:
    config = tiny_distill(**ASKED, control=False)
    training = train_config(**{**ASKED, "learning_rate": 1e30})
    with pytest.raises(DivergedError, match="while the teacher was trained: small_cnn") as caught:
        distill(config.model_copy(update={"teacher_training": training}), progress=Notes())
    assert "compress train --model small_cnn:width=0.25" in caught.value.hint
    assert "--teacher last" in caught.value.hint
