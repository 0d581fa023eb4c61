"""Which students a distillation asks for."""

from typing import Any

import pytest

from compress.config.distill import (
    DistillConfig,
    StudentPlan,
    distill_config,
    plan_students,
)
from compress.config.recipes import build
from compress.errors import ConfigError
from compress.losses.registry import weight_at


def _plans(**layer: Any) -> dict[str, StudentPlan]:
    return {plan.label: plan for plan in plan_students(build(DistillConfig, layer))}


def test_by_default_two_students_and_their_controls_are_trained() -> None:
    assert list(_plans()) == [
        "mobilenet_v2",
        "small_cnn",
        "mobilenet_v2-control",
        "small_cnn-control",
    ]


def test_alpha_shares_the_loss_between_labels_and_teacher() -> None:
    plan = _plans(student="small_cnn", alpha=0.3, temperature=2)["small_cnn"]
    assert plan.ce_weight == pytest.approx(0.7)
    (term,) = plan.terms
    assert (term.name, term.weight, term.options) == ("kd", 0.3, {"temperature": 2.0})


def test_alpha_zero_listens_to_no_teacher() -> None:
    plan = _plans(student="small_cnn", alpha=0)["small_cnn"]
    assert (plan.ce_weight, plan.terms) == (1.0, ())


def test_alpha_one_ignores_the_labels() -> None:
    assert _plans(student="small_cnn", alpha=1)["small_cnn"].ce_weight == 0.0


def test_a_control_learns_from_labels_with_the_same_settings() -> None:
    plans = _plans(student="small_cnn", learning_rate=0.2)
    control = plans["small_cnn-control"]
    assert (control.role, control.ce_weight, control.terms) == ("control", 1.0, ())
    assert control.optimization == plans["small_cnn"].optimization
    assert plans["small_cnn"].control == "small_cnn-control"


@pytest.mark.parametrize("key", ["student", "teacher", "loss"])
@pytest.mark.parametrize("value", [5, 0.9, True, {"model": "small_cnn"}, [5]])
def test_what_is_no_text_is_refused_under_its_name(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=key):
        build(DistillConfig, {key: value})


def test_controls_can_be_refused() -> None:
    plans = _plans(student="small_cnn", control=False)
    assert list(plans) == ["small_cnn"]
    assert plans["small_cnn"].control is None


def test_several_seeds_show_in_the_labels_and_pair_with_controls() -> None:
    plans = _plans(student="small_cnn", seeds=[0, 5])
    assert list(plans) == [
        "small_cnn-s0",
        "small_cnn-s5",
        "small_cnn-control-s0",
        "small_cnn-control-s5",
    ]
    assert plans["small_cnn-s5"].control == "small_cnn-control-s5"
    assert plans["small_cnn-s5"].seed == plans["small_cnn-control-s5"].seed == 5


def test_a_sweep_crosses_every_student_and_shares_one_control() -> None:
    plans = _plans(student="small_cnn", sweep={"alpha": [0.5, 0.9], "temperature": [2, 4]})
    assert list(plans) == [
        "small_cnn-a0.5-t2",
        "small_cnn-a0.5-t4",
        "small_cnn-a0.9-t2",
        "small_cnn-a0.9-t4",
        "small_cnn-control",
    ]
    plan = plans["small_cnn-a0.5-t4"]
    assert plan.settings == {"alpha": 0.5, "temperature": 4}
    assert plan.terms[0].weight == 0.5
    assert plan.terms[0].options == {"temperature": 4.0}


def test_a_swept_learning_rate_has_a_control_for_each_value() -> None:
    plans = _plans(student="small_cnn", sweep={"learning-rate": [0.1, 0.2]})
    assert plans["small_cnn-lr0.2"].control == "small_cnn-control-lr0.2"
    assert plans["small_cnn-control-lr0.2"].optimization.learning_rate == 0.2


def test_a_swept_loss_shows_its_name() -> None:
    plans = _plans(student="small_cnn", control=False, sweep={"loss": ["kd:temperature=2", "dkd"]})
    assert list(plans) == ["small_cnn-kd", "small_cnn-dkd"]
    assert plans["small_cnn-kd"].terms[0].options == {"temperature": 2}


def test_a_swept_loss_may_be_a_sum_with_a_weight_for_the_labels() -> None:
    sums = [
        "ce:weight=0.1 + kd:weight=0.9",
        "dkd",
        "kd + attention:student_taps=a+b,teacher_taps=c+d",
    ]
    plans = _plans(student="small_cnn", control=False, sweep={"loss": sums})
    assert {
        label: (plan.ce_weight, [(term.name, term.weight) for term in plan.terms])
        for label, plan in plans.items()
    } == {
        "small_cnn-kd": (0.1, [("kd", 0.9)]),
        "small_cnn-dkd": (1.0, [("dkd", 1.0)]),
        "small_cnn-kd-attention": (1.0, [("kd", 1.0), ("attention", 1.0)]),
    }
    taps = plans["small_cnn-kd-attention"].terms[1].options
    assert taps == {"student_taps": "a+b", "teacher_taps": "c+d"}


