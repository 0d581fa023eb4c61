"""Recipes fill a configuration, under its flags and over its defaults."""

from pathlib import Path
from typing import Any

import pytest

from compress.config import recipes
from compress.config.distill import DistillConfig, distill_config, plan_students
from compress.config.train import TrainConfig
from compress.errors import ConfigError, InputError


def _recipe(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text)
    return str(path)


def test_later_layers_win_key_by_key() -> None:
    config = recipes.build(TrainConfig, {"epochs": 3, "batch_size": 8}, {"epochs": 5})
    assert (config.epochs, config.batch_size, config.learning_rate) == (5, 8, 0.05)


def test_keys_may_be_spelled_as_on_the_command_line() -> None:
    assert recipes.build(TrainConfig, {"batch-size": 8}).batch_size == 8


@pytest.mark.parametrize(
    ("recipe", "flags", "seeds"),
    [
        ({"seeds": [1, 2]}, {"seed": 7}, (7,)),
        ({"seed": 7}, {"seeds": [1, 2]}, (1, 2)),
        ({"seeds": [1, 2]}, {"epochs": 1}, (1, 2)),
    ],
)
def test_a_seed_flag_replaces_the_seeds_of_a_recipe(
    recipe: dict[str, object], flags: dict[str, object], seeds: tuple[int, ...]
) -> None:
    assert recipes.build(TrainConfig, recipe, flags).all_seeds == seeds


def test_an_unknown_key_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="unknown recipe key 'epoch'") as caught:
        recipes.build(TrainConfig, {"epoch": 3})
    assert "epochs" in caught.value.hint.split(": ")[1].split(", ")


@pytest.mark.parametrize(
    ("layer", "known"),
    [
        ({"augmentation": {"flop": True}}, "flip"),
        ({"teacher_training": {"epoch": 3}}, "epochs"),
        ({"teacher_training": {"augmentation": {"flop": True}}}, "flip"),
    ],
)
def test_an_unknown_nested_key_lists_the_known_ones(layer: dict[str, object], known: str) -> None:
    with pytest.raises(ConfigError, match="unknown recipe key") as caught:
        recipes.build(DistillConfig, layer)
    assert known in caught.value.hint.split(": ")[1].split(", ")


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("epochs", 0, "--epochs 0: Input should be greater than or equal to 1"),
        ("alpha", 1.5, "--alpha 1.5: Input should be less than or equal to 1"),
        ("alpha", -0.1, "--alpha -0.1: Input should be greater than or equal to 0"),
        ("temperature", 0, "--temperature 0: Input should be greater than 0"),
        ("temperature", "nan", "--temperature nan: Input should be a finite number"),
        ("batch_size", 0, "--batch-size 0: Input should be greater than or equal to 1"),
        ("learning_rate", 0, "--learning-rate 0: Input should be greater than 0"),
        ("device", "tpu", "--device tpu: Input should be 'auto', 'cpu' or 'cuda'"),
        ("warmup_epochs", 20, "warmup_epochs 20 leaves nothing of 20 epochs"),
        ("seeds", [1, 1], "--seeds: seeds must be different numbers, at least one"),
    ],
)
def test_a_value_out_of_bounds_is_shown_with_its_option(
    option: str, value: object, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        recipes.build(DistillConfig, {option: value})
    assert caught.value.message == message


def test_every_installed_recipe_is_valid() -> None:
    for name in recipes.names():
        tables = recipes.load(name)
        data = tables.get("data", {})
        recipes.build(TrainConfig, data, tables.get("train", {}))
        recipes.build(DistillConfig, data, tables.get("distill", {}))


def test_an_unknown_recipe_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown recipe 'nope'"):
        recipes.load("nope")


def test_a_recipe_file_is_read(tmp_path: Path) -> None:
    path = _recipe(tmp_path, "[data]\ndata = 'digits'\n[distill]\nepochs = 2\n")
    assert recipes.load(path) == {"data": {"data": "digits"}, "distill": {"epochs": 2}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs = 3\n", "unknown recipe table 'epochs'"),
        ("distill = 3\n", "distill in recipe .* is not a table"),
        ("[distill\n", "is not TOML"),
    ],
)
def test_a_malformed_recipe_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        recipes.load(_recipe(tmp_path, text))


def test_a_recipe_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "image.toml").write_bytes(b"\x89PNG\xff")
    with pytest.raises(ConfigError, match="is not TOML"):
        recipes.load(str(tmp_path / "image.toml"))


def test_a_missing_recipe_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read recipe .*gone\.toml: No such file"):
        recipes.load(str(tmp_path / "gone.toml"))


