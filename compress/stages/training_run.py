"""What `train` and `distill` do alike: find or open the run, close it with its record."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from pydantic import ValidationError

from compress.cache import cache_folder
from compress.config.distill import DistillConfig, StudentPlan
from compress.config.recipes import DISPLACED, config_error, layers
from compress.config.train import TrainConfig
from compress.config.training import TrainingConfig
from compress.data import registry as data
from compress.data.images import Splits
from compress.environment import read_environment
from compress.errors import ConfigError, InputError, Interrupted, MachineError
from compress.files import write_text
from compress.identity import NOT_ASKED, SAME_RESULT, differences, run_id
from compress.locks import is_held, wait_until_free
from compress.progress import Progress
from compress.records.distill import DistillRecord
from compress.records.run import DATA, UNLABELLED, RunManifest
from compress.records.train import TrainRecord
from compress.runs import LOCK, RECORD, RUNS, Run, checked_file, find_run, read_manifest
from compress.stages import initial
from compress.stages.networks import check_model_settings
from compress.stages.training_data import load_splits, with_unlabelled
from compress.training.device import accelerator_name
from compress.training.distributed import World
from compress.training.results import read_diverged
from compress.training.schedule import Schedule
from compress.training.workplace import Workplace

Config = TypeVar("Config", TrainConfig, DistillConfig)
Record = TypeVar("Record", TrainRecord, DistillRecord)


def as_asked(config: TrainingConfig) -> dict[str, Any]:
    """A configuration in JSON form, as it stands in manifests."""
    asked: dict[str, Any] = json.loads(config.model_dump_json())
    return asked


def asked_before(folder: Path, kind: type[TrainingConfig], config: dict[str, Any]) -> Any:
    """What a run's manifest asks for; what its version did not have yet is at its default.

    Args:
        folder: The run's, for messages.
        kind: The configuration of its command.
        config: As it stands in the manifest.

    Returns:
        A configuration of that kind.

    Raises:
        ConfigError: It has an option or a value that this version does not have.
    """
    try:
        return kind.model_validate(config)
    except ValidationError as error:
        unknown_keys = [e["loc"] for e in error.errors() if e["type"] == "extra_forbidden"]
        reason = f"begun with what this version refuses: {config_error(kind, error).message}"
        if unknown_keys:
            key = ".".join(map(str, unknown_keys[0]))
            reason = f"begun by a newer version: this one has no option {key}"
        raise ConfigError(
            f"{folder} was {reason}",
            hint="go on with the version that began it, or use --restart or another --run-dir",
        ) from error


def resumed(config: Config, flags: dict[str, Any], command: str) -> Config:
    """The configuration of the run that `--resume` names.

    Args:
        config: Built from flags, recipe and defaults.
        flags: What the user gave, validated values of which must agree with the run, and so must
            those of a recipe that is among them.
        command: `train` or `distill`; `last` is its newest run.

    Raises:
        InputError: No such run.
        ConfigError: It is another command's, lies elsewhere, or a flag or the recipe differs.
    """
    if config.resume is None:
        return config
    if config.restart:
        raise ConfigError("--resume and --restart contradict each other", hint="leave one out")
    folder = find_run(config.resume, command=command)
    manifest = read_manifest(folder)
    if manifest.command != command:
        raise ConfigError(
            f"{folder} was made by `compress {manifest.command}`",
            hint=f"use `compress {manifest.command} --resume {config.resume}`",
        )
    if "run_dir" in flags and Path(flags["run_dir"]).resolve() != folder.resolve():
        raise ConfigError(
            f"--resume {config.resume} is the run in {folder}, not in --run-dir {flags['run_dir']}",
            hint="leave --run-dir out: a run goes on where it lies",
        )
    stored = asked_before(folder, type(config), manifest.config)
    said = _said(flags, command)
    changed = differences(_given(as_asked(stored), said), _given(as_asked(config), said))
    if changed:
        them = "--recipe" if "recipe" in flags else "them"
        raise ConfigError(
            f"{folder} was begun with other options: {'; '.join(changed)}",
            hint=f"leave {them} out, or start another run without --resume",
        )
    free = (NOT_ASKED | SAME_RESULT.keys()) - {"run_dir", "resume", "restart"}
    chosen = {key: getattr(config, key) for key in free if key in flags}
    if isinstance(stored, DistillConfig) and stored.teacher_training:
        known = type(stored.teacher_training).model_fields
        own = {key: chosen[key] for key in SAME_RESULT if key in chosen and key in known}
        chosen["teacher_training"] = stored.teacher_training.model_copy(update=own)
    chosen |= {"run_dir": folder, "resume": None, "restart": False}
    continued: Config = stored.model_copy(update=chosen)
    return continued


def _said(flags: dict[str, Any], command: str) -> dict[str, Any]:
    """What is said of a run: the flags, with the values of a recipe that is among them."""
    if "recipe" not in flags:
        return flags
    recipe, asked = layers(command, flags)
    if command == "distill":
        recipe["teacher_training"] = layers("train", {"recipe": flags["recipe"]})[0]
    return {**recipe, **asked}


def _given(config: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    """The part of a configuration that something is said of, and what would hide it in a run.

    That is another way to say it, a sweep of it, and its setting for a single model. An ensemble
    hides nothing: it goes with one seed and several students, too.
    """
    ways = {way for key in said for way in DISPLACED.get(key, ())} - {"ensemble"}
    found = _named(config, {**dict.fromkeys(ways), **said})
    hiding = {"sweep": config.get("sweep", {})}
    for model, settings in config.get("model_settings", {}).items():
        hiding[f"model_settings.{model}"] = settings
    for place, table in hiding.items():
        hidden = {key: value for key, value in table.items() if key.replace("-", "_") in said}
        found |= {f"{place}.{key}": value for key, value in hidden.items()}
    return found


def _named(config: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    """The keys of a configuration that are said; of tables the keys that are named there."""
    found = {key: config.get(key) for key in said}
    for key, value in found.items():
        if isinstance(value, dict) and isinstance(said[key], dict):
            found[key] = _named(value, said[key])
    return found


def run_folder(config: TrainingConfig, what: str) -> tuple[str, Path]:
    """The id of the run a configuration asks for, and where it lies."""
    name = run_id(config.data, what, as_asked(config))
    return name, config.run_dir or RUNS / name


def named_folder(config: TrainingConfig, command: str) -> Path | None:
    """Where the run lies that `--resume` or `--run-dir` names; None where neither does.

    Args:
        config: As asked.
        command: `train` or `distill`; `--resume last` is its newest run.

    Raises:
        InputError: No such run.
    """
    if config.resume is None:
        return config.run_dir
    return find_run(config.resume, command=command)


def finished_record(folder: Path, config: TrainingConfig, progress: Progress) -> Path | None:
    """The record of a complete run that was asked for in the same way, or None.

    Raises:
        InputError: The run's manifest is damaged, a file of it is missing or altered, or the
            pictures it learned from, or the weights it began with, are others now.
        ConfigError: It was begun by a newer version.
    """
    if config.restart or not (folder / "manifest.json").is_file():
        return None
    manifest = read_manifest(folder)
    command = "distill" if isinstance(config, DistillConfig) else "train"
    if manifest.status != "complete" or manifest.command != command:
        return None
    before = asked_before(folder, type(config), manifest.config)
    if differences(as_asked(before), as_asked(config)):
        return None
    for name in manifest.artifacts:
        checked_file(folder, manifest, name)
    _check_pictures(folder, config, manifest, progress)
    initial.check_finished(folder, manifest)
    return folder / RECORD


def _check_pictures(
    folder: Path, config: TrainingConfig, manifest: RunManifest, progress: Progress
) -> None:
    """Refuse to show a run for pictures that changed since; published data sets never do.

    Where they are gone or cannot be read, there is nothing to compare, and the run stands.

    Raises:
        InputError: They changed.
    """

    def read(source: str, get: Callable[[], Splits]) -> Splits | None:
        try:
            return get()
        except (InputError, ConfigError, MachineError) as error:
            progress.note(f"{source} is not compared with what {folder} learned from: {error}")
            return None

    def compare(name: str, now: str) -> None:
        pin = manifest.inputs.get(name)
        if pin is not None and now != pin.sha256:
            raise InputError(
                f"the pictures of {pin.source} changed since {folder} was trained on them (sha256 "
                f"{now[:12]}…, expected {pin.sha256[:12]}…)",
                hint="bring the old ones back, or begin anew with --restart or another --run-dir",
            )

    more = config.unlabelled if isinstance(config, DistillConfig) else None
    published = more is None or data.is_named(more)
    if published and data.is_named(config.data):
        return
    splits = read(config.data, lambda: load_splits(config, progress, download=False))
    if splits is not None:
        compare(DATA, splits.sha256)
    if splits is None or published or not isinstance(config, DistillConfig):
        return
    fuller = read(str(more), lambda: with_unlabelled(splits, config, progress, download=False))
    if fuller is not None and fuller.unlabelled is not None:
        compare(UNLABELLED, fuller.unlabelled.sha256)


def wait_for(folder: Path, place: Workplace) -> None:
    """Let another process that works in a run directory end first.

    Rank 0 looks, and all ranks wait from look to look: none is left in a message that times out.

    Args:
        folder: The run's.
        place: Told that, and for whom, this one waits; asked to stop while it does.

    Raises:
        Interrupted: Asked to stop.
    """
    world, stop = place.world, place.stop
    if not wait_until_free(
        folder / LOCK,
        tell=place.progress.note,
        give_up=lambda: world.agree(stop.requested),
        held=lambda path: world.from_main(lambda: is_held(path)),
    ):
        raise Interrupted(
            f"stopped while waiting for {folder}", hint="the same command goes on from there"
        )


def open_run(
    folder: Path,
    name: str,
    config: TrainingConfig,
    command: Literal["train", "distill"],
    world: World,
) -> Run:
    """Take the run directory for this process, or follow rank 0, which holds it.

    Raises:
        ConfigError: It was begun with other options or by a newer version, or its data is unknown.
        InputError: Another process holds it, or it cannot be written.
    """
    data.check(config.data)
    if isinstance(config, DistillConfig) and config.unlabelled is not None:
        data.check(config.unlabelled, "--unlabelled")
    check_model_settings(config)
    if isinstance(config, DistillConfig) and config.teacher_training is not None:
        check_model_settings(config.teacher_training)
    taken: list[Run] = []

    def take() -> None:
        taken.append(
            Run.open(
                folder,
                id=name,
                command=command,
                config=as_asked(config),
                restart=config.restart,
                asked_before=lambda old: as_asked(asked_before(folder, type(config), old)),
            )
        )

    world.from_main(take)
    return taken[0] if world.main else Run.follow(folder)


def completed(
    run: Run,
    kind: type[Record],
    splits: Splits,
    plans: Sequence[StudentPlan],
    config: TrainingConfig,
    device: torch.device,
    **results: Any,
) -> Record:
    """Write the record of a training that is over, and call its run complete.

    Args:
        run: Whose students are trained.
        kind: The record of its command.
        splits: What it trained on.
        plans: Who was to be trained.
        config: What was asked.
        device: Where.
        results: The fields that only this kind of record has.

    Returns:
        The record, as `--json` shows it.

    Raises:
        InputError: The run directory cannot be written.
    """
    record = kind(
        run=run.folder.name,
        data=splits.name,
        train_images=splits.train.count,
        val_images=splits.validation.count,
        test_images=splits.test.count,
        epochs=config.epochs,
        seconds=run.seconds,
        diverged=read_diverged(run, plans),
        environment=read_environment(accelerator=accelerator_name(device)),
        **initial.described(run.manifest, config, plans),
        **results,
    )
    write_text(run.folder / RECORD, record.to_json())
    run.finish("complete")
    return record


def schedule_of(config: TrainingConfig, *, group: int | None = None) -> Schedule:
    """What all students of a run share, as the training wants it."""
    return Schedule(
        epochs=config.epochs,
        batch_size=config.batch_size,
        views=config.views,
        view_seed=config.view_seed,
        augmentation=config.augmentation,
        checkpoint_every=config.checkpoint_every,
        group=group,
        amp=config.amp,
        workers=config.workers,
        cache=cache_folder(),
        sync_batchnorm=config.sync_batchnorm,
    )


def pin_data(run: Run, splits: Splits, config: TrainingConfig, world: World) -> None:
    """Note the data, or refuse it where it changed since the run began, or is not that of rank 0.

    Raises:
        InputError: The images differ from those the run began with, or among ranks.
    """
    more = config.unlabelled if isinstance(config, DistillConfig) else None

    def first() -> tuple[str, str]:
        run.pin(DATA, config.data, splits.sha256)
        run.pin("test images", config.data, splits.test.sha256)
        if splits.unlabelled is not None:
            run.pin(UNLABELLED, str(more), splits.unlabelled.sha256)
        return splits.sha256, splits.swept_sha256

    own, swept = world.from_main(first)
    for source, differ in (
        (config.data, own != splits.sha256),
        (more, swept != splits.swept_sha256),
    ):
        if world.agree(differ):
            error = InputError(
                f"not every rank has the same images of {source}",
                hint="answers go by image: copy one machine's folder to the others",
            )
            error.told = not world.main
            raise error
    if not world.main:
        run.pin(DATA, config.data, splits.sha256)
