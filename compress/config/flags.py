"""How users write an option: the flag, or the key of a recipe where no flag has its name."""

RECIPE_ONLY = frozenset(
    {"alpha_from", "alpha_ramp_epochs", "clip_norm", "control", "gamma", "milestones"}
    | {"model_settings", "momentum", "normalization", "teacher_training", "validation_fraction"}
    | {"warmup_epochs"}
)
"""Keys without a flag of their name, besides those inside tables; `--no-control` has another."""


def written(key: str) -> str:
    """An option in a message.

    Args:
        key: Of a configuration; those of nested tables are joined by dots.

    Returns:
        `--learning-rate`; `momentum` and `augmentation.flip` as a recipe has them.
    """
    if key == "augmentation":
        return "--augment"
    return key if "." in key or key in RECIPE_ONLY else f"--{key.replace('_', '-')}"
