"""Squares out of pictures of any size and kind."""

import numpy as np
import pytest
from PIL import Image

from compress import environment
from compress.data.images import ImageSet
from compress.data.resize import resized, square
from compress.errors import MachineError


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_square_of_the_right_size_is_left_alone():
    pixels = noise(8, 8)
    np.testing.assert_array_equal(square(Image.fromarray(pixels), 8), pixels)


@pytest.mark.parametrize(("height", "width"), [(8, 12), (12, 8), (8, 13)])
def test_the_middle_is_cut_out_of_a_longer_picture(height, width):
    pixels = noise(height, width)
    top, left = (height - 8) // 2, (width - 8) // 2
    found = square(Image.fromarray(pixels), 8)
    np.testing.assert_array_equal(found, pixels[top : top + 8, left : left + 8])


def test_the_shorter_side_is_scaled_and_shapes_are_kept():
    # 40x20, left half black and right half white: the middle square is cut at the border.
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, 20:] = 255
    found = square(Image.fromarray(pixels), 10)
    assert found.shape == (10, 10, 3)
    assert (found[:, :4] == 0).all()
    assert (found[:, 6:] == 255).all()


def test_shrinking_averages():
    checkers = np.indices((32, 32)).sum(axis=0) % 2 * np.uint8(200)
    found = square(Image.fromarray(checkers.astype(np.uint8)), 4)
    assert abs(found[1:-1, 1:-1].astype(int) - 100).max() <= 3


def test_a_very_long_picture_keeps_the_size_asked_for():
    assert square(Image.new("RGB", (1000, 3)), 8).shape == (8, 8, 3)
    assert square(Image.new("RGB", (3, 1000)), 8).shape == (8, 8, 3)


def test_grey_palette_and_transparent_pictures_become_rgb():
    grey = Image.new("L", (4, 4), 90)
    assert (square(grey, 4) == 90).all()
    red = Image.new("RGB", (4, 4), (200, 0, 0))
    assert (square(red.quantize(4), 4) == (200, 0, 0)).all()
    glass = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    assert (square(glass, 4) == (10, 20, 30)).all()


def test_16_bit_grey_keeps_its_upper_byte():
    deep = Image.fromarray(np.full((4, 4), 0x80FF, dtype=np.uint16))
    assert (square(deep, 4) == 0x80).all()


def test_a_picture_is_turned_as_its_camera_says():
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[0] = 255  # white top
    picture = Image.fromarray(pixels)
    picture.getexif()[0x0112] = 6  # shown turned a quarter clockwise
    found = square(picture, 4)
    assert (found[:, 3] == 255).all()
    assert (found[:, :3] == 0).all()


def test_a_resized_set_keeps_labels_and_resizes_each_image():
    pixels = np.random.default_rng(0).integers(0, 256, (600, 4, 4, 3), dtype=np.uint8)
    labels = np.arange(600, dtype=np.int64) % 2
    images = ImageSet("noise", pixels, labels, ("a", "b"))
    large = resized(images, 8)
    assert large.image_size == 8
    assert large.known_labels is labels
    for row in (0, 599):
        expected = square(Image.fromarray(pixels[row]), 8)
        np.testing.assert_array_equal(large.images[row : row + 1][0], expected)


def test_a_set_of_the_right_size_is_the_same_set():
    images = ImageSet("black", np.zeros((2, 4, 4, 3), np.uint8), None, ())
    assert resized(images, 4) is images
    assert resized(images, None) is images


def test_a_set_that_would_not_fit_into_memory_is_refused(monkeypatch):
    """Two images of 1000 x 1000 x 3 bytes."""
    images = ImageSet("a", np.zeros((2, 4, 4, 3), np.uint8), None, ())
    monkeypatch.setattr(environment, "available_memory", lambda: 6_000_000 - 1)
    with pytest.raises(MachineError, match="the images of a at 1000 pixels take"):
        resized(images, 1000)


def test_sixteen_bit_grey_keeps_its_upper_bits_as_pgm(tmp_path):
    levels = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
    (tmp_path / "grey.pgm").write_bytes(b"P5 8 8 65535\n" + levels.astype(">u2").tobytes())
    with Image.open(tmp_path / "grey.pgm") as picture:
        found = square(picture, 8)
    np.testing.assert_array_equal(found[..., 0], levels >> 8)
