"""Comparing forms on real images."""

import numpy as np
import pytest

from compress.graph.write import seal
from compress.stages import export_fidelity as measuring
from tests.graph.conftest import write
from tests.tiny_models import coloured_images

REFERENCE = np.array([[2, 1, 0], [0, 3, 1], [1, 0, 4], [5, 1, 0]], dtype=np.float32)
LABELS = np.array([0, 1, 2, 1])


def test_a_comparison_is_paired_image_by_image() -> None:
    given = REFERENCE.copy()
    given[2] = [4, 0, 1]  # right before, wrong now
    found = measuring.fidelity(
        "int8", reference=REFERENCE, given=given, labels=LABELS, against="fp32", split="test"
    )
    assert (found.images, found.agreement, found.max_difference) == (4, 0.75, 3.0)
    assert (found.reference_top1, found.top1, found.drop) == (0.75, 0.5, 0.25)
    assert found.drop_low is not None
    assert found.drop_high is not None
    assert found.drop_low < 0.25 < found.drop_high
    signal, noise = float((REFERENCE**2).sum()), float(((REFERENCE - given) ** 2).sum())
    assert found.sqnr_db == pytest.approx(10 * np.log10(signal / noise))


def test_equal_answers_have_a_finite_ratio() -> None:
    found = measuring.fidelity(
        "int8", reference=REFERENCE, given=REFERENCE, labels=None, against="fp32", split="test"
    )
    assert found.sqnr_db == measuring.LOUDEST_DB
    assert (found.drop, found.top1, found.agreement) == (None, None, 1.0)


def test_images_are_drawn_evenly() -> None:
    images = coloured_images(np.arange(90) // 30)
    few = measuring.evenly(images, 9)
    assert few.labels is not None
    assert few.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert measuring.evenly(images, 90) is images
    assert measuring.spread(5, 2).tolist() == [0, 4]
    assert measuring.spread(3, 10).tolist() == [0, 1, 2]


def test_large_models_are_measured_on_fewer_images() -> None:
    assert measuring.affordable(10**9, 2.5e12, least=1000) == 2500
    assert measuring.affordable(10**11, 2.5e12, least=1000) == 1000


def test_a_form_answers_on_every_core_as_on_one() -> None:
    written = write("small_cnn")
    data = seal(written.graph, written.card)
    given = measuring.answers(data, written.card, written.splits.test)
    assert given.shape == (360, 10)
    assert (given.argmax(axis=1) == written.splits.test.labels).mean() > 0.5
