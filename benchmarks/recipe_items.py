"""What run_recipes.py runs, in this order, and how later items follow from earlier ones."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from compress.config import recipes
from compress.records.recipe import RecipeRecord

KD = "ce:weight=0.1 + kd:weight=0.9,temperature=4"

Records = Mapping[str, RecipeRecord]


def as_it_is(_records: Records) -> list[str]:
    """No flags: the recipe as it is."""
    return []


def _mean_val_top1(record: RecipeRecord) -> dict[str, float]:
    """Mean validation top-1 over seeds by loss: what methods are chosen by, never test images.

    A teacher that was trained on the validation images favours there who imitates it, and losses
    differ in that: small leads say nothing.
    """
    found: dict[str, list[float]] = {}
    for row in record.result.students:
        if row.role == "student":
            found.setdefault(str(row.settings["loss"]), []).append(row.val_top1)
    return {loss: fmean(values) for loss, values in found.items()}


def kd_and_the_best_other(records: Records) -> list[str]:
    """The best of the other losses beside kd, both with three seeds."""
    scores = _mean_val_top1(records["cifar10-small-cnn"])
    others = sorted((loss for loss in scores if loss != KD), key=scores.__getitem__)
    return ["--sweep", f"loss={';'.join([KD, *others[-1:]])}", "--seeds", "0,1,2"]


def the_winner_for_longer(records: Records) -> list[str]:
    """The better of the two, with three seeds."""
    scores = _mean_val_top1(records["cifar10-small-cnn-seeds"])
    winner = max(scores, key=scores.__getitem__)
    return ["--sweep", f"loss={winner}", "--seeds", "0,1,2"]


def the_winner_once(records: Records) -> list[str]:
    """The better of the two with one seed and without the control, which other records have."""
    return [*the_winner_for_longer(records)[:2], "--seed", "0", "--no-control"]


def one_student(_records: Records) -> list[str]:
    """A single student, and so no ensemble."""
    return ["--seed", "0"]


@dataclass(frozen=True)
class Item:
    """Something to run.

    Attributes:
        name: Of its record.
        of: The recipe it starts from; None where that has the same name.
        flags: What differs from the recipe; may depend on earlier records.
        needs: Items whose records the flags or the teacher depend on.
        outside: Whether the published ResNet-56 teaches.
        members: Item whose students teach together.
        begins_with: Item whose students are taught on, each by its label.
        epochs: Instead of the recipe's.
        cpu_epochs: On a CPU, so many epochs instead of the recipe's.
        gpu: Left out without a GPU unless it is named.
        stem: Begins the names of records with other epochs than the item's; None where `name` does.
    """

    name: str
    of: str | None = None
    flags: Callable[[Records], list[str]] = as_it_is
    needs: tuple[str, ...] = ()
    outside: bool = False
    members: str | None = None
    begins_with: str | None = None
    epochs: int | None = None
    cpu_epochs: int | None = None
    gpu: bool = False
    stem: str | None = None

    @property
    def recipe(self) -> str:
        """The recipe it starts from."""
        return self.of or self.name

    @property
    def follows(self) -> str | None:
        """The item whose students it takes up, as teachers or to teach them on."""
        return self.members or self.begins_with

    @property
    def own_teacher(self) -> bool:
        """Whether its teacher is trained for it alone, by the recipe."""
        return not self.outside and self.members is None

    def changes(self, records: Records, *, gpu: bool, epochs: int | None) -> list[str]:
        """The flags that make it another experiment than its recipe.

        Args:
            records: Those of the items it needs.
            gpu: Whether it will run on a GPU.
            epochs: Asked for by hand.
        """
        wanted = epochs or (None if gpu else self.cpu_epochs)
        if wanted is None or self.whole_epochs == {wanted}:
            wanted = self.epochs
        return [*self.flags(records), *(["--epochs", str(wanted)] if wanted else [])]

    @property
    def whole_epochs(self) -> set[int]:
        """How many epochs it has, run whole: of the students, and of its own teacher."""
        if self.epochs:
            return {self.epochs}
        tables = recipes.load(self.recipe)
        commands = ("train", "distill") if self.own_teacher else ("distill",)
        return {tables[command]["epochs"] for command in commands}

    def record_name(self, changes: Sequence[str]) -> str:
        """What its record and run directory are called: other epochs, another name."""
        asked = epochs_of(changes)
        return self.name if asked == self.epochs else f"{self.stem or self.name}-{asked}-epochs"


def epochs_of(changes: Sequence[str]) -> int | None:
    """The epochs that flags ask for."""
    return int(changes[changes.index("--epochs") + 1]) if "--epochs" in changes else None


ITEMS = (
    Item("origin-cifar10-alexnet-three-students"),
    Item("cifar10-small-cnn", outside=True),
    Item("cifar10-two-block-cnn", outside=True),
    Item("cifar10-two-block-cnn-long", outside=True),
    Item(
        "cifar10-small-cnn-seeds",
        of="cifar10-small-cnn",
        flags=kd_and_the_best_other,
        needs=("cifar10-small-cnn",),
        outside=True,
    ),
    Item(
        "cifar10-small-cnn-40-epochs",
        of="cifar10-small-cnn",
        flags=the_winner_for_longer,
        needs=("cifar10-small-cnn-seeds",),
        outside=True,
        epochs=40,
        stem="cifar10-small-cnn-winner",
    ),
    Item("cifar10-small-cnn-long", outside=True),
    Item("cifar10-small-cnn-long-kd", outside=True),
    Item("cifar10-small-cnn-long-gentle", outside=True),
    Item(
        "cifar10-small-cnn-refined",
        needs=("cifar10-small-cnn-long-gentle",),
        outside=True,
        begins_with="cifar10-small-cnn-long-gentle",
    ),
    Item(
        "cifar10-small-cnn-to-one",
        of="cifar10-small-cnn",
        flags=the_winner_once,
        needs=("cifar10-small-cnn-seeds", "cifar10-small-cnn-refined"),
        members="cifar10-small-cnn-refined",
    ),
    Item("cifar10-small-cnn-averaged", outside=True),
    Item("cifar10-small-cnn-unlabelled", outside=True),
    # 25 epochs of teacher and students: about two hours on 2 AVX-512 cores by the speeds seen
    Item("origin-cifar10-resnet50-mobilenetv2", cpu_epochs=25),
    Item("origin-cifar100-resnet18-resnet14"),
    Item("digits"),
    Item("cifar10", gpu=True),
    Item("cifar100", gpu=True),
    Item("origin-cifar10-hinton", gpu=True),
    Item("origin-cifar100-ensemble", gpu=True),
    Item(
        "origin-cifar100-ensemble-to-one",
        of="origin-cifar100-ensemble",
        flags=one_student,
        needs=("origin-cifar100-ensemble",),
        members="origin-cifar100-ensemble",
        gpu=True,
    ),
    Item("cifar10-feature-against-response", outside=True, gpu=True),
    Item("cifar10-alpha-temperature", outside=True, gpu=True),
)
