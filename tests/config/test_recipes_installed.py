"""Every recipe that comes with the package says what it is, and asks for what it says."""

import json
import re
import shlex
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from compress.cli.distill import distill as distill_command
from compress.cli.train import train as train_command
from compress.config import recipes
from compress.config.distill import DistillConfig, StudentPlan, distill_config, plan_students
from compress.config.train import TrainConfig
from compress.models import registry as models
from compress.records.recipe import RecipeRecord
from compress.stages.distill import check_plans
from tests.conftest import ROOT

NAMES = recipes.names()
NOT_YET = "not yet run whole"
MOSTLY_TEACHER = (0.1, {"kd": 0.9})


class Asked(Exception):  # noqa: N818 - it is an answer, not an error
    """What a command line asks a stage for."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config


def ask(monkeypatch: pytest.MonkeyPatch, line: str) -> DistillConfig | TrainConfig:
    """The configuration that a command of a recipe hands to its stage."""
    program, name, *arguments = shlex.split(line)
    assert program == "compress"

    def stage(config: Any, **_options: Any) -> None:
        raise Asked(config)

    monkeypatch.setattr("compress.stages.distill.distill", stage)
    monkeypatch.setattr("compress.stages.train.train", stage)
    app = typer.Typer()
    app.command("distill")(distill_command)
    app.command("train")(train_command)
    result = CliRunner().invoke(app, [name, *arguments])
    assert isinstance(result.exception, Asked), (result.output, result.exception)
    config: DistillConfig | TrainConfig = result.exception.config
    return config


def plans_of(name: str, **flags: Any) -> dict[str, StudentPlan]:
    config = distill_config({"recipe": name, **flags})
    return {plan.label: plan for plan in plan_students(config)}


def objective(plan: StudentPlan) -> tuple[float, dict[str, float]]:
    """The weight of the cross-entropy, and of each loss by name."""
    return round(plan.ce_weight, 12), {term.name: term.weight for term in plan.terms}


def test_the_recipes_of_the_project_are_there() -> None:
    origins = {
        *("origin-cifar10-resnet50-mobilenetv2", "origin-cifar10-hinton"),
        *("origin-cifar10-alexnet-three-students", "origin-cifar100-resnet18-resnet14"),
        "origin-cifar100-ensemble",
    }
    questions = {
        *("cifar10-small-cnn", "cifar10-feature-against-response", "cifar10-alpha-temperature"),
        *("cifar10-two-block-cnn", "cifar10-two-block-cnn-long"),
        *("cifar10-small-cnn-long", "cifar10-small-cnn-long-kd", "cifar10-small-cnn-long-gentle"),
        *("cifar10-small-cnn-unlabelled", "cifar10-small-cnn-averaged"),
        "cifar10-small-cnn-refined",
    }
    assert set(NAMES) == origins | questions | {"digits", "cifar10", "cifar100"}


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_has_a_complete_header(name: str) -> None:
    about = recipes.about(name)
    texts = about.model_dump(exclude={"origin", "target", "to_beat"}, exclude_unset=True)
    assert all(texts.values())
    assert len(about.summary) <= 100
    assert about.record == NOT_YET or (ROOT / about.record).is_file()


def test_the_origins_figures_and_the_targets_are_those_of_the_project() -> None:
    """As the origin systems published them; the third published none."""
    abouts = {name: recipes.about(name) for name in NAMES}
    assert {
        name: about.origin.model_dump(exclude_none=True)
        for name, about in abouts.items()
        if about.origin is not None
    } == {
        "origin-cifar10-resnet50-mobilenetv2": {
            "teacher": 0.7419,
            "alone": 0.7119,
            "student": 0.7578,
        },
        "origin-cifar10-hinton": {"teacher": 0.9313, "alone": 0.8997, "student": 0.9022},
        "origin-cifar100-resnet18-resnet14": {"alone": 0.49},
        "origin-cifar100-ensemble": {"alone": 0.49, "ensemble": 0.598},
    }
    assert {
        name: about.target.model_dump(exclude_none=True)
        for name, about in abouts.items()
        if about.target is not None
    } == {
        "cifar10": {"teacher": 0.96, "student": 0.955, "seeds": 1},
        "cifar10-small-cnn": {"student": 0.923, "seeds": 3},
        "cifar10-small-cnn-long": {"student": 0.923, "seeds": 3},
        "cifar10-small-cnn-long-kd": {"student": 0.923, "seeds": 3},
        "cifar10-small-cnn-long-gentle": {"student": 0.923, "seeds": 3},
        "cifar10-small-cnn-unlabelled": {"student": 0.923, "seeds": 3},
        "cifar10-small-cnn-averaged": {"student": 0.923, "seeds": 3},
        "cifar10-small-cnn-refined": {"student": 0.923, "seeds": 3},
        "cifar100": {"student": 0.71, "seeds": 1},
    }
    beaten = [name for about in abouts.values() for name in about.to_beat]
    assert sorted(set(beaten)) == [name for name in NAMES if name.startswith("origin-")]


RECORDED = [name for name in NAMES if recipes.about(name).record != NOT_YET]


def recorded(name: str) -> RecipeRecord:
    return RecipeRecord.read(ROOT / recipes.about(name).record)


def test_every_record_was_made_by_its_recipe_as_it_is_now() -> None:
    """Older records do not say."""
    for path in (ROOT / "benchmarks" / "records").glob("*.json"):
        said = json.loads(path.read_text())
        if said.get("recipe_sha256"):
            assert said["recipe_sha256"] == recipes.sha256(said["recipe"]), path.name


@pytest.mark.parametrize("name", RECORDED)
def test_a_header_says_how_long_its_record_took(name: str) -> None:
    about, record = recipes.about(name), recorded(name)
    on_gpu = record.result.environment.accelerator is not None
    said = re.match(r"[\d.]+", about.seconds_gpu if on_gpu else about.seconds_cpu)
    assert said
    teacher = 0.0 if record.teacher is None else record.teacher.seconds
    assert float(said[0]) == round(record.result.seconds + teacher)


@pytest.mark.parametrize("name", RECORDED)
def test_a_header_expects_what_its_record_gave(name: str) -> None:
    """Bounds hold, and other per cents are figures of the record or of one it is to beat."""
    about = recipes.about(name)
    results = [recorded(one).result for one in (name, *about.to_beat) if one in RECORDED]
    top1 = [result.teacher.top1 for result in results]
    top1 += [row.top1 for result in results for row in result.students]
    top1 += [row.top1 for result in results for row in result.ensembles]
    top1 += [row.top1_mean for result in results for row in result.summary]
    figures = re.findall(r"(at least )?(\d+(?:\.\d+)?)%", about.expected)
    assert figures
    for bound, figure in figures:
        if not bound:
            digits = len(figure.partition(".")[2])
            assert figure in {f"{100 * value:.{digits}f}" for value in top1}, figure
    students = [row.top1 for row in results[0].students if row.role == "student"]
    for who, value in (("teacher", results[0].teacher.top1), ("students", min(students))):
        least = re.search(rf"{who} at least (\d+(?:\.\d+)?)%", about.expected)
        assert least is None or 100 * value >= float(least[1])


@pytest.mark.parametrize("name", NAMES)
def test_the_command_of_a_recipe_asks_for_the_recipe(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ask(monkeypatch, recipes.about(name).command)
    assert asked == distill_config({"recipe": name})


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_asks_for_what_exists(name: str) -> None:
    config = distill_config({"recipe": name})
    check_plans(config, plan_students(config))
    assert config.teacher_training is not None
    teacher = config.teacher_training.model
    models.resolve_options(teacher.name, image_size=32, options=teacher.options)
    assert config.data == config.teacher_training.data == recipes.load(name)["data"]["data"]


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_can_be_tried_for_an_epoch(name: str) -> None:
    config = distill_config({"recipe": name, "epochs": 1})
    assert config.epochs == 1
    assert recipes.build(TrainConfig, *recipes.layers("train", {"recipe": name, "epochs": 1}))


def test_the_flagship_teaches_mobilenet_with_stems_for_small_images() -> None:
    config = distill_config({"data": "cifar10"})
    assert config.teacher_training is not None
    assert str(config.teacher_training.model) == "resnet50:stem=cifar"
    plans = plans_of("cifar10")
    assert list(plans) == ["mobilenet_v2", "mobilenet_v2-control"]
    assert objective(plans["mobilenet_v2"]) == MOSTLY_TEACHER
    options = models.resolve_options("mobilenet_v2", image_size=32, options={})
    assert (options["stem_stride"], options["stage2_stride"]) == (1, 1)


def test_the_flagships_data_has_settings_for_the_small_cnn() -> None:
    plans = plans_of("cifar10", student=("small_cnn",), epochs=3)
    settings = plans["small_cnn"].optimization
    assert (settings.learning_rate, settings.schedule) == (0.2, "one-cycle")


def test_the_first_origin_keeps_the_stems_and_the_normalisation_of_imagenet() -> None:
    name = "origin-cifar10-resnet50-mobilenetv2"
    config = distill_config({"recipe": name})
    training = config.teacher_training
    assert training is not None
    assert config.normalization == training.normalization == "imagenet"
    assert config.epochs == training.epochs == 40
    assert config.augmentation == training.augmentation
    on = config.augmentation
    assert on.flip
    assert min(on.crop_padding, on.rotation, on.brightness, on.contrast, on.saturation) > 0
    (student, control) = plans_of(name).values()
    assert str(student.model) == "mobilenet_v2:stage2_stride=2,stem_stride=2"
    assert student.terms[0].options == {"temperature": 4.0}
    assert control.optimization == student.optimization


def test_the_second_origin_has_hintons_weights() -> None:
    config = distill_config({"recipe": "origin-cifar10-hinton"})
    assert (config.epochs, config.batch_size) == (200, 128)
    (student, _) = plans_of("origin-cifar10-hinton").values()
    assert objective(student) == (0.9, {"kd": 0.1})
    assert student.terms[0].options == {"temperature": 4.0}


def test_the_third_origin_has_three_students_and_one_of_them_is_the_control() -> None:
    plans = plans_of("origin-cifar10-alexnet-three-students")
    assert {label: objective(plan) for label, plan in plans.items()} == {
        "two_block_cnn-a1.0": (0.0, {"kd": 1.0}),
        "two_block_cnn-a0.5": (0.5, {"kd": 0.5}),
        "two_block_cnn-control": (1.0, {}),
    }
    assert {plan.terms[0].options["temperature"] for plan in plans.values() if plan.terms} == {1.0}


@pytest.mark.parametrize("name", ["origin-cifar100-resnet18-resnet14", "origin-cifar100-ensemble"])
def test_the_origins_on_cifar100_have_their_settings(name: str) -> None:
    config = distill_config({"recipe": name})
    training = config.teacher_training
    assert training is not None
    assert str(training.model) == "resnet18:stem=imagenet"
    for plan in plans_of(name).values():
        assert str(plan.model) == "resnet14:stem=imagenet"
        settings = plan.optimization
        assert (settings.learning_rate, settings.momentum) == (0.1, 0.9)
        assert (settings.weight_decay, settings.label_smoothing) == (1e-4, 0.1)
        if plan.role == "student":
            assert objective(plan) == (0.5, {"kd": 0.5})
            assert plan.terms[0].options == {"temperature": 4.0}
    assert (config.epochs, config.batch_size) == (50, 128)


def test_the_fifth_origin_averages_ten_students_and_distils_them_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = "origin-cifar100-ensemble"
    config = distill_config({"recipe": name})
    assert config.ensemble
    assert config.all_seeds == tuple(range(10))
    command = recipes.about(name).then
    assert command is not None
    then = ask(monkeypatch, command)
    assert isinstance(then, DistillConfig)
    assert [str(teacher) for teacher in then.teacher] == ["last:students=all"]
    assert (then.all_seeds, then.ensemble, then.epochs) == ((0,), False, 50)


def test_the_literatures_pair_is_half_as_wide_with_a_stem_of_stride_two() -> None:
    plans = plans_of("cifar100")
    assert list(plans) == [
        "mobilenet_v2-kd",
        "mobilenet_v2-logit-std",
        "mobilenet_v2-control",
    ]
    options = plans["mobilenet_v2-kd"].model.options
    assert (options["width"], options["stem_stride"], options["stage2_stride"]) == (0.5, 2, 1)
    assert objective(plans["mobilenet_v2-kd"]) == MOSTLY_TEACHER
    assert objective(plans["mobilenet_v2-logit-std"]) == (0.1, {"logit_std": 9.0})


def test_five_losses_teach_the_small_cnn_with_the_weights_of_their_papers() -> None:
    assert {label: objective(plan) for label, plan in plans_of("cifar10-small-cnn").items()} == {
        "small_cnn-kd": MOSTLY_TEACHER,
        "small_cnn-logit-std": (0.1, {"logit_std": 9.0}),
        "small_cnn-dkd": (1.0, {"dkd": 1.0}),
        "small_cnn-dist": (1.0, {"dist": 2.0}),
        "small_cnn-attention": (1.0, {"attention": 1000.0}),
        "small_cnn-control": (1.0, {}),
    }


def test_the_long_training_takes_the_loss_of_the_forty_epochs_and_mixed_images() -> None:
    """Which was ahead on validation images, in the record of the seeds."""
    name, record = "cifar10-small-cnn-long", "cifar10-small-cnn-seeds"
    rows = RecipeRecord.read(ROOT / f"benchmarks/records/{record}.json").result.students
    scores: dict[str, float] = {}
    for row in rows:
        if row.role == "student":
            loss = str(row.settings["loss"])
            scores[loss] = scores.get(loss, 0.0) + row.val_top1
    assert recipes.load(name)["distill"]["loss"] == max(scores, key=scores.__getitem__)
    config = distill_config({"recipe": name})
    assert config.augmentation.mixes
    assert len(plans_of(name)) == len(config.all_seeds) == 3


def test_the_long_training_with_kd_differs_in_the_loss_alone() -> None:
    by_kd, standardised = (
        recipes.load(f"cifar10-small-cnn-long{ending}") for ending in ("-kd", "")
    )
    assert (by_kd["distill"].pop("alpha"), by_kd["distill"].pop("temperature")) == (0.9, 4)
    del standardised["distill"]["loss"]
    assert {**by_kd, "about": None} == {**standardised, "about": None}
    assert {
        objective(plan) == MOSTLY_TEACHER for plan in plans_of("cifar10-small-cnn-long-kd").values()
    } == {True}


def test_the_gentle_training_differs_in_how_the_rate_falls_and_what_is_kept() -> None:
    gentle, steep = (recipes.load(f"cifar10-small-cnn-long{ending}") for ending in ("-gentle", ""))
    said = {"epochs", "learning_rate", "schedule", "warmup_epochs", "select", "ensemble"}
    differs = {
        key
        for key in gentle["distill"].keys() | steep["distill"].keys()
        if gentle["distill"].get(key) != steep["distill"].get(key)
    }
    assert differs == said
    assert {**gentle, "about": None, "distill": None} == {**steep, "about": None, "distill": None}
    assert distill_config({"recipe": "cifar10-small-cnn-long-gentle"}).select == "last"


def test_features_stand_against_answers_on_one_pair_with_three_seeds() -> None:
    plans = plans_of("cifar10-feature-against-response")
    losses = {"kd", "fitnet", "attention", "rkd"}
    students = [plan for plan in plans.values() if plan.role == "student"]
    assert {plan.terms[0].name for plan in students} == losses
    assert len(students) == 3 * len(losses)
    assert {plan.model.name for plan in plans.values()} == {"small_cnn"}
    assert len(plans) == 3 * (len(losses) + 1)


@pytest.mark.parametrize(
    ("name", "softened", "others"),
    [
        ("cifar10-small-cnn", {"kd", "logit_std", "dkd", "dist"}, {"attention"}),
        ("cifar10-feature-against-response", {"kd"}, {"fitnet", "attention", "rkd"}),
    ],
)
def test_temperatures_are_crossed_with_the_swept_losses_that_have_one(
    name: str, softened: set[str], others: set[str]
) -> None:
    config = distill_config({"recipe": name, "sweep": {"temperature": [1, 4]}})
    students = [plan for plan in plan_students(config) if plan.role == "student"]
    check_plans(config, tuple(students))
    points = [
        (plan.terms[0].name, plan.terms[0].options.get("temperature"), plan.seed)
        for plan in students
    ]
    expected: set[tuple[str, int | None]]
    expected = {(loss, value) for loss in softened for value in (1, 4)}
    expected |= {(loss, None) for loss in others}
    assert sorted(points, key=str) == sorted(
        ((*point, seed) for point in expected for seed in config.all_seeds), key=str
    )


def test_the_sweep_crosses_alpha_and_temperature_beside_one_control() -> None:
    plans = plans_of("cifar10-alpha-temperature")
    points = {
        (plan.settings.get("alpha"), plan.settings.get("temperature")) for plan in plans.values()
    }
    assert points == {(a, t) for a in (0.3, 0.6, 0.9) for t in (1, 2, 4, 8)} | {(None, None)}
    assert len(plans) == 13
