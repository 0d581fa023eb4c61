"""Where a run of `distill` has its teacher from: the store alone, its manifest, or a search."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from compress.cache import cache_folder
from compress.config.distill import DistillConfig
from compress.config.train import TrainConfig
from compress.data.images import Splits
from compress.data.views import View
from compress.errors import DivergedError, InputError, Interrupted, MachineError
from compress.records.run import InputRecord
from compress.records.soft_labels import TeacherDescription
from compress.runs import MANIFEST, Run, read_manifest
from compress.stages import taught_by, teaching
from compress.stages.stored_teacher import check_whole, only_stored, stored_for
from compress.stages.taught_by import STORED, TEACHER
from compress.stages.train import train
from compress.stages.training_data import MEASURED
from compress.stages.training_run import run_folder, wait_for
from compress.training.answers import not_live
from compress.training.members import Member
from compress.training.soft_labels import SoftLabels
from compress.training.teachers import Teacher, check_alone
from compress.training.workplace import Workplace


def teacher_training(config: DistillConfig) -> TrainConfig:
    """How a missing teacher is trained: as the recipe says, on the same data and split."""
    training = config.teacher_training or TrainConfig()
    same = ("data", "data_dir", "image_size", "validation_fraction", "split_seed", "device")
    return training.model_copy(update={name: getattr(config, name) for name in same})


def fitting(training: TrainConfig, images: int) -> TrainConfig:
    """The training of a teacher with a batch that the images fill: its own, or a power of two.

    Args:
        training: As the recipe has it; no flag of `distill` reaches its batch size.
        images: To train on; at least 2.
    """
    if training.batch_size <= images:
        return training
    return training.model_copy(update={"batch_size": 2 ** (images.bit_length() - 1)})


def learned_from_others(folder: Path, splits: Splits) -> bool:
    """Whether a run lies in a folder that was begun on other images than these.

    Raises:
        InputError: Its manifest is damaged.
    """
    if not (folder / MANIFEST).is_file():
        return False
    return read_manifest(folder).data_sha256 not in (None, splits.sha256)


def check_live(config: DistillConfig) -> None:
    """Refuse losses on features before a teacher is looked for that could not serve them.

    Raises:
        ConfigError: There are stored soft labels alone, or several teachers.
    """
    if config.soft_labels is not None and not config.teacher:
        raise not_live()
    check_alone(len(config.teacher))


@dataclass(frozen=True)
class TeacherSearch:
    """Finds who teaches a run.

    Attributes:
        run: Held open; its manifest says who taught it so far.
        config: What was asked.
        splits: The data.
        views: Those whose stored answers students learn from.
        live: Whether students learn from features, for which the teacher itself runs.
        place: Where to compute; `stop` ends the command after a teacher's training.
        held: As long as it is open, nothing of the store is removed to make room.
    """

    run: Run
    config: DistillConfig
    splits: Splits
    views: Sequence[View]
    live: bool
    place: Workplace
    held: ExitStack

    @property
    def folder(self) -> Path:
        """Of all soft labels."""
        return self.config.soft_labels or cache_folder() / "soft-labels"

    def find(self) -> tuple[SoftLabels, Teacher | None]:
        """The stored answers to learn from, and who computes missing ones.

        Raises:
            InputError: The teacher is missing, altered or at chance, or an answer that nobody can
                compute is missing or damaged.
            ConfigError: There are several, it is another than the run began with, or nothing has
                its name.
            Interrupted: Asked to stop while a teacher was trained.
        """
        if self.config.soft_labels is not None and not self.config.teacher:
            return self._stored_alone(), None
        taught_by.check_way(self.run.folder, self.run.manifest, self.config)
        if not taught_by.named(self.run.manifest):
            return self._asked(self._looked_for())
        pins = self.run.manifest.choices[TEACHER]
        folder = self.run.folder
        gone = self.place.world.from_main(lambda: teaching.first_gone(pins, folder))
        if gone is not None:
            return self._stored_instead(gone), None
        return self._asked(teaching.unpinned(pins, folder, self.splits))

    def _stored_alone(self) -> SoftLabels:
        """The answers in `--soft-labels DIR`, where no teacher is named."""

        def take() -> tuple[SoftLabels, TeacherDescription]:
            pinned = self.run.manifest.choices.get(STORED)
            stored = only_stored(self.folder, self.splits, self.views, begun_with=pinned)
            return self._taken(stored)

        stored, described = self.place.world.from_main(take)
        self.place.progress.note(
            f"teacher: the stored soft labels {stored.key}, views in {described.number_format}; "
            "nothing else is needed"
        )
        return stored

    def _stored_instead(self, gone: str) -> SoftLabels:
        """The answers the run began with, where they hold all it needs of lost weights.

        Args:
            gone: The weights file.
        """

        def take() -> tuple[SoftLabels, TeacherDescription]:
            lost = f"{gone}, which {self.run.folder} learned from, is gone"
            hint = "bring it back, or begin anew with --restart"
            if self.live:
                raise InputError(f"{lost}; losses on features need it", hint=hint)
            key = self.run.manifest.choices.get(STORED)
            known = stored_for(self.folder, self.splits.sha256)
            found = [stored for stored in known if stored.key == key]
            if not found:
                raise InputError(f"{lost}; {self.folder} holds no soft labels of it", hint=hint)
            try:
                return self._taken(found[0])
            except InputError as error:
                raise InputError(f"{lost}; {error.message}", hint=hint) from error

        stored, described = self.place.world.from_main(take)
        self.place.progress.note(
            f"teacher {gone} is gone: its stored soft labels {stored.key}, views in "
            f"{described.number_format}, hold all that is needed"
        )
        return stored

    def _taken(self, stored: SoftLabels) -> tuple[SoftLabels, TeacherDescription]:
        """Answers that must do without their teacher: in use, pinned and whole."""
        self.held.enter_context(stored.in_use())
        described = stored.description()
        members = taught_by.members_of_store(stored.key, described.weights_sha256)
        taught_by.pin_members(self.run, members)
        taught_by.pin_store(self.run, stored.key)
        check_whole(stored, self.views)
        return stored, described

    def _looked_for(self) -> list[Member]:
        """The teacher that `--teacher` names or the default one, trained where there is none."""
        members = teaching.members_of(
            self.config.teacher,
            self.splits,
            training=fitting(teacher_training(self.config), self.splits.train.count),
            train=self._train,
            progress=self.place.progress,
            besides=self.run.folder,
        )
        self.place.world.barrier()
        if self.live:
            check_alone(len(members))
        self.run.choose(TEACHER, lambda: teaching.pinned(members))
        return members

    def _train(self, training: TrainConfig) -> Path:
        """Train a teacher, or let another process that does so end; its run directory.

        A run of the same name that learned from pictures as they were before stays: others may
        have learned from it.
        """
        place, folder = self.place, run_folder(training, training.model.name)[1]
        if learned_from_others(folder, self.splits):
            folder = folder.with_name(f"{folder.name}-{self.splits.sha256[:8]}")
            training = training.model_copy(update={"run_dir": folder})
        wait_for(folder, place)
        threads = torch.get_num_threads()  # a run keeps its own; the students choose theirs
        try:
            train(
                training,
                progress=place.progress,
                name=folder.name,
                images=self._images_for(training),
                watch=place.watch,
            )
        except (MachineError, DivergedError) as error:
            error.retell(
                f"while the teacher was trained: {error.message}",
                hint=f"train it by itself, `compress train --model {training.model}`, with the "
                "options it needs, then distill with --teacher last",
            )
            raise
        finally:
            torch.set_num_threads(threads)
            self.run.renew()
        if place.world.agree(place.stop.requested):
            raise Interrupted(
                f"stopped after the teacher's training; {folder} is complete",
                hint="the same command goes on from there",
            )
        return folder

    def _images_for(self, training: TrainConfig) -> Splits | None:
        """The images of the students for their teacher; None where it needs them measured anew."""
        unlike = training.normalization != self.config.normalization
        if unlike and training.normalization == MEASURED:
            return None
        return replace(self.splits, unlabelled=None)

    def _asked(self, members: Sequence[Member]) -> tuple[SoftLabels, Teacher]:
        """A teacher that answers what is missing, pinned, and its store."""
        taught_by.pin_members(
            self.run,
            [InputRecord(source=one.source, sha256=one.sha256) for one in members],
        )
        teacher, stored = teaching.make_teacher(
            members,
            self.splits,
            self.folder,
            self.place,
            views=self.views,
            limit_mib=self.config.soft_labels_limit_mib,
            batch_size=self.config.batch_size,
            amp=self.config.amp,
            cache=cache_folder(),
            choose=self.run.choose,
            held=self.held,
        )
        self.place.world.from_main(lambda: taught_by.pin_store(self.run, stored.key))
        return stored, teacher
