"""Augmented images: by hand, replayed, and the same whatever batch they are in."""

import hashlib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

from compress.config.specs import Augmentation
from compress.data import augment
from compress.data.views import Parameters, View
from tests.data.frozen_views import COUNT, FILE, KEYS, SPECS, describe, images, make_view

EVERYTHING = {
    "crop_padding": 3,
    "flip": True,
    "cutout": 5,
    "brightness": 0.3,
    "contrast": 0.3,
    "saturation": 0.3,
    "hue": 0.1,
    "rotation": 20.0,
    "randaugment_ops": 2,
    "mixup": 0.4,
}


def parameters(size: int, spec: dict[str, Any], **drawn: Any) -> Parameters:
    """Settings with choices made by hand, one per image."""
    arrays = {name: np.array(value) for name, value in drawn.items()}
    return Parameters(Augmentation(**spec), size, **arrays)  # type: ignore[arg-type]


def numbered(count: int, size: int, *, channels_last: bool = True) -> torch.Tensor:
    """Images whose pixels all differ within an image: uint8 (count, 3, size, size)."""
    pixels = torch.arange(count * 3 * size * size).reshape(count, 3, size, size) * 7 % 251 + 1
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return pixels.to(torch.uint8).contiguous(memory_format=layout)


def test_without_augmentation_images_come_out_unchanged_and_apart():
    given = numbered(4, 6)
    result = augment.apply(given, make_parameters := parameters(6, {}), torch.tensor([2, 0]))
    assert torch.equal(result, given[[2, 0]])
    result.zero_()
    assert given.min() > 0
    assert augment.targets(torch.tensor([5, 6, 7, 8]), make_parameters, torch.tensor([2, 0]), 9)[
        0
    ] == torch.tensor(7)


@pytest.mark.parametrize("size", [6, 8])  # 8: copied 8 bytes at a time
@pytest.mark.parametrize("channels_last", [True, False])
def test_crops_move_the_image_and_fill_with_black(size, channels_last):
    given = numbered(3, size, channels_last=channels_last)
    drawn = parameters(size, {"crop_padding": 2}, crop_x=[2, 0, 4], crop_y=[2, 1, 3])
    result = augment.apply(given, drawn, torch.arange(3))
    assert torch.equal(result[0], given[0])
    # x 0, y 1: the image moves 2 to the right and 1 down.
    assert torch.equal(result[1][:, 1:, 2:], given[1][:, :-1, :-2])
    assert (result[1][:, :1] == 0).all()
    assert (result[1][:, :, :2] == 0).all()
    # x 4, y 3: 2 to the left and 1 up.
    assert torch.equal(result[2][:, :-1, :-2], given[2][:, 1:, 2:])
    assert (result[2][:, -1:] == 0).all()
    assert (result[2][:, :, -2:] == 0).all()
    assert result.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("size", [5, 8])
def test_flips_mirror_the_marked_images(size):
    given = numbered(4, size)
    drawn = parameters(size, {"flip": True}, flip=[True, False, True, False])
    result = augment.apply(given, drawn, torch.tensor([0, 1, 3, 2]))
    assert torch.equal(
        result, torch.stack([given[0].flip(2), given[1], given[3], given[2].flip(2)])
    )


def test_a_flip_follows_the_crop():
    given = numbered(1, 8)
    spec = {"crop_padding": 1, "flip": True}
    drawn = parameters(8, spec, crop_x=[0], crop_y=[1], flip=[True])
    result = augment.apply(given, drawn, torch.tensor([0]))[0]
    assert torch.equal(result[:, :, :-1], given[0][:, :, :-1].flip(2))
    assert (result[:, :, -1] == 0).all()


def test_cutout_greys_a_square_and_stops_at_the_edges():
    given = numbered(2, 8)
    drawn = parameters(8, {"cutout": 4}, cutout_x=[4, 0], cutout_y=[3, 7])
    result = augment.apply(given, drawn, torch.arange(2))
    expected = given.clone()
    expected[0, :, 1:5, 2:6] = 128
    expected[1, :, 5:8, 0:2] = 128
    assert torch.equal(result, expected)


