"""Which view an epoch uses."""

from pathlib import Path

from compress.config.specs import Augmentation
from tests.tiny_training import digits, schedule


def test_every_epoch_has_a_view_of_its_own() -> None:
    plan = schedule(Path())
    assert [plan.view(digits(), epoch).number for epoch in range(3)] == [0, 1, 2]


def test_fewer_views_come_round_again() -> None:
    plan = schedule(Path(), views=2)
    views = [plan.view(digits(), epoch) for epoch in range(5)]
    assert [view.number for view in views] == [0, 1, 0, 1, 0]
    assert views[0].digest == views[2].digest != views[1].digest


def test_batch_size_and_epochs_are_no_part_of_a_view() -> None:
    one, other = schedule(Path()), schedule(Path(), batch_size=7, epochs=9, workers=3)
    assert one.view(digits(), 1).digest == other.view(digits(), 1).digest


def test_seed_augmentation_and_data_are() -> None:
    view = schedule(Path()).view(digits(), 0)
    others = [
        schedule(Path(), view_seed=1).view(digits(), 0),
        schedule(Path(), augmentation=Augmentation()).view(digits(), 0),
        schedule(Path()).view(digits(train=140), 0),
    ]
    assert len({view.digest, *(other.digest for other in others)}) == 4


def test_a_training_meets_every_view_it_has_once() -> None:
    counts = [(None, 3), (2, 3), (5, 3)]
    plans = [schedule(Path(), views=views, epochs=epochs) for views, epochs in counts]
    numbers = [[view.number for view in plan.all_views(digits())] for plan in plans]
    assert numbers == [[0, 1, 2], [0, 1], [0, 1, 2]]
