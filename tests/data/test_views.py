"""Views: what they draw, and that they draw it again."""

import json
from typing import Any

import numpy as np
import pytest
from scipy import stats

from compress.config.specs import Augmentation
from compress.data.views import RANDAUGMENT_OPERATIONS, View
from tests.data.frozen_views import FILE, make_view, sha256

COUNT = 20_000


def view(
    *,
    count: int = COUNT,
    image_size: int = 32,
    seed: int = 0,
    number: int = 0,
    dataset_sha256: str = "a" * 64,
    split: str = "train",
    **augmentation: Any,
) -> View:
    return View(
        dataset_sha256=dataset_sha256,
        split=split,
        count=count,
        image_size=image_size,
        augmentation=Augmentation(**augmentation),
        seed=seed,
        number=number,
    )


def uniform(values: np.ndarray | None, kinds: int) -> bool:
    """Whether whole numbers from 0 look equally likely."""
    assert values is not None
    counts = np.bincount(values, minlength=kinds)
    return len(counts) == kinds and stats.chisquare(counts).pvalue > 1e-4


def test_the_order_is_a_permutation_of_its_own_for_every_view():
    orders = [view(seed=s, number=n).order for s, n in ((0, 0), (0, 1), (1, 0), (0, 0))]
    for order in orders:
        assert sorted(order.tolist()) == list(range(COUNT))
    assert orders[0].tolist() == orders[3].tolist()
    assert orders[0].tolist() not in (orders[1].tolist(), orders[2].tolist())


def test_the_order_puts_every_image_anywhere():
    places = np.array([np.argsort(view(count=8, number=n).order) for n in range(8000)])
    for image in range(8):
        assert uniform(places[:, image], 8)


def test_nothing_is_drawn_for_what_is_off():
    drawn = vars(view().parameters)
    assert {name for name, value in drawn.items() if value is not None} == {
        "augmentation",
        "image_size",
    }


def test_crops_flips_and_cutouts_are_uniform():
    drawn = view(crop_padding=4, flip=True, cutout=8).parameters
    assert drawn.crop_x is not None
    assert drawn.crop_y is not None
    assert uniform(drawn.crop_x * 9 + drawn.crop_y, 81)
    assert uniform(drawn.flip.astype(int), 2)
    assert uniform(drawn.cutout_x, 32)
    assert uniform(drawn.cutout_y, 32)


@pytest.mark.parametrize(
    ("name", "spread", "steps", "low", "high"),
    [
        ("brightness", 0.25, 1024, 768, 1280),
        ("contrast", 0.5, 1024, 512, 1536),
        ("saturation", 1.0, 1024, 0, 2048),
        ("hue", 0.125, 1024, -128, 128),
        ("rotation", 3.0, 64, -192, 192),
    ],
)
def test_amounts_are_uniform_on_their_grid(name, spread, steps, low, high):
    values = getattr(view(count=100_000, **{name: spread}).parameters, name).astype(float) * steps
    assert (values == np.rint(values)).all()
    assert uniform((values - low).astype(int), high - low + 1)