def test_mixup_blends_with_the_augmented_partner():
    given = numbered(2, 8)
    spec = {"flip": True, "mixup": 1.0}
    drawn = parameters(
        8,
        spec,
        flip=[False, True],
        partner=[1, 0],
        weight=np.array([0.75, 0.25], np.float32),
    )
    result = augment.apply(given, drawn, torch.tensor([0, 1]))
    own, other = given[0].double(), given[1].flip(2).double()
    assert torch.equal(result[0].double(), (0.75 * own + 0.25 * other + 0.5).floor())
    assert torch.equal(result[1].double(), (0.25 * other + 0.75 * own + 0.5).floor())


def test_cutmix_pastes_the_partners_box():
    given = numbered(3, 8)
    drawn = parameters(
        8,
        {"cutmix": 1.0},
        partner=[2, 0, 1],
        weight=np.array([0.75, 1.0, 0.0], np.float32),
        box=[[1, 2, 5, 6], [3, 3, 3, 3], [0, 0, 8, 8]],
    )
    result = augment.apply(given, drawn, torch.arange(3))
    expected = given.clone()
    expected[0, :, 2:6, 1:5] = given[2, :, 2:6, 1:5]
    expected[2] = given[1]
    assert torch.equal(result, expected)


def test_targets_of_mixed_images_share_the_weight():
    drawn = parameters(
        8,
        {"mixup": 1.0},
        partner=[1, 2, 2],
        weight=np.array([0.75, 0.5, 0.25], np.float32),
    )
    labels = torch.tensor([0, 3, 3])
    found = augment.targets(labels, drawn, torch.tensor([0, 1, 2]), 4)
    assert found.dtype == torch.float32
    assert found.tolist() == [[0.75, 0, 0, 0.25], [0, 0, 0, 1], [0, 0, 0, 1]]


def test_targets_of_unlabelled_images_are_nothing_and_a_mixed_one_keeps_its_labelled_share():
    labels, rows = torch.tensor([1, 2, 0]), torch.tensor([0, 1, 2])  # the second is unlabelled
    plain = augment.targets(labels, parameters(8, {}), rows, 2, whole=False)
    assert plain.tolist() == [[0, 1], [0, 0], [1, 0]]
    weight = np.array([0.75, 0.5, 1.0], np.float32)
    drawn = parameters(8, {"mixup": 1.0}, partner=[1, 2, 0], weight=weight)
    mixed = augment.targets(labels, drawn, rows, 2, whole=False)
    assert mixed.tolist() == [[0, 0.75], [0.5, 0], [1, 0]]


def test_targets_of_unmixed_images_are_their_classes():
    found = augment.targets(torch.tensor([4, 5, 6]), parameters(8, {}), torch.tensor([2, 0]), 7)
    assert found.dtype == torch.int64
    assert found.tolist() == [6, 4]


@pytest.mark.parametrize(
    "given",
    [torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 9, 9, dtype=torch.uint8)],
    ids=["float", "size"],
)
def test_images_that_do_not_fit_the_view_are_refused(given):
    with pytest.raises(ValueError, match="do not fit a view"):
        augment.apply(given, parameters(8, {}), torch.tensor([0]))


@pytest.mark.parametrize("spec", [*SPECS, EVERYTHING, EVERYTHING | {"mixup": 0.0, "cutmix": 1.0}])
def test_an_image_is_the_same_in_every_batch(spec):
    given, drawn = images(), make_view(spec, 3, 5).parameters
    whole = augment.apply(given, drawn, torch.arange(COUNT))
    shuffled = torch.from_numpy(np.random.default_rng(0).permutation(COUNT))
    for size in (1, 5, 16):
        for rows in shuffled.split(size):
            assert torch.equal(augment.apply(given, drawn, rows), whole[rows])


@pytest.mark.parametrize("spec", [SPECS[4], EVERYTHING])
def test_the_memory_layout_of_the_images_does_not_matter(spec):
    given, drawn = images(), make_view(spec, 3, 5).parameters
    rows = torch.arange(COUNT)
    planes = given.contiguous(memory_format=torch.contiguous_format)
    assert torch.equal(augment.apply(planes, drawn, rows), augment.apply(given, drawn, rows))


