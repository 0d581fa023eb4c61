"""The networks of a run, built once before the long work: what cannot be built shows at once."""

from collections.abc import Sequence

import torch
from torch import nn

from compress.config.distill import StudentPlan
from compress.config.specs import ModelSpec
from compress.data.images import Splits
from compress.losses import registry as losses
from compress.models import registry as models
from compress.models.pretrained import IMAGENET, imagenet_weights
from compress.runs import Run
from compress.training.results import STUDENTS


def check_networks(run: Run, splits: Splits, plans: Sequence[StudentPlan]) -> None:
    """Build each network that is still to be trained, and look for what its losses want of it.

    The published weights it begins with are noted among the run's inputs. Nothing stays in memory,
    and torch's global generator is as before.

    Args:
        run: Held open; has the files of the models trained so far.
        splits: The data.
        plans: All models of the run.

    Raises:
        ConfigError: A model or loss does not go with the data, or a loss names modules that a
            student does not have.
        MachineError: Published weights are not here and cannot be downloaded.
        InputError: They are corrupt, or others than the run began with.
    """
    waiting: dict[str, list[StudentPlan]] = {}
    for plan in plans:
        if not (run.folder / STUDENTS / f"{plan.label}.json").is_file():
            waiting.setdefault(str(plan.model), []).append(plan)
    for alike in waiting.values():
        network = _built(run, splits, alike[0].model)
        for term in {str(term): term for plan in alike for term in plan.terms}.values():
            losses.check_student(term, network, image_size=splits.image_size)


def _built(run: Run, splits: Splits, model: ModelSpec) -> nn.Module:
    size = splits.image_size
    options = models.resolve_options(model.name, image_size=size, options=model.options)
    if options.get("weights") == IMAGENET:
        path, sha256 = imagenet_weights(model.name)
        run.pin(f"ImageNet weights of {model.name}", path.name, sha256)
    with torch.random.fork_rng(devices=[]):
        return models.build(model.name, classes=splits.classes, image_size=size, options=options)