def test_randaugment_draws_every_operation_both_ways():
    drawn = view(randaugment_ops=2).parameters
    assert drawn.operations.shape == drawn.signs.shape == (COUNT, 2)
    kinds = len(RANDAUGMENT_OPERATIONS)
    assert uniform(drawn.operations[:, 0] * kinds + drawn.operations[:, 1], kinds**2)
    assert set(drawn.signs.ravel()) == {-1, 1}
    assert uniform((drawn.signs[:, 0] + 1) // 2, 2)


def test_partners_are_a_permutation_other_than_the_order():
    mixed = view(mixup=1.0)
    assert sorted(mixed.parameters.partner.tolist()) == list(range(COUNT))
    assert mixed.parameters.partner.tolist() != mixed.order.tolist()


@pytest.mark.parametrize("alpha", [0.1, 0.2, 0.5, 1.0, 2.0, 8.0])
def test_mixup_weights_follow_the_beta_distribution(alpha):
    weight = view(mixup=alpha, count=50_000).parameters.weight.astype(float)
    steps = weight * 256
    assert (steps == np.rint(steps)).all()
    # The chance of each multiple of 1/256 is that of what is rounded to it.
    edges = np.concatenate([[0.0], (np.arange(256) + 0.5) / 256, [1.0]])
    expected = np.diff(stats.beta.cdf(edges, alpha, alpha)) * len(weight)
    observed = np.bincount(steps.astype(int), minlength=257)
    common = expected >= 10
    chi2 = ((observed[common] - expected[common]) ** 2 / expected[common]).sum()
    assert stats.chi2.sf(chi2, common.sum() - 1) > 1e-4
    assert observed[~common].sum() <= expected[~common].sum() * 2 + 20


def test_a_tiny_alpha_gives_weights_that_are_numbers():
    weight = view(mixup=1e-4, count=2000).parameters.weight
    assert set(weight.tolist()) <= {0.0, 1.0}
    assert 0.4 < weight.mean() < 0.6


def test_cutmix_boxes_have_the_sides_the_paper_gives_and_weigh_their_area():
    drawn = view(cutmix=1.0, image_size=32).parameters
    assert drawn.weight is not None
    left, top, right, bottom = drawn.box.T
    assert ((left >= 0) & (top >= 0) & (right <= 32) & (bottom <= 32)).all()
    assert ((left <= right) & (top <= bottom)).all()
    np.testing.assert_allclose(drawn.weight, 1 - (right - left) * (bottom - top) / 1024, atol=1e-7)
    inside = (left > 0) & (right < 32) & (top > 0) & (bottom < 32)
    assert (right - left == bottom - top)[inside].all()
    # E[area] of unclipped squares is 1/2 for alpha 1; clipping at the edges takes some away.
    assert 0.55 < drawn.weight.mean() < 0.75


def test_switching_one_augmentation_on_leaves_the_others_as_they_were():
    plain = view(crop_padding=4, flip=True)
    more = view(crop_padding=4, flip=True, cutout=8, hue=0.1, randaugment_ops=2, mixup=0.2)
    np.testing.assert_array_equal(plain.order, more.order)
    for name in ("crop_x", "crop_y", "flip"):
        np.testing.assert_array_equal(
            getattr(plain.parameters, name), getattr(more.parameters, name)
        )


def test_every_quantity_has_words_of_its_own():
    every = view(image_size=9, crop_padding=4, flip=True, cutout=9, randaugment_ops=3, mixup=1.0)
    drawn = every.parameters
    columns: list[Any] = [drawn.crop_x, drawn.crop_y, drawn.cutout_x, drawn.cutout_y]
    columns += [*drawn.operations.T, *drawn.signs.T, drawn.flip, drawn.partner, drawn.weight]
    columns.append(view().order)
    correlation = np.corrcoef(np.array([c.astype(float) for c in columns]))
    assert abs(correlation - np.eye(len(columns))).max() < 0.04


def test_the_digest_notices_everything_that_makes_a_view():
    views = [
        view(),
        view(number=1),
        view(seed=1),
        view(count=COUNT - 1),
        view(image_size=64),
        view(split="all"),
        view(dataset_sha256="b" * 64),
        view(flip=True),
        view(crop_padding=4),
        view(crop_padding=4, flip=True),
        view(mixup=0.2),
        view(cutmix=0.2),
        view(randaugment_ops=1),
        view(randaugment_ops=1, randaugment_magnitude=10),
    ]
    assert len({v.digest for v in views}) == len(views)
    assert view(flip=True).digest == view(flip=True).digest


def test_the_digest_ignores_settings_without_effect():
    assert view(randaugment_magnitude=20).digest == view().digest
    assert view(randaugment_ops=1).digest == view(randaugment_ops=1, randaugment_magnitude=9).digest


@pytest.mark.parametrize(("seed", "number"), [(-1, 0), (2**64, 0), (0, -1), (0, 2**32)])
def test_numbers_outside_their_range_are_refused(seed, number):
    with pytest.raises(ValueError, match="not between"):
        _ = view(seed=seed, number=number, count=3).order


FROZEN = json.loads(FILE.read_text())


@pytest.mark.parametrize("index", range(len(FROZEN)))
def test_digests_and_numbers_are_frozen(index):
    entry = FROZEN[index]
    found = make_view(entry["augmentation"], entry["seed"], entry["number"])
    assert found.digest == entry["digest"]
    assert found.order.tolist() == entry["order"]
    drawn = {n: v for n, v in vars(found.parameters).items() if isinstance(v, np.ndarray)}
    assert {name: sha256(value) for name, value in drawn.items()} == entry["parameters"]
