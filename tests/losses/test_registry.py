import subprocess
import sys
from contextlib import nullcontext
from importlib import import_module

import pytest
import torch

from compress.config.specs import LossTerm
from compress.errors import ConfigError
from compress.losses import registry
from compress.losses.registry import Outputs
from compress.models.feature_hooks import tapped
from compress.models.registry import build as build_model


def test_the_eight_losses_are_known() -> None:
    assert registry.names() == [
        "attention", "dist", "dkd", "fitnet", "hard", "kd", "logit_std", "rkd",
    ]  # fmt: skip


def test_every_loss_has_a_function_options_and_a_summary() -> None:
    assert registry.OPTIONS.keys() == registry.SUMMARIES.keys() == registry.LOSSES.keys()
    for name, weight in registry.USUAL_WEIGHTS.items():
        assert f"weight {weight:g}" in registry.SUMMARIES[name]


def test_a_loss_without_its_usual_weight_is_told_of_once() -> None:
    terms = [LossTerm(name=name) for name in ("kd", "attention", "logit_std", "attention")]
    assert registry.weight_notes([*terms, LossTerm(name="dist", weight=2)]) == [
        "logit_std has weight 1, its usual weight is 9: logit_std:weight=9",
        "attention has weight 1, its usual weight is 1000: attention:weight=1000",
    ]
    for target in registry.LOSSES.values():
        module, _, function = target.partition(":")
        assert callable(getattr(import_module(module), function))


def test_listing_losses_does_not_import_torch() -> None:
    code = (
        "import sys; from compress.losses import registry; registry.names();"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_loss_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="unknown loss 'kl'") as caught:
        registry.build(LossTerm(name="kl"))
    assert "logit_std" in caught.value.hint


def test_an_unknown_option_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="loss kd has no option 'tau'") as caught:
        registry.build(LossTerm.parse("kd:tau=4"))
    assert "temperature" in caught.value.hint


@pytest.mark.parametrize("text", ["kd:temperature=0", "kd:temperature=-1", "dkd:beta=-1"])
def test_numbers_out_of_bounds_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is not between"):
        registry.build(LossTerm.parse(text))


def test_text_for_a_number_is_refused() -> None:
    with pytest.raises(ConfigError, match="temperature=hot is not a number"):
        registry.build(LossTerm.parse("kd:temperature=hot"))


def test_taps_of_one_side_alone_are_refused() -> None:
    with pytest.raises(ConfigError, match="student_taps alone"):
        registry.resolve_options(LossTerm.parse("fitnet:student_taps=layer1"))


def test_taps_are_no_option_of_a_loss_on_logits() -> None:
    with pytest.raises(ConfigError, match="has no option 'student_taps'"):
        registry.resolve_options(LossTerm.parse("kd:student_taps=a,teacher_taps=b"))


def test_defaults_are_the_papers() -> None:
    assert registry.resolve_options(LossTerm(name="dkd")) == {
        "temperature": 4.0, "alpha": 1.0, "beta": 8.0,
    }  # fmt: skip
    assert registry.resolve_options(LossTerm(name="rkd")) == {"distance": 25.0, "angle": 50.0}
    assert registry.resolve_options(LossTerm(name="logit_std")) == {"temperature": 2.0}


@pytest.mark.parametrize("name", registry.names())
def test_what_a_loss_needs_is_known_before_it_is_built(name: str) -> None:
    shapes = {"stage": (4, 2, 2)}
    loss = registry.build(LossTerm(name=name), student_shapes=shapes, teacher_shapes=shapes)
    assert loss.needs_features == registry.needs_features(name) == bool(loss.student_taps)
    assert loss.supports_mixed_labels == registry.supports_mixed_labels(name)


def test_only_dkd_needs_one_class_per_image() -> None:
    refusing = [name for name in registry.names() if not registry.supports_mixed_labels(name)]
    assert refusing == ["dkd"]


def weights(term: LossTerm, epochs: int, at: list[float]) -> list[float]:
    return [registry.weight_at(term, epoch, epochs) for epoch in at]


def test_a_weight_without_a_ramp_stays() -> None:
    assert weights(LossTerm(name="kd", weight=0.9), 10, [0, 0.5, 9]) == [0.9, 0.9, 0.9]


def test_a_ramp_rises_in_a_line_and_then_stays() -> None:
    term = LossTerm(name="kd", weight=2.0, ramp_epochs=4, ramp_from=0.5)
    assert weights(term, 10, [0, 1, 2, 2.5, 4, 9]) == [1.0, 1.25, 1.5, 1.625, 2.0, 2.0]


def test_a_ramp_from_above_one_falls() -> None:
    term = LossTerm(name="kd", weight=0.5, ramp_epochs=10, ramp_from=2.0)
    assert weights(term, 10, [0, 5, 10]) == [1.0, 0.75, 0.5]