@pytest.mark.parametrize(
    ("recipe", "flags", "kept"),
    [
        ("alpha = 0.3\ntemperature = 2\n", {"loss": ["dkd"]}, set()),
        ("alpha = 0.3\nalpha_from = 0.1\nalpha_ramp_epochs = 2\n", {"loss": ["dkd"]}, set()),
        ("alpha = 0.3\ntemperature = 2\n", {"sweep": {"loss": ["kd", "dkd"]}}, set()),
        (
            "alpha = 0.3\ntemperature = 2\n",
            {"sweep": {"temperature": [1]}},
            {"alpha", "temperature"},
        ),
        ("loss = ['dkd']\nce_weight = 0.1\n", {"sweep": {"alpha": [0.3, 0.9]}}, set()),
        (
            "loss = ['dkd']\nce_weight = 0.1\n",
            {"sweep": {"ce_weight": [1]}},
            {"loss", "ce_weight"},
        ),
        ("seeds = [0, 1]\nensemble = true\n", {"seed": 5}, set()),
        ("seeds = [0, 1]\nensemble = true\n", {"seeds": ["5"]}, {"seeds"}),
        ("seeds = [0, 1]\nensemble = true\n", {"seeds": ["5", "6"]}, {"seeds", "ensemble"}),
    ],
)
def test_a_flag_hides_another_way_to_weigh_of_the_recipe(
    tmp_path: Path, recipe: str, flags: dict[str, Any], kept: set[str]
) -> None:
    asked = {"recipe": _recipe(tmp_path, f"[distill]\n{recipe}"), **flags}
    found, own = recipes.layers("distill", asked)
    assert found.keys() - {"model_settings", "recipe"} == kept
    plan_students(recipes.build(DistillConfig, found, own))


TWO_ALPHAS = "[distill.sweep]\nalpha = [0.5, 1]\nlearning-rate = [0.1, 0.2]\n"
TWO_LOSSES = "[distill.sweep]\nloss = ['kd:weight=2', 'dkd']\nce_weight = [0.1, 1]\n"


@pytest.mark.parametrize(
    ("recipe", "flags", "swept"),
    [
        (TWO_ALPHAS, {"epochs": 1}, {"alpha": [0.5, 1], "learning_rate": [0.1, 0.2]}),
        (TWO_ALPHAS, {"sweep": {"alpha": [0.3]}}, {"alpha": [0.3], "learning_rate": [0.1, 0.2]}),
        (
            TWO_ALPHAS,
            {"sweep": {"temperature": [1, 4]}},
            {"alpha": [0.5, 1], "learning_rate": [0.1, 0.2], "temperature": [1, 4]},
        ),
        (TWO_ALPHAS, {"learning_rate": 0.3}, {"alpha": [0.5, 1]}),
        (TWO_ALPHAS, {"alpha": 0.3}, {"learning_rate": [0.1, 0.2]}),
        (TWO_ALPHAS, {"loss": ["kd"]}, {"learning_rate": [0.1, 0.2]}),
        (
            TWO_ALPHAS,
            {"sweep": {"loss": ["kd", "dkd"]}},
            {"learning_rate": [0.1, 0.2], "loss": ["kd", "dkd"]},
        ),
        (TWO_LOSSES, {"temperature": 2}, {}),
        (TWO_LOSSES, {"sweep": {"alpha": [0.3]}}, {"alpha": [0.3]}),
        (
            TWO_LOSSES,
            {"sweep": {"temperature": [2]}},
            {"loss": ["kd:weight=2", "dkd"], "ce_weight": [0.1, 1], "temperature": [2]},
        ),
        (TWO_LOSSES, {"loss": ["kd"]}, {"ce_weight": [0.1, 1]}),
        (TWO_LOSSES, {"loss": ["kd"], "ce_weight": 1}, {}),
    ],
)
def test_what_a_recipe_sweeps_stays_where_no_flag_says_otherwise(
    tmp_path: Path, recipe: str, flags: dict[str, Any], swept: dict[str, Any]
) -> None:
    config = distill_config({"recipe": _recipe(tmp_path, recipe), **flags})
    assert config.sweep == {key: tuple(values) for key, values in swept.items()}
    plan_students(config)


def test_a_learning_rate_is_crossed_with_every_loss_of_the_recipe() -> None:
    flags = {"recipe": "cifar10-small-cnn", "sweep": {"learning_rate": [0.1, 0.2]}}
    students = [p for p in plan_students(distill_config(flags)) if p.role == "student"]
    assert [(p.terms[0].name, p.optimization.learning_rate) for p in students] == [
        (loss, rate)
        for loss in ("kd", "logit_std", "dkd", "dist", "attention")
        for rate in (0.1, 0.2)
    ]


