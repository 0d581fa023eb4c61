"""A small trained network as a graph, made once."""

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto
from torch import nn

from compress.data.images import Splits
from compress.graph import quantize
from compress.graph.write import write_graph
from compress.models.normalized import Normalized
from compress.records.model_card import ModelCard
from tests.trained_run import digits, train_network


@dataclass(frozen=True)
class Written:
    """A trained classifier with its graph.

    Attributes:
        classifier: Takes uint8 NCHW and normalises.
        graph: Its graph, uint8 NHWC to logits.
        card: Its card.
        splits: The images it was trained on.
    """

    classifier: nn.Module
    graph: ModelProto
    card: ModelCard
    splits: Splits

    @property
    def images(self) -> NDArray[np.uint8]:
        """All test images."""
        return self.splits.test.images[:]

    def changed(self, **fields: object) -> ModelCard:
        """The card with other values."""
        return self.card.model_copy(update=fields)


def write(name: str) -> Written:
    """Train a network for a moment and write its graph."""
    splits = digits()
    network, header = train_network(name, splits)
    classifier = Normalized(network, mean=header.mean, std=header.std).eval()
    card = ModelCard(
        name=name,
        architecture=name,
        class_names=splits.class_names,
        image_size=splits.image_size,
        mean=header.mean,
        std=header.std,
    )
    graph = write_graph(classifier, layout="uint8-nhwc", image_size=splits.image_size)
    return Written(classifier, graph, card, splits)


@pytest.fixture(scope="session")
def small_cnn() -> Written:
    """Six dense convolutions, no residual adds."""
    return write("small_cnn")


@pytest.fixture(scope="session")
def resnet20() -> Written:
    """Residual adds, strided slices and padding."""
    return write("resnet20")


@pytest.fixture(scope="session")
def calibrated(small_cnn: Written) -> quantize.Calibrated:
    """The small network with ranges from 100 training images."""
    return quantize.calibrate(small_cnn.graph, small_cnn.splits.train.images[:100])
