"""Make images square and of one size, in the one way training, export and prediction share.

The shorter side is scaled to the size asked for, with Pillow's bilinear filter (which averages
when it shrinks), then the middle square is cut out; an odd pixel too many is cut at the bottom or
the right. Pillow computes this in integers, so the bytes do not depend on the machine.
"""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from compress.data.images import ImageSet
from compress.environment import require_memory


def rgb(image: Image.Image) -> Image.Image:
    """The picture as a viewer shows it: turned as its EXIF data says, 8 bits per colour, RGB.

    Transparency is dropped and 16-bit grey keeps its upper 8 bits, also where Pillow reads it as
    numbers of 32 bits (PGM).
    """
    upright = ImageOps.exif_transpose(image)
    if upright.mode == "I" or upright.mode.startswith("I;16"):
        grey = (np.asarray(upright).clip(0, 65535).astype(np.uint16) >> 8).astype(np.uint8)
        upright = Image.fromarray(grey)
    return upright.convert("RGB")


def square(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """Scale the shorter side to `size` pixels and cut out the middle: uint8 (size, size, 3)."""
    picture = rgb(image)
    width, height = picture.size
    shorter = min(width, height)
    if shorter != size:
        scaled = (max(size, width * size // shorter), max(size, height * size // shorter))
        picture = picture.resize(scaled, Image.Resampling.BILINEAR)
    left, top = (picture.width - size) // 2, (picture.height - size) // 2
    return np.array(picture.crop((left, top, left + size, top + size)), dtype=np.uint8)


def resized(images: ImageSet, size: int | None) -> ImageSet:
    """The same images at another size; the set itself when it has that size or `size` is None.

    Raises:
        MachineError: They do not fit into memory.
    """
    if size is None or size == images.image_size:
        return images
    shape = (images.count, size, size, images.channels)
    require_memory(math.prod(shape), f"the images of {images.name} at {size} pixels")
    pixels = np.empty(shape, dtype=np.uint8)
    done = 0
    for block in images.blocks():
        for picture in block:
            pixels[done] = square(Image.fromarray(picture), size)
            done += 1
    return ImageSet(images.name, pixels, images.labels, images.class_names)