def test_a_run_that_is_resumed_is_asked_for_with_the_keys_of_the_flag_alone() -> None:
    flags = {"data": "cifar10", "augmentation": {"flip": "true"}}
    _, given = recipes.layers("distill", flags)
    assert given["augmentation"].keys() > {"flip"}, "those of the recipe cifar10"
    _, given = recipes.layers("distill", {**flags, "resume": "last"})
    assert given["augmentation"] == {"flip": "true"}


def test_a_recipe_that_is_named_is_asked_for_of_a_run_that_is_resumed(tmp_path: Path) -> None:
    flags = {"recipe": _recipe(tmp_path, TWO_ALPHAS), "sweep": {"temperature": [1]}}
    _, begun = recipes.layers("distill", flags)
    assert recipes.layers("distill", {**flags, "resume": "last"})[1]["sweep"] == begun["sweep"]
    assert begun["sweep"].keys() > {"temperature"}


@pytest.mark.parametrize("table", ["[distill]\n", "[distill.sweep]\n"])
def test_two_spellings_of_one_key_are_refused(tmp_path: Path, table: str) -> None:
    path = _recipe(tmp_path, f"{table}weight-decay = 0\nweight_decay = 1\n")
    with pytest.raises(ConfigError, match="weight_decay is given twice") as caught:
        recipes.layers("distill", {"recipe": path})
    assert path in caught.value.message


def test_a_recipes_digest_is_of_what_it_sets(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"

    def digest(text: str) -> str:
        path.write_text(text)
        return recipes.sha256(str(path))

    first = digest('[about]\nsummary = "a"\n[distill]\nepochs = 3\nalpha = 0.5\n')
    assert digest("# new\n[distill]\nalpha = 0.5 # half\nepochs = 3\n") == first
    assert digest("[distill]\nalpha = 0.5\nepochs = 4\n") != first


@pytest.mark.parametrize("line", ['run-dir = "t"', "restart = true", "tensorboard = true"])
@pytest.mark.parametrize("table", ["data", "train", "distill"])
def test_a_recipe_says_nothing_of_one_invocation(tmp_path: Path, table: str, line: str) -> None:
    recipe = _recipe(tmp_path, f"[{table}]\n{line}\n")
    option = line.split(" ")[0].replace("-", "_")
    with pytest.raises(ConfigError, match=f"^{option} in recipe .*: it is of one invocation"):
        distill_config({"recipe": recipe})
    recipe = _recipe(tmp_path, f"[distill.teacher-training]\n{line}\n")
    with pytest.raises(ConfigError, match=f"^{option} in recipe .*: it is of one invocation"):
        distill_config({"recipe": recipe})


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"learning_rate": 0.1, "sweep": {"learning_rate": [0.2, 0.3]}}, "--learning-rate and "),
        (
            {"select": "last", "sweep": {"select": ["best", "last"]}},
            "--select and --sweep select",
        ),
        ({"alpha": 0.5, "sweep": {"alpha": [0.1]}}, "--alpha and --sweep alpha=… are two ways"),
        ({"weight_decay": 0.0, "sweep": {"weight-decay": [0.1]}}, "--weight-decay and --sweep"),
    ],
)
def test_a_flag_is_not_swept_too(flags: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        distill_config(flags)


@pytest.mark.parametrize(("epochs", "warmup"), [(5, 1.0), (40, 4.0), (10, 2.0), (20, 4.0)])
def test_a_recipes_warmup_shrinks_with_its_epochs(
    tmp_path: Path, epochs: int, warmup: float
) -> None:
    recipe = _recipe(
        tmp_path,
        "[distill]\nepochs = 20\nwarmup-epochs = 4\n"
        "[distill.model-settings.small_cnn]\nwarmup-epochs = 8\n",
    )
    config = distill_config({"recipe": recipe, "epochs": epochs})
    assert config.warmup_epochs == warmup
    assert config.optimization("small_cnn").warmup_epochs == 2 * warmup
    assert distill_config({"recipe": recipe}).warmup_epochs == 4


def test_also_of_the_default_epochs_and_where_it_is_swept(tmp_path: Path) -> None:
    recipe = _recipe(tmp_path, "[distill]\nsweep = { warmup-epochs = [0, 8] }\nwarmup-epochs = 4\n")
    config = distill_config({"recipe": recipe, "epochs": 5})
    assert config.warmup_epochs == 1
    assert list(config.sweep["warmup_epochs"]) == [0, 2]
    assert {plan.optimization.warmup_epochs for plan in plan_students(config)} == {0, 2}


def test_a_seed_and_seeds_are_not_said_together() -> None:
    with pytest.raises(ConfigError, match="--seed and --seeds are two ways"):
        recipes.build(TrainConfig, {"seed": 3, "seeds": [0, 1]})
