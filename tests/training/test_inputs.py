"""Images on their way into a model."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from compress import environment
from compress.config.specs import Augmentation
from compress.data.augment import apply
from compress.errors import MachineError
from compress.training import inputs
from compress.training.inputs import Batch, Normalize, TrainingImages, as_tensor
from tests.tiny_training import CPU, SHIFTS, digits, schedule


def everything(count: int) -> slice:
    return slice(0, count)


def half(rank: int) -> Callable[[int], slice]:
    return lambda count: slice(rank * count // 2, (rank + 1) * count // 2)


def batches(
    augmentation: Augmentation = SHIFTS, *, workers: int = 0, start: int = 0, size: int = 32
) -> list[Batch]:
    images = TrainingImages(digits().train, device=CPU, workers=workers)
    view = schedule(Path(), augmentation=augmentation).view(digits(), 0)
    return list(images.batches(view, size, start=start, share=everything))


def test_normalising_is_the_formula_per_channel() -> None:
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    normalize = Normalize(
        (0.5, 0.25, 0.0), (0.5, 0.1, 2.0), device=CPU, memory_format=torch.channels_last
    )
    expected = [(0 - 0.5) / 0.5, (0.2 - 0.25) / 0.1, (1 - 0) / 2]
    assert normalize(images).flatten().tolist() == pytest.approx(expected)


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_normalised_images_lie_in_memory_as_asked(memory_format: torch.memory_format) -> None:
    images = as_tensor(digits().train, CPU)[:4]
    normalize = Normalize((0.5,) * 3, (0.5,) * 3, device=CPU, memory_format=memory_format)
    assert normalize(images).is_contiguous(memory_format=memory_format)


def test_a_resident_set_keeps_the_layout_of_the_files() -> None:
    pixels = as_tensor(digits().train, CPU)
    assert pixels.shape == (150, 3, 8, 8)
    assert pixels.is_contiguous(memory_format=torch.channels_last)
    assert np.array_equal(pixels[3].permute(1, 2, 0).numpy(), digits().train.images[3])


def test_batches_follow_the_order_of_the_view_and_drop_the_smaller_last_one() -> None:
    dealt = batches()
    view = schedule(Path()).view(digits(), 0)
    assert [len(batch.images) for batch in dealt] == [32] * 4
    assert torch.cat([batch.rows for batch in dealt]).tolist() == view.order[:128].tolist()
    labels = digits().train.known_labels
    for batch in dealt:
        assert batch.targets.tolist() == labels[batch.rows.numpy()].tolist()


def test_an_image_of_a_view_is_the_same_in_every_batch_size() -> None:
    def by_row(size: int) -> dict[int, bytes]:
        return {
            int(row): image.contiguous().numpy().tobytes()
            for batch in batches(size=size)
            for row, image in zip(batch.rows, batch.images, strict=True)
        }

    small, large = by_row(7), by_row(50)
    assert len(small) == 147  # 21 batches of 7; 150 in 3 of 50
    assert small.items() <= large.items()


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_deal_the_same_batches_in_the_same_order(workers: int) -> None:
    for one, other in zip(batches(), batches(workers=workers), strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.rows, other.rows)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_can_begin_in_its_middle(workers: int) -> None:
    rest = batches(start=2, workers=workers)
    for one, other in zip(batches()[2:], rest, strict=True):
        assert torch.equal(one.images, other.images)


def test_two_ranks_share_each_batch() -> None:
    images = TrainingImages(digits().train, device=CPU)
    view = schedule(Path()).view(digits(), 0)
    halves = [list(images.batches(view, 32, share=half(rank))) for rank in range(2)]
    for whole, first, second in zip(batches(), *halves, strict=True):
        assert torch.equal(whole.images, torch.cat([first.images, second.images]))
        assert torch.equal(whole.rows, torch.cat([first.rows, second.rows]))


@pytest.mark.parametrize("at_once", [1, 7 * 192, 3 * 7 * 192, 10**9])
@pytest.mark.parametrize(
    "augmentation",
    [SHIFTS, Augmentation(mixup=1.0, randaugment_ops=2), Augmentation(cutmix=1.0, rotation=20.0)],
)
def test_batches_are_the_same_however_many_are_augmented_at_once(
    monkeypatch: pytest.MonkeyPatch, augmentation: Augmentation, at_once: int
) -> None:
    expected = batches(augmentation, size=7, start=2)
    monkeypatch.setitem(inputs.TOGETHER_BYTES, "cpu", at_once)
    found = batches(augmentation, size=7, start=2)
    assert len(found) == len(expected) == 19
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.targets, other.targets)
        assert torch.equal(one.rows, other.rows)
        assert one.images.is_contiguous(memory_format=torch.channels_last)


def test_mixed_images_come_with_shares_of_both_classes() -> None:
    dealt = batches(Augmentation(mixup=1.0))
    view = schedule(Path(), augmentation=Augmentation(mixup=1.0)).view(digits(), 0)
    labels = digits().train.known_labels
    assert view.parameters.weight is not None
    assert view.parameters.partner is not None
    for batch in dealt[:1]:
        for row, target in zip(batch.rows.tolist(), batch.targets, strict=True):
            expected = np.zeros(10)
            expected[labels[row]] += view.parameters.weight[row]
            expected[labels[view.parameters.partner[row]]] += 1 - view.parameters.weight[row]
            assert target.tolist() == pytest.approx(expected.tolist())


def test_unlabelled_images_come_last_and_have_no_target() -> None:
    splits = digits()
    more = splits.test.subset(np.arange(40), name="more")
    fuller = replace(splits, unlabelled=more)
    images = TrainingImages(splits.train, more, device=CPU)
    assert images.count == fuller.swept == splits.train.count + 40
    assert np.array_equal(images.pixels[-40:].permute(0, 2, 3, 1).numpy(), more.images[:])
    view = schedule(Path()).view(fuller, 0)
    assert view.digest != schedule(Path()).view(splits, 0).digest
    unlabelled = 0
    for batch in images.batches(view, 32, share=everything):
        labels = batch.shown
        for row, target, label in zip(batch.rows.tolist(), batch.targets, labels, strict=True):
            if row < splits.train.count:
                assert target.sum() == 1
                assert target.argmax() == label == int(splits.train.known_labels[row])
            else:
                unlabelled += 1
                assert (target.abs().max(), label) == (0, -1)
    assert 0 < unlabelled <= 40


def test_of_a_mixed_image_the_larger_share_counts_if_it_is_labelled() -> None:
    shares = torch.tensor([[0.6, 0.4, 0], [0.1, 0, 0], [0, 0.9, 0], [0.5, 0, 0.5], [0, 0, 0]])
    batch = Batch(torch.zeros(5, 3, 8, 8, dtype=torch.uint8), shares, torch.arange(5))
    assert batch.shown.tolist() == [0, -1, 1, 0, -1]


def test_images_that_do_not_fit_once_more_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "available_memory", lambda: 10_000)
    splits = digits()
    TrainingImages(splits.train, device=CPU)
    with pytest.raises(MachineError, match="in one place"):
        TrainingImages(splits.train, splits.test, device=CPU)


def test_rows_gives_what_the_batches_hold() -> None:
    images = TrainingImages(digits().train, device=CPU)
    view = schedule(Path()).view(digits(), 0)
    rows = torch.tensor([5, 0, 149])
    assert torch.equal(images.rows(view, rows), apply(images.pixels, view.parameters, rows))
