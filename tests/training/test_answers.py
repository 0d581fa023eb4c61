"""The source students learn from."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from compress.data.views import View
from compress.errors import ConfigError, InputError
from compress.models.feature_hooks import tapped
from compress.training.answers import Teaching
from compress.training.inputs import Batch, Normalize, TrainingImages
from compress.training.soft_labels import SoftLabels, relative
from compress.training.teachers import Teacher
from compress.training.workplace import Workplace
from tests.notes import Notes
from tests.tiny_training import (
    CPU,
    digits,
    hungry,
    learner,
    objective,
    run,
    same_weights,
    schedule,
    teacher,
)


def teaching(folder: Path, asked: Teacher | None, notes: Notes | None = None) -> Teaching:
    return Teaching(
        SoftLabels(folder / "store" / "one-teacher", limit_bytes=10**9),
        asked,
        TrainingImages(digits().train, device=CPU),
        place=Workplace(CPU, progress=notes or Notes()),
    )


def taught(source: Teaching) -> dict[str, torch.Tensor]:
    student = learner(goal=objective("kd", ce_weight=0.1))
    run([student], source=source)
    return student.weights()


def view(number: int = 0) -> View:
    return schedule(Path()).view(digits(), number)


def test_time_that_a_teacher_spent_before_counts_also_where_it_is_gone(tmp_path: Path) -> None:
    for asked in (None, teacher(tmp_path)):
        source = teaching(tmp_path, asked)
        source.goes_on(100.0)
        assert source.seconds == 100
    source.fill(view())
    assert 100 < source.seconds < 200


def test_students_end_the_same_with_an_empty_cache_a_full_one_and_no_teacher(
    tmp_path: Path,
) -> None:
    asked = teacher(tmp_path)
    filling = taught(teaching(tmp_path, asked))
    spent = asked.seconds
    reading = taught(teaching(tmp_path, asked))
    alone = taught(teaching(tmp_path, None))
    assert same_weights(filling, reading)
    assert same_weights(filling, alone)
    assert asked.seconds == spent > 0


def test_labels_are_the_stored_values_of_the_answers(tmp_path: Path) -> None:
    asked = teacher(tmp_path)
    labels = teaching(tmp_path, asked).labels(view())
    images = TrainingImages(digits().train, device=CPU)
    exact = asked.answer(images, view(), lambda _: None)
    assert labels is not None
    assert labels.dtype == torch.float16
    assert np.array_equal(labels.numpy(), relative(exact))


def test_progress_tells_of_the_view_being_answered(tmp_path: Path) -> None:
    notes = Notes()
    teaching(tmp_path, teacher(tmp_path, seeds=(0, 1)), notes).labels(view(3))
    assert notes.started == ["soft labels of view 4: 300 image"]


def test_a_view_that_was_answered_is_one_line_of_a_log_and_one_that_was_there_none(
    tmp_path: Path,
) -> None:
    notes = Notes()
    source = teaching(tmp_path, teacher(tmp_path), notes)
    source.labels(view(3))
    source.labels(view(3))
    (said,) = notes.notes
    assert re.fullmatch(r"soft labels of view 4: stored, [1-9]\d* images/s", said)


def test_a_view_nobody_can_answer_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="missing"):
        teaching(tmp_path, None).labels(view())


def test_a_damaged_view_is_told_and_answered_again(tmp_path: Path) -> None:
    asked, notes = teacher(tmp_path), Notes()
    before = teaching(tmp_path, asked).labels(view())
    stored = next((tmp_path / "store").glob("*/views/*"))
    stored.write_bytes(stored.read_bytes()[:-2])
    after = teaching(tmp_path, asked, notes).labels(view())
    assert before is not None
    assert after is not None
    assert torch.equal(before, after)
    assert stored.name in notes.text


def a_batch() -> Batch:
    images = TrainingImages(digits().train, device=CPU)
    return next(iter(images.batches(view(), 32, share=lambda n: slice(0, n))))


def test_nothing_runs_live_unless_a_loss_taps_it(tmp_path: Path) -> None:
    source = teaching(tmp_path, teacher(tmp_path))
    source.tap(())
    assert source.features(a_batch()) == {}


def test_features_are_those_of_the_network_on_the_batch(tmp_path: Path) -> None:
    source = teaching(tmp_path, teacher(tmp_path))
    source.tap(("stage1", "stage3"))
    batch = a_batch()
    features = source.features(batch)
    network, _ = source.network()
    normalize = Normalize(
        digits().mean, digits().std, device=CPU, memory_format=torch.channels_last
    )
    with torch.no_grad():
        expected = network.get_submodule("stage1")(normalize(batch.images))
    assert list(features) == ["stage1", "stage3"]
    assert torch.allclose(features["stage1"], expected, atol=1e-5)
    assert not features["stage3"].requires_grad


def test_features_are_made_in_parts_where_memory_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, batch = teaching(tmp_path, teacher(tmp_path)), a_batch()
    source.tap(("stage1", "stage3"))
    whole = source.features(batch)
    monkeypatch.setattr(nn.Conv2d, "forward", hungry(lambda images: len(images) > 9))
    parts = source.features(batch)
    assert list(parts) == list(whole)
    for path, feature in whole.items():
        assert torch.allclose(parts[path], feature, atol=1e-5)
        assert parts[path].stride() == feature.stride()


@pytest.mark.parametrize(("path", "folded"), [("stage2", True), ("stage2.0", False)])
def test_a_live_teacher_is_untouched_by_a_training(
    tmp_path: Path, path: str, folded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, made = teacher(tmp_path), []
    live = asked.live

    def kept(**options: bool) -> tuple[nn.Module, Normalize]:
        made.append(live(**options))
        return made[-1]

    monkeypatch.setattr(asked, "live", kept)
    source = teaching(tmp_path, asked)
    source.tap((path,))
    network, _ = made[-1]
    assert any(isinstance(module, nn.BatchNorm2d) for module in network.modules()) is not folded
    before = {name: value.clone() for name, value in network.state_dict().items()}
    run([learner(goal=objective("kd"))], source=source)
    assert same_weights(before, network.state_dict())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_the_live_network_is_made_once_with_its_batchnorms_folded(tmp_path: Path) -> None:
    source = teaching(tmp_path, teacher(tmp_path))
    network, _ = source.network()
    source.tap(("stage1",))
    assert source.network()[0] is network
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def test_a_convolution_is_tapped_before_its_batchnorm(tmp_path: Path) -> None:
    """Folded, its output would be that of the BatchNorm; the other paths do not notice."""
    asked = teacher(tmp_path)
    batch = a_batch()
    plain, normalize = asked.live(folded=False)
    path = next(name for name, m in plain.named_modules() if isinstance(m, nn.Conv2d))
    with torch.no_grad(), tapped(plain, [path]) as expected:
        plain(normalize(batch.images))
    alone, both = teaching(tmp_path, asked), teaching(tmp_path, asked)
    alone.tap(("stage1",))
    both.tap((path, "stage1"))
    features = both.features(batch)
    assert torch.equal(features[path], expected[path])
    assert torch.equal(features["stage1"], alone.features(batch)["stage1"])


def test_a_live_teachers_time_counts(tmp_path: Path) -> None:
    asked = teacher(tmp_path)
    live = teaching(tmp_path, asked)
    assert live.features(a_batch()) == {}
    assert asked.seconds == 0
    live.tap(("stage1",))
    live.features(a_batch())
    assert asked.seconds > 0


def test_no_labels_are_asked_for_where_no_loss_reads_them(tmp_path: Path) -> None:
    """For controls, and for losses on features alone."""
    asked = teacher(tmp_path)
    source = teaching(tmp_path, asked)
    run([learner()], source=source)
    assert not (tmp_path / "store").exists()
    assert asked.seconds == 0


def test_features_need_more_than_stored_labels(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="stored soft labels are not enough") as caught:
        teaching(tmp_path, None).tap(("stage1",))
    assert "--teacher" in caught.value.hint
