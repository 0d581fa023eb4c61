"""Opening the store of a teacher's answers."""

from collections.abc import Callable
from pathlib import Path

import pytest

from compress.errors import InputError
from compress.records.soft_labels import TeacherDescription
from compress.training import teachers
from compress.training.opening import check_accuracy, open_soft_labels
from compress.training.soft_labels import SoftLabels
from compress.training.teachers import Teacher
from tests.tiny_training import teacher


def opened(
    asked: Teacher, folder: Path, *, tell: Callable[[str], None] = pytest.fail
) -> tuple[SoftLabels, TeacherDescription]:
    """Its store, of which nothing is to be told."""
    return open_soft_labels(asked, folder / "labels", limit_bytes=10**9, tell=tell)


@pytest.mark.parametrize(
    ("top1", "images", "refused"),
    # 44 of 360 is what a teacher of other images reached on digits
    [(0.1, 10_000, True), (0.104, 10_000, True), (0.11, 10_000, False), (44 / 360, 360, True),
     (0.15, 360, False), (0.15, 20, True), (1.0, 20, False)],
)  # fmt: skip
def test_a_teacher_at_chance_is_refused(
    tmp_path: Path, top1: float, images: int, refused: bool
) -> None:
    asked = teacher(tmp_path)
    described = asked.describe(*asked.evaluation()).model_copy(update={"top1": top1})
    if not refused:
        check_accuracy(described, "t.pt", images=images)
        return
    said = r"teacher t\.pt has 1\d.* (better than|tell it from) chance \(10\.0%\)"
    with pytest.raises(InputError, match=said):
        check_accuracy(described, "t.pt", images=images)


def test_its_own_accuracy_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = teacher(tmp_path)
    _, first = opened(asked, tmp_path)
    monkeypatch.setattr(teachers.Teacher, "evaluation", lambda _: pytest.fail("measured again"))
    stored, second = opened(asked, tmp_path)
    assert first == second == stored.description()
    assert stored.read_evaluation()[1].shape == (60, 10)


def test_a_damaged_evaluation_is_measured_again(tmp_path: Path) -> None:
    asked = teacher(tmp_path)
    stored, first = opened(asked, tmp_path)
    path = stored.folder / "evaluation.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    told: list[str] = []
    stored, second = opened(asked, tmp_path, tell=told.append)
    assert first == second
    stored.read_evaluation()
    assert len(told) == 1
    assert f"{path} is damaged" in told[0]
    assert told[0].endswith("measuring the teacher again")
