"""One student in training: its weights, optimizer, losses, and everything its state consists of."""

import copy
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from compress.config.training import Optimization
from compress.data.random_words import words
from compress.errors import DivergedError
from compress.losses.registry import Outputs, weight_at
from compress.losses.supervised import cross_entropy
from compress.models.feature_hooks import tapped
from compress.models.folding import fold_batchnorm
from compress.training.average import MovingAverage
from compress.training.device import Stopwatch, backward, generator_states, placed
from compress.training.distributed import World
from compress.training.figures import Figures
from compress.training.formats import Format
from compress.training.inputs import Batch, Normalize
from compress.training.memory import largest_fitting, ran_out, split_forward, step_failed
from compress.training.objective import Objective
from compress.training.optim import build_optimizer, rate_factor, set_rate

State = dict[str, Tensor]
EVALUATION_BATCH = {"cpu": 64, "cuda": 256}
"""Images per forward pass of an evaluation, in float32: 256 need more memory than the training.

On a CPU 64 are within 4% of the fastest of 32 to 256, for small_cnn, MobileNetV2 and ResNet-20 at
32 pixels on one core of a Xeon with AVX-512.
"""
FOLD_FROM = 2000
"""Images from which on an evaluation is faster with folded BatchNorms, the folding included.

By 5 to 25% on two cores, for MobileNetV2 at 8 pixels and small_cnn and ResNet-20 at 32.
"""
DROPOUT_STREAM = 0x64726F70
"""Of the words that seed dropout: PyTorch's CPU generator looks at 32 bits of a seed only."""


