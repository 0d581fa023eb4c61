from collections.abc import Mapping

import pytest
import torch

from compress.config.specs import LossTerm
from compress.errors import ConfigError
from compress.losses.features import attention
from compress.losses.on_features import choose_pairs
from compress.losses.registry import Outputs, build

# ResNet-50 with torchvision's stem at 32 pixels, and a small network with larger maps.
TEACHER = {
    "layer1": (256, 8, 8),
    "layer2": (512, 4, 4),
    "layer3": (1024, 2, 2),
    "layer4": (2048, 1, 1),
}
STUDENT = {"stage1": (32, 32, 32), "stage2": (64, 16, 16), "stage3": (128, 8, 8)}
EQUAL = {"a": (16, 32, 32), "b": (32, 16, 16), "c": (64, 8, 8), "d": (128, 4, 4)}


def features(shapes: Mapping[str, tuple[int, ...]], batch: int = 4) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {path: torch.randn(batch, *shape, generator=generator) for path, shape in shapes.items()}


def outputs(shapes: Mapping[str, tuple[int, ...]]) -> Outputs:
    return Outputs(torch.zeros(4, 10), features(shapes))


LABELS = torch.zeros(4, dtype=torch.int64)


def test_stages_of_equal_map_size_are_paired() -> None:
    assert choose_pairs(STUDENT, EQUAL, wanted="all", asked=None) == [
        ("stage1", "a"),
        ("stage2", "b"),
        ("stage3", "c"),
    ]


def test_the_closest_map_sizes_are_paired_where_none_are_equal() -> None:
    assert choose_pairs(STUDENT, TEACHER, wanted="all", asked=None) == [
        ("stage1", "layer1"),
        ("stage2", "layer2"),
        ("stage3", "layer3"),
    ]


def test_the_deeper_stages_are_paired_where_sizes_do_not_decide() -> None:
    flat = {"a": (10,), "b": (10,), "c": (10,)}
    assert choose_pairs({"x": (5,), "y": (5,)}, flat, wanted="all", asked=None) == [
        ("x", "b"),
        ("y", "c"),
    ]


@pytest.mark.parametrize(
    ("wanted", "pair"), [("middle", ("stage2", "layer2")), ("last", ("stage3", "layer4"))]
)
def test_one_pair_can_be_wanted(wanted: str, pair: tuple[str, str]) -> None:
    assert choose_pairs(STUDENT, TEACHER, wanted=wanted, asked=None) == [pair]


def test_the_users_taps_are_paired_as_written() -> None:
    asked = ("stage3+stage1", "layer1+layer4")
    assert choose_pairs(STUDENT, TEACHER, wanted="last", asked=asked) == [
        ("stage3", "layer1"),
        ("stage1", "layer4"),
    ]


def test_unequal_numbers_of_taps_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"2 student taps .* 1 teacher taps"):
        choose_pairs(STUDENT, TEACHER, wanted="all", asked=("stage1+stage2", "layer1"))


def test_an_unknown_tap_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'layer9'") as caught:
        choose_pairs(STUDENT, TEACHER, wanted="all", asked=("stage1", "layer9"))
    assert caught.value.hint == "known: layer1, layer2, layer3, layer4"


def test_models_without_shapes_are_refused() -> None:
    with pytest.raises(ConfigError, match="shapes of both"):
        build(LossTerm(name="attention"))


def test_attention_adds_up_over_all_stages() -> None:
    loss = build(LossTerm(name="attention"), student_shapes=STUDENT, teacher_shapes=EQUAL)
    student, teacher = outputs(STUDENT), outputs(EQUAL)
    expected = sum(
        attention(student.features[a], teacher.features[b]).item()
        for a, b in [("stage1", "a"), ("stage2", "b"), ("stage3", "c")]
    )
    assert loss(student, teacher, LABELS).item() == pytest.approx(expected, rel=1e-6)
    assert loss.module is None


def test_fitnet_projects_the_students_middle_stage() -> None:
    loss = build(LossTerm(name="fitnet"), student_shapes=STUDENT, teacher_shapes=TEACHER)
    assert (loss.student_taps, loss.teacher_taps) == (("stage2",), ("layer2",))
    assert loss.module is not None
    value = loss(outputs(STUDENT), outputs(TEACHER), LABELS)
    value.backward()
    # independent values: the teacher's variance 1, and of the student's, which BatchNorm makes 1,
    # the sixteenth that averaging 4x4 windows leaves
    assert value.item() == pytest.approx(1 + 1 / 16, rel=0.05)
    assert all(parameter.grad is not None for parameter in loss.module.parameters())


def test_a_projector_learns_the_teachers_map() -> None:
    torch.manual_seed(0)
    loss = build(LossTerm(name="fitnet"), student_shapes=STUDENT, teacher_shapes=STUDENT)
    assert loss.module is not None
    optimizer = torch.optim.Adam(loss.module.parameters(), lr=0.05)
    same = outputs(STUDENT)
    first = loss(same, same, LABELS).item()
    for _ in range(60):
        optimizer.zero_grad()
        value = loss(same, same, LABELS)
        value.backward()
        optimizer.step()
    assert value.item() < first / 20


def test_rkd_takes_the_last_stage_of_both() -> None:
    loss = build(LossTerm(name="rkd"), student_shapes=STUDENT, teacher_shapes=TEACHER)
    assert (loss.student_taps, loss.teacher_taps) == (("stage3",), ("layer4",))
    assert loss(outputs(STUDENT), outputs(TEACHER), LABELS).item() > 0


@pytest.mark.parametrize("name", ["fitnet", "attention"])
def test_features_that_are_no_maps_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="output of linear has shape"):
        build(
            LossTerm(name=name),
            student_shapes={"linear": (10,)},
            teacher_shapes={"layer1": (8, 4, 4)},
        )


@pytest.mark.parametrize("name", ["fitnet", "attention", "rkd"])
def test_no_gradient_flows_into_the_teacher(name: str) -> None:
    loss = build(LossTerm(name=name), student_shapes=STUDENT, teacher_shapes=EQUAL)
    student, teacher = outputs(STUDENT), outputs(EQUAL)
    for feature in (*student.features.values(), *teacher.features.values()):
        feature.requires_grad_()
    loss(student, teacher, LABELS).backward()
    assert any(feature.grad is not None for feature in student.features.values())
    assert all(feature.grad is None for feature in teacher.features.values())


@pytest.mark.parametrize("name", ["fitnet", "attention", "rkd"])
def test_features_under_autocast_give_a_float32_loss(name: str) -> None:
    loss = build(LossTerm(name=name), student_shapes=STUDENT, teacher_shapes=EQUAL)
    student = Outputs(
        torch.zeros(4, 10, dtype=torch.bfloat16),
        {path: value.bfloat16() for path, value in features(STUDENT).items()},
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss(student, outputs(EQUAL), LABELS)
    assert inside.dtype == torch.float32
    assert inside.item() == loss(student, outputs(EQUAL), LABELS).item()


def test_attention_on_maps_of_one_pixel_is_refused() -> None:
    """Every such map, brought to length 1, is the same."""
    term = LossTerm.parse("attention:student_taps=stage3,teacher_taps=layer4")
    with pytest.raises(ConfigError, match="the maps of stage3 and layer4 have one"):
        build(term, student_shapes=STUDENT, teacher_shapes=TEACHER)
    both = LossTerm.parse("attention:student_taps=stage2+stage3,teacher_taps=layer3+layer4")
    assert build(both, student_shapes=STUDENT, teacher_shapes=TEACHER).needs_features