def test_swept_losses_of_one_name_are_told_apart_by_their_options() -> None:
    sums = ["kd:temperature=2", "ce:weight=0.1 + kd:temperature=4.5", "logit_std"]
    plans = _plans(student="small_cnn", control=False, sweep={"loss": sums})
    assert list(plans) == [
        "small_cnn-kd-temperature-2",
        "small_cnn-ce-weight-0.1-kd-temperature-4.5",
        "small_cnn-logit-std",
    ]


def test_a_swept_temperature_is_set_in_the_terms_of_a_sum_that_have_one() -> None:
    sums = ["kd + attention", "fitnet"]
    sweep = {"temperature": [1, 4], "loss": sums}
    plans = _plans(student="small_cnn", control=False, sweep=sweep)
    assert {label: [term.options for term in plan.terms] for label, plan in plans.items()} == {
        "small_cnn-t1-kd-attention": [{"temperature": 1}, {}],
        "small_cnn-fitnet": [{}],
        "small_cnn-t4-kd-attention": [{"temperature": 4}, {}],
    }
    assert plans["small_cnn-fitnet"].settings == {"loss": "fitnet"}


@pytest.mark.parametrize("flag", ["checkpoint_every", "sync_batchnorm"])
def test_what_a_machine_wants_reaches_the_teachers_training(flag: str) -> None:
    training = distill_config({flag: 1}).teacher_training
    assert training is not None
    assert getattr(training, flag) == 1
    assert training.model_copy(update={flag: 0}) == distill_config({}).teacher_training


def test_alpha_may_move_in_a_straight_line() -> None:
    plan = _plans(student="small_cnn", alpha=0.8, alpha_from=0.2, alpha_ramp_epochs=10)["small_cnn"]
    (term,) = plan.terms
    for epoch, alpha in ((0, 0.2), (5, 0.5), (10, 0.8), (15, 0.8)):
        assert weight_at(term, epoch, 20) == pytest.approx(alpha)
    assert (plan.ce_from, plan.ce_weight, plan.ce_ramp_epochs) == pytest.approx((0.8, 0.2, 10))
    assert _plans(alpha_from=0.2, alpha_ramp_epochs=10)["small_cnn-control"].ce_ramp_epochs == 0


def test_the_cross_entropy_of_a_sum_may_have_a_ramp() -> None:
    terms = ["ce:weight=0.5,ramp_epochs=4,ramp_from=2", "kd"]
    plan = _plans(student="small_cnn", loss=terms)["small_cnn"]
    assert (plan.ce_from, plan.ce_weight, plan.ce_ramp_epochs) == (1.0, 0.5, 4)


def test_losses_are_a_sum_with_the_labels() -> None:
    plan = _plans(student="small_cnn", loss=["kd:weight=0.5", "rkd"], ce_weight=0.1)["small_cnn"]
    assert plan.ce_weight == 0.1
    assert [(term.name, term.weight) for term in plan.terms] == [("kd", 0.5), ("rkd", 1.0)]


def test_a_sum_may_be_written_as_one() -> None:
    one, many = (
        _plans(student="small_cnn", loss=loss)["small_cnn"]
        for loss in (["ce:weight=0.1 + kd:weight=0.9"], ["ce:weight=0.1", "kd:weight=0.9"])
    )
    assert one == many
    assert one.ce_weight == 0.1


def test_without_a_teachers_share_temperatures_make_no_difference() -> None:
    swept = {"alpha": [0, 0.5], "temperature": [1, 4]}
    plans = _plans(student="small_cnn", sweep=swept, control=False)
    assert list(plans) == ["small_cnn-a0", "small_cnn-a0.5-t1", "small_cnn-a0.5-t4"]


def test_the_same_model_twice_is_told_apart_by_its_options() -> None:
    plans = _plans(student=["mobilenet_v2:width=0.5", "mobilenet_v2:width=1.0"], control=False)
    assert list(plans) == ["mobilenet_v2-width0.5", "mobilenet_v2-width1.0"]