def test_dkd_warms_up_over_twenty_epochs_as_in_its_paper() -> None:
    assert weights(LossTerm(name="dkd"), 240, [0, 5, 20, 239]) == [0.0, 0.25, 1.0, 1.0]


def test_dkd_warms_up_over_a_quarter_of_a_short_training() -> None:
    assert weights(LossTerm(name="dkd"), 20, [0, 2.5, 5, 19]) == [0.0, 0.5, 1.0, 1.0]


def test_dkds_warm_up_may_begin_above_zero() -> None:
    assert weights(LossTerm.parse("dkd:ramp_from=0.5"), 40, [0, 5, 10]) == [0.5, 0.75, 1.0]


def test_dkds_warm_up_can_be_turned_off() -> None:
    assert weights(LossTerm.parse("dkd:ramp_epochs=0"), 240, [0, 1]) == [1.0, 1.0]


@pytest.mark.parametrize("text", ["kd", "dkd", "fitnet", "attention", "rkd"])
def test_a_step_leaves_the_teacher_as_it_was(text: str) -> None:
    torch.manual_seed(0)
    student = build_model("small_cnn", classes=10, image_size=16, options={}).train()
    teacher = build_model("resnet20", classes=10, image_size=16, options={}).eval()
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    loss = registry.build_for(LossTerm.parse(text), student=student, teacher=teacher, image_size=16)
    images = torch.randn(4, 3, 16, 16)
    with tapped(student, loss.student_taps) as ours, tapped(teacher, loss.teacher_taps) as theirs:
        outputs = Outputs(student(images), ours), Outputs(teacher(images), theirs)
    loss(*outputs, torch.tensor([0, 1, 2, 3])).backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(torch.equal(before[key], value) for key, value in teacher.state_dict().items())
    assert student.training
    reached = [p for n, p in student.named_parameters() if n.startswith("stage1")]
    assert all(parameter.grad is not None for parameter in reached)


def test_taps_inside_a_stage_can_be_named() -> None:
    student = build_model("small_cnn", classes=10, image_size=16, options={})
    teacher = build_model("resnet20", classes=10, image_size=16, options={})
    term = LossTerm.parse("fitnet:student_taps=stage2.3,teacher_taps=layer2.1.conv2")
    loss = registry.build_for(term, student=student, teacher=teacher, image_size=16)
    assert (loss.student_taps, loss.teacher_taps) == (("stage2.3",), ("layer2.1.conv2",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rkd:student_taps=stage9,teacher_taps=a", "unknown module path 'stage9'"),
        ("rkd:student_taps=stage1+stage2,teacher_taps=a", "2 student taps .* and 1 teacher taps"),
        ("fitnet:student_taps=linear,teacher_taps=a", "not that of a map"),
        ("attention:student_taps=linear,teacher_taps=a", "not that of a map"),
    ],
)
def test_what_a_student_lacks_is_known_without_its_teacher(text: str, message: str) -> None:
    student = build_model("small_cnn", classes=10, image_size=16, options={})
    with pytest.raises(ConfigError, match=message):
        registry.check_student(LossTerm.parse(text), student, image_size=16, classes=10)


@pytest.mark.parametrize(
    "text", ["kd", "attention", "fitnet:student_taps=stage1,teacher_taps=any", "rkd"]
)
def test_a_student_with_what_a_loss_wants_is_left_as_it_was(text: str) -> None:
    student = build_model("small_cnn", classes=10, image_size=16, options={})
    registry.check_student(LossTerm.parse(text), student, image_size=16, classes=10)
    assert student.training


@pytest.mark.parametrize("name", [n for n in registry.names() if not registry.needs_features(n)])
def test_a_loss_that_teaches_nothing_with_two_classes_is_refused(name: str) -> None:
    """`dist` still teaches by its columns, `dkd` by its target part."""
    student = torch.tensor([[0.3, -0.2], [1.0, 0.1], [-0.4, 0.5]], requires_grad=True)
    teacher = torch.tensor([[2.0, 0.0], [0.5, 0.1], [0.0, 3.0]])
    loss = registry.build(LossTerm.parse(name))
    loss(Outputs(student), Outputs(teacher), torch.tensor([0, 0, 1])).backward()
    assert student.grad is not None
    taught = bool(student.grad.abs().max() > 1e-4)
    network = build_model("small_cnn", classes=2, image_size=16, options={})
    said = f"loss {name} teaches nothing with 2 classes: it takes 3 or more"
    with nullcontext() if taught else pytest.raises(ConfigError, match=said):
        registry.check_student(LossTerm.parse(name), network, image_size=16, classes=2)
    assert taught is (name != "logit_std")


def test_a_sum_inside_a_name_is_explained() -> None:
    with pytest.raises(ConfigError, match="unknown loss 'ce'") as caught:
        registry.build(LossTerm.parse("ce"))
    assert "--loss 'ce:weight=0.1 + kd:weight=0.9'" in caught.value.hint
