"""Sets of images, their digests, and the splits made of them."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

from compress.data.images import ImageSet, Rows, Splits, split_validation, stratify, without
from compress.errors import ConfigError

pytest.importorskip("hypothesis")
from hypothesis import given, settings
from hypothesis import strategies as st

NAMES = ("cat", "dog", "emu")


def make_set(count: int = 12, size: int = 4, seed: int = 0, name: str = "set") -> ImageSet:
    """Noise with labels 0, 1, 2, 0, 1, …"""
    pixels = np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    return ImageSet(name, pixels, np.arange(count, dtype=np.int64) % 3, NAMES)


def from_disk(images: ImageSet, tmp_path) -> ImageSet:
    """The same set, its pixels mapped from a file."""
    path = tmp_path / "pixels.npy"
    np.save(path, images.images[:])
    return ImageSet(images.name, np.load(path, mmap_mode="r"), images.labels, NAMES)


def test_a_set_tells_its_measures():
    images = make_set(12, 5)
    assert (images.count, images.image_size, images.channels, images.classes) == (12, 5, 3, 3)


@pytest.mark.parametrize(
    ("shape", "dtype", "labels", "names"),
    [
        ((2, 4, 5, 3), np.uint8, [0, 1], NAMES),  # not square
        ((2, 4, 4, 3), np.float32, [0, 1], NAMES),
        ((2, 4, 4), np.uint8, [0, 1], NAMES),
        ((2, 4, 4, 3), np.uint8, [0], NAMES),
        ((2, 4, 4, 3), np.uint8, [0, 3], NAMES),
        ((2, 4, 4, 3), np.uint8, [0, -1], NAMES),
    ],
)
def test_a_set_refuses_what_does_not_fit(shape, dtype, labels, names):
    with pytest.raises(ValueError, match="set: "):
        ImageSet("set", np.zeros(shape, dtype), np.array(labels, dtype=np.int64), names)


def test_the_digest_covers_shape_names_pixels_and_labels_in_that_order():
    images = make_set(3)
    header = {"shape": [3, 4, 4, 3], "class_names": list(NAMES), "labelled": True}
    expected = hashlib.sha256(
        json.dumps(header, sort_keys=True).encode()
        + images.images[:].tobytes()
        + images.known_labels.astype("<i8").tobytes()
    )
    assert images.sha256 == expected.hexdigest()


def test_the_digest_notices_every_change_but_the_name():
    images = make_set()
    pixels, labels = images.images[:].copy(), images.known_labels.copy()
    assert ImageSet("other", pixels, labels, NAMES).sha256 == images.sha256
    changed_pixels = pixels.copy()
    changed_pixels[-1, -1, -1, -1] ^= 1
    swapped = labels[::-1].copy()
    others = [
        ImageSet("set", changed_pixels, labels, NAMES),
        ImageSet("set", pixels, swapped, NAMES),
        ImageSet("set", pixels, None, NAMES),
        ImageSet("set", pixels, labels, ("cat", "dog", "eel")),
        ImageSet("set", pixels[:6], labels[:6], NAMES),
    ]
    assert len({images.sha256, *(other.sha256 for other in others)}) == 6


def test_a_set_on_disk_is_the_same_set(tmp_path):
    images = make_set(1030, 2)  # more than one block
    mapped = from_disk(images, tmp_path)
    assert mapped.sha256 == images.sha256
    assert mapped.channel_statistics() == images.channel_statistics()


def test_a_subset_takes_images_and_labels_along():
    images = make_set()
    some = images.subset(np.array([7, 2]), name="some")
    np.testing.assert_array_equal(some.images[:], images.images[:][[7, 2]])
    assert some.known_labels.tolist() == [1, 2]
    assert some.name == "some"


def test_a_subset_of_a_set_on_disk_copies_nothing(tmp_path):
    images = make_set()
    some = from_disk(images, tmp_path).subset(np.array([7, 2, 5]))
    assert isinstance(some.images, Rows)
    assert some.sha256 == images.subset(np.array([7, 2, 5])).sha256
    np.testing.assert_array_equal(some.images[1:], images.images[:][[2, 5]])


def test_known_labels_of_unlabelled_images_are_an_error():
    unlabelled = ImageSet("pictures", np.zeros((1, 2, 2, 3), np.uint8), None, ())
    with pytest.raises(ValueError, match="pictures: the images have no labels"):
        _ = unlabelled.known_labels


def test_channel_statistics_are_numpys():
    images = make_set(700, 3)
    mean, std = images.channel_statistics()
    scaled = images.images[:] / 255
    np.testing.assert_allclose(mean, scaled.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(std, scaled.std(axis=(0, 1, 2)), rtol=1e-12)


def test_channel_statistics_of_one_colour_have_no_spread():
    images = ImageSet("red", np.full((2, 3, 3, 3), (255, 51, 0), np.uint8), None, ())
    mean, std = images.channel_statistics()
    assert mean == pytest.approx((1.0, 0.2, 0.0))
    assert std == (0.0, 0.0, 0.0)


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    fraction=st.floats(0.05, 0.9),
    seed=st.integers(0, 2**63),
)
def test_a_validation_split_is_a_partition_with_fair_shares(sizes, fraction, seed):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    wanted = round(fraction * len(labels))
    if wanted in (0, len(labels)):
        with pytest.raises(ConfigError):
            split_validation(labels, fraction, seed)
        return
    kept, held = split_validation(labels, fraction, seed)
    assert sorted([*kept, *held]) == list(range(len(labels)))
    assert len(held) == wanted
    assert (np.diff(kept) > 0).all()
    assert (np.diff(held) > 0).all()
    for number, size in enumerate(sizes):
        share = wanted * size / len(labels)
        assert abs(int((labels[held] == number).sum()) - share) < 1


def test_largest_remainders_decide_odd_shares():
    # Shares of 3, 4 and 5 images for 5 of 12: 1.25, 1.67 and 2.08.
    labels = np.repeat([0, 1, 2], [3, 4, 5])
    _, held = stratify(labels, 5, seed=0)
    assert np.bincount(labels[held]).tolist() == [1, 2, 2]


def test_the_seed_decides_which_images_are_held_out():
    labels = np.zeros(200, dtype=np.int64)
    held = [split_validation(labels, 0.2, seed)[1].tolist() for seed in (0, 0, 1)]
    assert held[0] == held[1]
    assert held[0] != held[2]


def test_held_out_images_come_from_everywhere():
    labels = np.zeros(10_000, dtype=np.int64)
    _, held = split_validation(labels, 0.2, 3)
    quarters = np.bincount(held // 2500)
    # Hypergeometric: 500 expected, a standard deviation of 17.
    assert (abs(quarters - 500) < 70).all()


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 0.99, float("nan")])
def test_a_fraction_that_leaves_nothing_to_train_on_is_refused(fraction):
    with pytest.raises(ConfigError, match="leaves none of 12"):
        split_validation(np.arange(12), fraction, 0)


def test_a_fraction_that_holds_nothing_out_is_refused():
    with pytest.raises(ConfigError, match="holds out none of 12"):
        split_validation(np.arange(12), 0.01, 0)


def build(train: ImageSet, validation: ImageSet | None = None, fraction: float = 0.25) -> Splits:
    return Splits.build(
        "noise",
        train=train,
        test=make_set(6, seed=9, name="noise test"),
        validation=validation,
        validation_fraction=fraction,
        split_seed=3,
    )


def test_splits_hold_out_what_split_validation_says():
    whole = make_set(1200)
    kept, held = split_validation(whole.known_labels, 0.25, 3)
    before = whole.images[:].copy()
    splits = build(whole)
    np.testing.assert_array_equal(splits.train.images[:], before[kept])
    np.testing.assert_array_equal(splits.validation.images[:], before[held])
    assert splits.train.known_labels.tolist() == (kept % 3).tolist()
    assert splits.validation.known_labels.tolist() == (held % 3).tolist()
    assert splits.split_seed == 3


def test_splits_of_a_set_on_disk_are_the_same(tmp_path):
    mapped = build(from_disk(make_set(1200), tmp_path))
    assert mapped.sha256 == build(make_set(1200)).sha256
    assert isinstance(mapped.train.images, Rows)


def test_splits_keep_a_validation_set_of_the_data_itself():
    own = make_set(5, seed=4)
    splits = build(make_set(12), validation=own)
    assert splits.validation is own
    assert splits.train.count == 12


def test_splits_measure_the_images_trained_on_alone():
    splits = build(make_set(40))
    assert (splits.mean, splits.std) == splits.train.channel_statistics()
    assert splits.mean != make_set(40).channel_statistics()[0]


def test_the_digest_of_splits_covers_all_three():
    first, second = build(make_set(40)), build(make_set(40), fraction=0.5)
    assert first.sha256 == build(make_set(40)).sha256
    assert first.sha256 != second.sha256


def test_what_another_set_holds_is_taken_out_by_its_pixels_and_labels_go():
    images, other = make_set(12), make_set(12, seed=1)
    both = ImageSet(
        "both", np.concatenate([images.images, other.images]), np.zeros(24, np.int64), ("a",)
    )
    found = without(both, other.subset(np.arange(6)), other.subset(np.arange(6, 12)))
    assert found.labels is None
    np.testing.assert_array_equal(found.images[:], images.images[:])
    assert without(images, other).images is images.images
    assert without(images, images).count == 0


def test_a_view_sweeps_over_training_and_unlabelled_images_and_is_named_by_both():
    splits, more = build(make_set(40)), make_set(8, seed=5)
    fuller = replace(splits, unlabelled=more)
    assert (splits.swept, fuller.swept) == (30, 38)
    assert splits.swept_sha256 == splits.sha256 == fuller.sha256
    others = replace(splits, unlabelled=make_set(8, seed=6))
    assert len({one.swept_sha256 for one in (splits, fuller, others)}) == 3


def test_holding_images_out_does_not_hold_them_twice():
    whole = make_set(1000, 8)
    base = whole.images
    splits = build(whole, fraction=0.1)
    assert np.shares_memory(splits.train.images, base)
    assert np.shares_memory(splits.validation.images, base)
    assert not np.shares_memory(splits.train.images, splits.validation.images)
    assert splits.train.images[:].flags.c_contiguous


def test_a_channel_that_never_changes_divides_by_one() -> None:
    pixels = np.zeros((12, 4, 4, 3), dtype=np.uint8)
    pixels[..., 0] = np.arange(12, dtype=np.uint8)[:, None, None]
    labels = np.arange(12, dtype=np.int64) % 2
    images = ImageSet("x", pixels, labels, ("a", "b"))
    splits = Splits.build(
        "x", train=images, test=images, validation=images, validation_fraction=0.1, split_seed=0
    )
    assert splits.std[0] < 0.1
    assert splits.std[1:] == (1.0, 1.0)


def test_the_classes_that_images_show_come_in_the_order_of_the_labels():
    assert make_set(2).shown_classes == NAMES[:2]
    assert make_set(6).subset(np.array([2, 0, 5])).shown_classes == ("cat", "emu")
    unlabelled = ImageSet("set", make_set().images, None, NAMES)
    assert unlabelled.shown_classes == ()
