"""What `last` means for a command that makes a run itself."""

from pathlib import Path
from typing import TypeVar

from compress.config.distill import DistillConfig
from compress.config.specs import Reference
from compress.config.training import TrainingConfig
from compress.runs import LAST, all_runs, find_run
from compress.stages.training_run import named_folder, run_folder

Config = TypeVar("Config", bound=TrainingConfig)


def last_named(config: Config, what: str, command: str) -> Config:
    """The configuration with a run's folder in place of `last`, as a teacher or a beginning.

    So another newest run is another teacher and another run. `last` is the newest run besides the
    one the command makes: where the newest is what it makes of the one before, it was given before.

    Args:
        config: As asked, before a run is looked for.
        what: The models, as in the run's id.
        command: `train` or `distill`.

    Raises:
        InputError: There is no run, or none that `--resume` names.
    """
    if all(reference.target != LAST for reference in _references(config)):
        return config
    own = named_folder(config, command)
    newest = find_run(LAST, besides=own)
    if own is None:
        for older in all_runs()[1:2]:
            made = run_folder(_taking(config, older), what)[1]
            newest = older if made.resolve() == newest.resolve() else newest
    return _taking(config, newest)


def _references(config: TrainingConfig) -> list[Reference]:
    """What may be `last` in a configuration."""
    teachers = config.teacher if isinstance(config, DistillConfig) else ()
    begun = config.initial_weights
    return [*teachers, *([] if begun is None else [begun])]


def _taking(config: Config, folder: Path) -> Config:
    """The configuration with a folder in place of `last`."""

    def named(one: Reference) -> Reference:
        return one.model_copy(update={"target": str(folder)}) if one.target == LAST else one

    changes: dict[str, object] = {}
    if isinstance(config, DistillConfig):
        changes["teacher"] = tuple(named(one) for one in config.teacher)
    if config.initial_weights is not None:
        changes["initial_weights"] = named(config.initial_weights)
    return config.model_copy(update=changes)
