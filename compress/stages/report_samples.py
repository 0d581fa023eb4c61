"""Test images on which teacher and student differ, as small PNGs for a report."""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from compress import evaluate
from compress.data.images import ImageSet
from compress.records.report import Disagreement

SAMPLES = 12
LARGEST_SIDE = 96
"""Pixels; bigger images are made smaller to keep the page light."""


def pick_samples(
    images: ImageSet,
    teacher_logits: NDArray[np.float32],
    student_logits: NDArray[np.float32],
    labels: NDArray[np.int64],
) -> tuple[Disagreement, ...]:
    """Choose disagreements that tell the most: mistakes made with the most confidence.

    Two thirds are images the student gets wrong, one third those only the teacher gets wrong, each
    as far as there are any; within each, by the probability of the wrong answer.

    Args:
        images: The test images.
        teacher_logits: Shape (images, classes).
        student_logits: The same shape.
        labels: Shape (images,).
    """
    teacher, student = evaluate.softmax(teacher_logits), evaluate.softmax(student_logits)
    said, answered = teacher.argmax(axis=1), student.argmax(axis=1)
    differ = said != answered
    mistaken = np.flatnonzero(differ & (answered != labels))
    better = np.flatnonzero(differ & (answered == labels))
    worst = mistaken[np.argsort(-student[mistaken, answered[mistaken]], kind="stable")]
    best = better[np.argsort(-teacher[better, said[better]], kind="stable")]
    room = SAMPLES - min(len(best), SAMPLES // 3)
    chosen = [*worst[:room], *best[: SAMPLES - min(room, len(worst))]]
    names = images.class_names
    return tuple(
        Disagreement(
            index=int(index),
            truth=names[labels[index]],
            teacher=names[said[index]],
            teacher_probability=float(teacher[index, said[index]]),
            student=names[answered[index]],
            student_probability=float(student[index, answered[index]]),
            png=_png(images.images[index : index + 1][0]),
        )
        for index in map(int, chosen)
    )


def _png(pixels: NDArray[np.uint8]) -> str:
    """An image of shape (height, width, 3) as base64 PNG."""
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    stream = io.BytesIO()
    picture.save(stream, format="PNG", optimize=True)
    return base64.b64encode(stream.getvalue()).decode("ascii")