def test_threads_that_share_a_view_get_the_same_images():
    given = images()
    expected = augment.apply(given, make_view(EVERYTHING, 0, 0).parameters, torch.arange(COUNT))
    drawn = make_view(EVERYTHING, 0, 0).parameters
    with ThreadPoolExecutor(4) as pool:
        parts = pool.map(
            lambda rows: augment.apply(given, drawn, rows), torch.arange(COUNT).split(3)
        )
        assert torch.equal(torch.cat(list(parts)), expected)


@pytest.mark.parametrize("spec", [SPECS[3], EVERYTHING])
def test_an_empty_batch_stays_empty(spec):
    drawn = make_view(spec, 0, 0).parameters
    nothing = torch.zeros(0, dtype=torch.int64)
    assert augment.apply(images(), drawn, nothing).shape == (0, 3, 16, 16)


def test_the_images_given_are_never_changed():
    given = images().clone()
    before = given.clone()
    augment.apply(given, make_view(EVERYTHING, 1, 1).parameters, torch.arange(COUNT))
    assert torch.equal(given, before)


REPLAY = """
import hashlib, sys, torch
from compress.data import augment
from tests.data.frozen_views import COUNT, images, make_view
from tests.data.test_augment import EVERYTHING
torch.set_num_threads(int(sys.argv[1]))
view = make_view(EVERYTHING, 8, 9)
rows = torch.from_numpy(view.order)
parts = [augment.apply(images(), view.parameters, part) for part in rows.split(int(sys.argv[2]))]
print(hashlib.sha256(torch.cat(parts).numpy().tobytes()).hexdigest())
"""


def test_another_process_with_other_threads_and_batches_replays_the_same_bytes():
    view = make_view(EVERYTHING, 8, 9)
    here = augment.apply(images(), view.parameters, torch.from_numpy(view.order))
    done = subprocess.run(
        [sys.executable, "-c", REPLAY, str(1 + torch.get_num_threads() % 2), "7"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert done.stdout.strip() == hashlib.sha256(here.numpy().tobytes()).hexdigest()


def test_the_resident_copy_of_a_view_goes_with_the_view():
    drawn = make_view({"flip": True}, 0, 0).parameters
    augment.apply(images(), drawn, torch.tensor([0]))
    held = len(augment._resident)
    del drawn
    assert len(augment._resident) == held - 1


FROZEN = json.loads(FILE.read_text())


@pytest.mark.parametrize("index", range(len(FROZEN)))
def test_pixels_are_frozen(index):
    entry = FROZEN[index]
    found = describe(entry["augmentation"], entry["seed"], entry["number"])
    if "pixels" in entry:
        assert found["pixels"] == entry["pixels"]
    else:
        np.testing.assert_allclose(found["pixel_means"], entry["pixel_means"], atol=1.0)


def test_every_setting_is_frozen():
    frozen = {key for spec in SPECS for key in spec}
    assert frozen == set(Augmentation.model_fields)
    assert len(FROZEN) == len(SPECS) * len(KEYS)


@pytest.mark.gpu
@pytest.mark.parametrize("spec", [*SPECS, EVERYTHING])
def test_a_gpu_gives_the_same_images_to_rounding(spec):
    drawn = make_view(spec, 3, 5).parameters
    rows = torch.arange(COUNT)
    here = augment.apply(images(), drawn, rows)
    there = augment.apply(images().cuda(), drawn, rows.cuda())
    assert there.device.type == "cuda"
    difference = (here.int() - there.cpu().int()).abs()
    if not spec.get("randaugment_ops"):
        assert difference.max() == 0
    else:
        assert (difference > 1).float().mean() < 0.01
    labels = torch.arange(COUNT) % 10
    assert torch.equal(
        augment.targets(labels.cuda(), drawn, rows, 10).cpu(),
        augment.targets(labels, drawn, rows, 10),
    )


@pytest.mark.gpu
def test_a_view_of_large_batches_runs_on_a_gpu():
    view = View(
        dataset_sha256="0",
        split="train",
        count=4096,
        image_size=32,
        augmentation=Augmentation(crop_padding=4, flip=True),
        seed=0,
        number=0,
    )
    pixels = torch.randint(0, 256, (4096, 3, 32, 32), dtype=torch.uint8)
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    rows = torch.from_numpy(view.order)
    here = augment.apply(pixels, view.parameters, rows)
    assert torch.equal(augment.apply(pixels.cuda(), view.parameters, rows).cpu(), here)
