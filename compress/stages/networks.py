"""The networks of a run, built once before the long work: what cannot be built shows at once."""

from collections.abc import Sequence

import torch
from torch import nn

from compress.config.distill import StudentPlan
from compress.config.specs import LossTerm, ModelSpec
from compress.config.training import TrainingConfig
from compress.data.images import Splits
from compress.errors import ConfigError
from compress.losses import registry as losses
from compress.models import registry as models
from compress.models.pretrained import IMAGENET, imagenet_weights
from compress.runs import Run
from compress.training.results import unfinished


def check_model_settings(config: TrainingConfig) -> None:
    """Refuse settings of a model that does not exist, or that no model has, also of unused ones.

    Raises:
        ConfigError: There are some, or a value is out of bounds.
    """
    for name in config.model_settings:
        if name not in models.names():
            raise ConfigError(
                f"model-settings of {name!r}, which is no model",
                hint=f"models: {', '.join(models.names())}",
            )
        config.own_settings(name)


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
    for alike in _waiting(run, plans):
        network = _built(run, splits, alike[0].model)
        for term in _terms(alike):
            losses.check_student(
                term, network, image_size=splits.image_size, classes=splits.classes
            )


def check_pairs(run: Run, splits: Splits, plans: Sequence[StudentPlan], teacher: nn.Module) -> None:
    """Look for what losses on features want of a teacher, before the first student is trained.

    Args:
        run: Held open; has the files of the models trained so far.
        splits: The data.
        plans: All models of the run.
        teacher: The network whose features they learn from.

    Raises:
        ConfigError: A loss names modules that it does not have, or that do not go with a student's.
    """
    with torch.random.fork_rng(devices=[]):
        for alike in _waiting(run, plans):
            wanted = [term for term in _terms(alike) if losses.needs_features(term.name)]
            if not wanted:
                continue
            network, size = _built(run, splits, alike[0].model), splits.image_size
            for term in wanted:
                losses.build_for(term, student=network, teacher=teacher, image_size=size)


def _waiting(run: Run, plans: Sequence[StudentPlan]) -> list[list[StudentPlan]]:
    """The plans still to be trained, those of one model together."""
    waiting: dict[str, list[StudentPlan]] = {}
    for plan in unfinished(run, plans):
        waiting.setdefault(str(plan.model), []).append(plan)
    return list(waiting.values())


def _terms(plans: Sequence[StudentPlan]) -> list[LossTerm]:
    """The different terms of their losses."""
    return list({str(term): term for plan in plans for term in plan.terms}.values())


def _built(run: Run, splits: Splits, model: ModelSpec) -> nn.Module:
    size = splits.image_size
    options = models.resolve_options(model.name, image_size=size, options=model.options)
    if options.get("weights") == IMAGENET:
        path, sha256 = imagenet_weights(model.name)
        run.pin(f"ImageNet weights of {model.name}", path.name, sha256)
    with torch.random.fork_rng(devices=[]):
        return models.build(model.name, classes=splits.classes, image_size=size, options=options)