def test_a_model_has_its_own_optimisation() -> None:
    plans = _plans(
        student=["a=small_cnn", "b=mobilenet_v2"],
        model_settings={"mobilenet_v2": {"optimizer": "adamw"}},
    )
    assert plans["a"].optimization.optimizer == "sgd"
    assert plans["b"].optimization.optimizer == "adamw"
    assert plans["b-control"].optimization.optimizer == "adamw"


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"student": ["small_cnn", "small_cnn"]}, "two students are called 'small_cnn'"),
        ({"student": []}, "no student to train"),
        ({"sweep": {"beta": [1]}}, "unknown sweep key 'beta'"),
        ({"sweep": {"alpha": []}}, "--sweep: alpha has an empty list or entry"),
        ({"sweep": {"loss": ["kd", ""]}}, "--sweep: loss has an empty list or entry"),
        (
            {"sweep": {"learning-rate": [0.1], "learning_rate": [0.2]}},
            "--sweep learning_rate is given twice",
        ),
        ({"learning-rate": 0.1, "learning_rate": 0.2}, "key learning_rate is given twice"),
        (
            {"model_settings": {"small_cnn": {"weight-decay": 0, "weight_decay": 1}}},
            "model-settings of small_cnn: weight_decay is given twice",
        ),
        ({"loss": ["kd:ramp_from=0.5"]}, "ramp_from goes with ramp_epochs"),
        ({"loss": [{"name": "kd", "ramp_from": 0.5}]}, "ramp_from goes with ramp_epochs"),
        ({"sweep": {"loss": ["ce:ramp_from=2 + kd"]}}, "ramp_from goes with ramp_epochs"),
        ({"sweep": {"alpha": [2]}}, "--sweep alpha=2: alpha lies between 0 and 1"),
        ({"sweep": {"temperature": [0]}}, "--sweep temperature=0: a temperature is above 0"),
        ({"sweep": {"learning_rate": [-1]}}, "--learning-rate -1: .*greater than 0"),
        ({"sweep": {"optimizer": ["lion"]}}, "--optimizer lion: "),
        ({"sweep": {"loss": ["kd:ramp_epochs=-1"]}}, "ramp_epochs in 'kd:ramp_epochs=-1'"),
        ({"loss": ["kd:ramp_epochs=-1"]}, "ramp_epochs in 'kd:ramp_epochs=-1'"),
        ({"loss": ["kd"], "sweep": {"ce_weight": [-1]}}, "--sweep ce_weight=-1: not a weight"),
        ({"loss": ["kd"], "alpha": 0.5}, "two ways to say it"),
        ({"sweep": {"loss": ["kd", "dkd"]}, "alpha": 0.5}, "two ways to say it"),
        ({"sweep": {"loss": ["kd", "dkd"]}, "temperature": 2}, "two ways to say it"),
        ({"loss": ["attention"], "temperature": 4}, "two ways to say it"),
        ({"loss": ["attention"], "sweep": {"temperature": [1, 4]}}, "no loss here has a temper"),
        ({"sweep": {"loss": ["ce", "rkd"], "temperature": [1]}}, "no loss here has a temperature"),
        ({"loss": ["kd"], "sweep": {"alpha": [0.3, 0.9]}}, "--loss and --sweep alpha are two ways"),
        ({"sweep": {"loss": ["kd"], "alpha": [0.3]}}, "--loss and --sweep alpha are two ways"),
        ({"ce_weight": 0.5}, "--ce-weight goes with --loss"),
        ({"sweep": {"ce_weight": [0.1, 1]}}, "--ce-weight goes with --loss"),
        ({"sweep": {"ce-weight": [0.1, 1]}}, "--ce-weight goes with --loss"),
        ({"loss": ["ce", "kd"], "ce_weight": 0.5}, "cross-entropy is said twice"),
        ({"loss": ["ce", "ce:weight=2", "kd"]}, "cross-entropy is said twice"),
        ({"loss": ["ce:temperature=2", "kd"]}, "ce has no option 'temperature'"),
        ({"loss": ["ce:weight=-1", "kd"]}, "weight in 'ce:weight=-1'"),
        ({"loss": ["kd:weight=-1"]}, "weight in 'kd:weight=-1': .*greater than or equal to 0"),
        ({"sweep": {"loss": ["ce + kd:weight=-0.5"]}}, "weight in 'kd:weight=-0.5'"),
        ({"alpha_from": 0.5}, "alpha_from and alpha_ramp_epochs go together"),
        ({"alpha": 0, "alpha_from": 0.5, "alpha_ramp_epochs": 3}, "alpha 0 ends no ramp"),
        (
            {"loss": ["kd"], "alpha_from": 0.5, "alpha_ramp_epochs": 3},
            "alpha_from goes with alpha",
        ),
        ({"model_settings": {"small_cnn": {"rate": 1}}}, "unknown recipe key 'rate'"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_line(layer: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        _plans(**layer)
    assert "\n" not in caught.value.message
