"""The record of a recipe that was never run, for tests of what follows from records."""

from compress.records.recipe import RecipeRecord
from tests.fake_run import record, student

KD = "ce:weight=0.1 + kd:weight=0.9,temperature=4"
DIST = "ce + dist:weight=2"
DKD = "ce + dkd:alpha=1,beta=8,temperature=4"


def recipe_record(name: str, scores: dict[str, list[float]]) -> RecipeRecord:
    """A record whose students have these validation accuracies by loss; test says the opposite."""
    rows = [
        student(
            f"small_cnn-{place}-s{seed}",
            seed=seed,
            settings={"loss": loss},
            val_top1=value,
            top1=1 - value,
        )
        for place, (loss, values) in enumerate(scores.items())
        for seed, value in enumerate(values)
    ]
    rows.append(student("small_cnn-control", val_top1=0.99))
    return RecipeRecord(
        name=name, recipe=name, changes="", commands=(), teacher=None, result=record(rows)
    )