class Learner:
    """A model being trained; what it becomes depends on its seed and the batches only.

    Args:
        label: Names it.
        model: On CPU, initialised.
        objective: What it minimises.
        optimization: How.
        chosen: Memory and number format.
        mean: Of its normalisation, per channel.
        std: Of its normalisation, per channel.
        seed: Of dropout.
        epochs: Of the whole training.
        steps_per_epoch: Of the whole training.
        device: Where it learns.
        world: The ranks that learn together.
    """

    def __init__(
        self,
        label: str,
        model: nn.Module,
        objective: Objective,
        optimization: Optimization,
        chosen: Format,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        seed: int,
        epochs: int,
        steps_per_epoch: int,
        device: torch.device,
        world: World = World(),  # noqa: B008 - immutable
    ) -> None:
        self.label = label
        self.model = placed(model, device, chosen.memory_format)
        self.objective = objective
        self.format = chosen
        self.select = optimization.select
        self.best: State | None = None
        self.best_validation: NDArray[np.float32] | None = None
        self.best_val = -1.0
        self.best_val_loss = float("inf")
        self.best_epoch = 0
        self.learning_rate = 0.0
        self._spent = Stopwatch(device)
        self._seconds_before = 0.0
        self._draws: bool | None = None
        self._settings = optimization
        self._seed = seed
        self._epochs = epochs
        self._steps_per_epoch = steps_per_epoch
        self._device = device
        self._world = world
        self._normalize = Normalize(mean, std, device=device, memory_format=chosen.memory_format)
        self._plain = Normalize(mean, std, device=device, memory_format=torch.channels_last)
        for module in objective.modules:
            module.to(device)
        self._trained: list[nn.Module] = [self.model, *objective.modules]
        self._train()
        self._parameters = [p for m in self._trained for p in m.parameters() if p.requires_grad]
        self._optimizer = build_optimizer(
            self._trained,
            name=optimization.optimizer,
            learning_rate=optimization.learning_rate,
            momentum=optimization.momentum,
            weight_decay=optimization.weight_decay,
            scaled=chosen.dtype == "float16",
        )
        self._average = MovingAverage(self.model) if optimization.ema_decay else None
        self._scaler = torch.amp.GradScaler(device.type, enabled=chosen.dtype == "float16")
        self._forward = chosen.forward(self.model)
        self._figures = Figures(device, world)

    @property
    def seconds(self) -> float:
        """The device's time for steps and evaluations so far; waits for it."""
        return self._spent.seconds

    def _train(self) -> None:
        for module in self._trained:
            module.train()

    def begin_epoch(self) -> None:
        """Forget the running figures of the epoch before."""
        self._figures.clear()
        self._seconds_before = self.seconds

    @property
    def epoch_seconds(self) -> float:
        """What it spent since the epoch began, in processes before this one, too."""
        return self.seconds - self._seconds_before

    def step(
        self, batch: Batch, soft: Tensor | None, teacher: Mapping[str, Tensor], *, step: int
    ) -> None:
        """Learn from one batch.

        Args:
            batch: Augmented images and their targets.
            soft: The teacher's stored logits, float32 (batch, classes); None where no loss reads
                them.
            teacher: Features of a live teacher by module path; empty where none runs.
            step: From 0, over the whole training.

        Raises:
            MachineError: Out of memory.
        """
        try:
            with self._spent.running():
                self._step(batch, soft, teacher, step)
        except (RuntimeError, MemoryError) as error:
            if not ran_out(error):
                raise
            reason = str(error)
        else:
            return

        def attempt(size: int) -> None:
            # one that failed between unscaling and stepping would refuse to unscale again
            enabled = self._scaler.is_enabled()
            self._scaler = torch.amp.GradScaler(self._device.type, enabled=enabled)
            part = Batch(batch.images[:size], batch.targets[:size], batch.rows[:size])
            logits = None if soft is None else soft[:size]
            features = {path: feature[:size] for path, feature in teacher.items()}
            self._step(part, logits, features, step)

        # Nothing of this learner is kept after the error, so it may be spent on finding out.
        count = len(batch.images)
        fits = largest_fitting(attempt, count) if self._world.size == 1 else None
        raise step_failed(reason, label=self.label, batch_size=count, fits=fits)

    def _step(
        self, batch: Batch, soft: Tensor | None, teacher: Mapping[str, Tensor], step: int
    ) -> None:
        epoch = step / self._steps_per_epoch
        self.learning_rate = self._settings.learning_rate * rate_factor(
            step,
            steps=self._epochs * self._steps_per_epoch,
            schedule=self._settings.schedule,
            warmup_steps=round(self._settings.warmup_epochs * self._steps_per_epoch),
            milestones=self._settings.milestones,
            gamma=self._settings.gamma,
        )
        set_rate(self._optimizer, self.learning_rate)
        before = None
        if self._draws is not False:
            number = step * self._world.size + self._world.rank
            torch.manual_seed(int(words(self._seed, number, DROPOUT_STREAM, 1)[0]))
            before = generator_states(self._device) if self._draws is None else None
        if not self.model.training:
            self._train()
        with (
            self.format.autocast(self._device),
            tapped(self.model, self.objective.student_taps) as features,
        ):
            logits = self._forward(self._normalize(batch.images))
        loss = self._loss(Outputs(logits, features), batch.targets, soft, teacher, epoch)
        self._optimizer.zero_grad(set_to_none=True)
        backward(self._scaler.scale(loss))
        if before is not None:
            # A network that drew nothing in its first step draws nothing: no more seeds for it.
            after = generator_states(self._device)
            self._draws = not all(map(torch.equal, before, after))
        # Before they are looked at: all ranks must find the same overflow, or none.
        self._world.average_gradients(self._parameters)
        self._scaler.unscale_(self._optimizer)
        if self._settings.clip_norm:
            nn.utils.clip_grad_norm_(self._parameters, self._settings.clip_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        if self._average is not None:
            self._average.move(self._settings.ema_decay, step=step)
        self._figures.add(loss, logits, batch.shown)

    def _loss(
        self,
        student: Outputs,
        targets: Tensor,
        soft: Tensor | None,
        teacher: Mapping[str, Tensor],
        epoch: float,
    ) -> Tensor:
        parts: list[Tensor] = []
        ce_weight = self.objective.ce_weight_at(epoch)
        if ce_weight:
            supervised = cross_entropy(
                student.logits, targets, label_smoothing=self.objective.label_smoothing
            )
            parts.append(ce_weight * supervised)
        if soft is None and self.objective.reads_logits:
            raise ValueError(f"{self.label} has losses on a teacher's logits and no teacher")
        trains_head = bool(ce_weight)
        taught = Outputs(student.logits.new_empty(0) if soft is None else soft, teacher)
        for term in self.objective.terms:
            weight = weight_at(term.asked, epoch=epoch, epochs=self._epochs)
            if weight:
                parts.append(weight * term.loss(student, taught, targets))
                trains_head = trains_head or not term.loss.needs_features
        if not trains_head:
            # A zero with a gradient: every weight has one at every step, whatever the ramps say.
            parts.insert(0, 0.0 * student.logits.float().sum())
        return functools.reduce(torch.add, parts)

    def figures(self) -> tuple[float, float]:
        """Mean loss and top-1 (of the labelled) over the epoch's batches so far, over all ranks.

        Raises:
            DivergedError: The loss is not finite.
        """
        loss, top1 = self._figures.means()
        if not np.isfinite(loss):
            raise self.diverged("the loss")
        return loss, top1

    def is_finite(self) -> bool:
        """Whether every weight is a number, so that a checkpoint of them is worth keeping."""
        return bool(torch.stack([p.detach().isfinite().all() for p in self._parameters]).all())

    def diverged(self, what: str) -> DivergedError:
        """The error for a training that went out of bounds."""
        rate = self._settings.learning_rate
        return DivergedError(self.label, f"{what} is not finite at learning rate {rate:g}")

    @property
    def deployed(self) -> nn.Module:
        """The network that is evaluated and kept: the average where there is one."""
        return self.model if self._average is None else self._average.model

    def logits(self, pixels: Tensor, weights: State | None = None) -> NDArray[np.float32]:
        """float32 logits of plain uint8 images.

        Args:
            pixels: (images, channels, height, width).
            weights: Of another epoch; None uses the present ones.

        Returns:
            Shape (images, classes).
        """
        with self._spent.running():
            network = self.deployed
            if weights is not None:
                network = copy.deepcopy(network)
                network.load_state_dict(weights)
            if len(pixels) >= FOLD_FROM:
                network = fold_batchnorm(network)
            was_training = network.training
            network.eval()
            with torch.inference_mode():
                # Kept on the device until the end: fetching each would wait for it.
                parts = [
                    split_forward(
                        lambda some: network(self._plain(some)).float(), part.to(self._device)
                    )
                    for part in torch.split(pixels, EVALUATION_BATCH[self._device.type])
                ]
                logits = torch.cat(parts)
            network.train(was_training)
        return logits.cpu().numpy()

    def weights(self) -> State:
        """A copy of the weights that are kept, on CPU, contiguous."""
        return {
            name: value.detach().cpu().contiguous().clone()
            for name, value in self.deployed.state_dict().items()
        }

    def consider(
        self,
        epoch: int,
        val_top1: float,
        val_loss: float,
        logits: NDArray[np.float32] | None = None,
    ) -> None:
        """Keep this epoch's weights if they are the best on the validation split so far.

        The higher top-1 wins, then the lower loss, then the earlier epoch. Where the settings
        select the last epoch, it is the best whatever its figures.

        Args:
            epoch: From 1.
            val_top1: On the validation split.
            val_loss: On the validation split.
            logits: Of the validation split, (images, classes); kept with the weights.
        """
        better = (val_top1, -val_loss) > (self.best_val, -self.best_val_loss)
        if better or self.select == "last":
            self.best, self.best_epoch, self.best_validation = self.weights(), epoch, logits
            self.best_val, self.best_val_loss = val_top1, val_loss

    def state(self) -> dict[str, Any]:
        """Everything that is needed to go on; all ranks ask for it together.

        Rank 0's is every rank's, but for what each has summed over its share of the batches.
        """
        logits = self.best_validation
        return {
            "label": self.label,
            "model": self.model.state_dict(),
            "projectors": [module.state_dict() for module in self.objective.modules],
            "optimizer": self._optimizer.state_dict(),
            "average": None if self._average is None else self._average.model.state_dict(),
            "scaler": self._scaler.state_dict(),
            "best": self.best,
            "best_validation": None if logits is None else torch.from_numpy(logits),
            "best_val": self.best_val,
            "best_val_loss": self.best_val_loss,
            "best_epoch": self.best_epoch,
            **self._figures.state(),
            "seconds": self.seconds,
            "seconds_before": self._seconds_before,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a state.

        Raises:
            ValueError: It is another learner's.
        """
        if state["label"] != self.label:
            raise ValueError(f"state of {state['label']}, expected {self.label}")
        self.model.load_state_dict(state["model"])
        for module, saved in zip(self.objective.modules, state["projectors"], strict=True):
            module.load_state_dict(saved)
        self._optimizer.load_state_dict(state["optimizer"])
        if self._average is not None:
            self._average.model.load_state_dict(state["average"])
        self._scaler.load_state_dict(state["scaler"])
        self.best, logits = state["best"], state.get("best_validation")
        self.best_validation = None if logits is None else logits.numpy()
        self.best_val, self.best_val_loss = state["best_val"], state["best_val_loss"]
        self.best_epoch = state["best_epoch"]
        self._figures.load_state(state)
        self._spent = Stopwatch(self._device, state["seconds"])
        self._seconds_before = state.get("seconds_before", state["seconds"])  # older have none
