"""Which models of a run differ in nothing but the seed."""

from collections.abc import Sequence
from typing import Protocol


class Seeded(Protocol):
    """A model that is planned or trained."""

    @property
    def label(self) -> str:
        """Its name, which ends in its seed where the run has several."""

    @property
    def seed(self) -> int:
        """What it began from."""


def families(models: Sequence[Seeded]) -> dict[str, str]:
    """Each label without its seed.

    Args:
        models: Those of one run: only several seeds among them are part of labels. The label of a
            run with one seed is the user's own, even if it looks like `tiny-s0`.

    Returns:
        By label, in order; models that differ in nothing but the seed have the same.
    """
    several = len({model.seed for model in models}) > 1
    return {
        model.label: model.label.removesuffix(f"-s{model.seed}") if several else model.label
        for model in models
    }
