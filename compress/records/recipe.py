"""What a recipe gave when it was really run: the evidence behind a published figure."""

from typing import ClassVar

from compress.records.distill import DistillRecord
from compress.records.document import Document
from compress.records.train import TrainRecord


class RecipeRecord(Document):
    """A recipe's run, as it is kept in benchmarks/records/.

    Attributes:
        name: Of the run; the recipe's own name where it was run as it is.
        recipe: The recipe's name.
        recipe_sha256: Of what it set (`compress.config.recipes.sha256`); null in older records.
        changes: Flags that make it another experiment than the recipe's, as written on a command
            line; empty where it was run whole.
        commands: What was run, one command after the other.
        teacher: How the teacher was trained; null where it came from outside.
        result: What the students became.
        remark: What else is to be known of the run, such as what disturbed its times.
    """

    newest_schema: ClassVar[int] = 1

    name: str
    recipe: str
    recipe_sha256: str | None = None
    changes: str
    commands: tuple[str, ...]
    teacher: TrainRecord | None
    result: DistillRecord
    remark: str = ""
