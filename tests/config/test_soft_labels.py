"""Options of `compress soft-labels`."""

import pytest
from pydantic import ValidationError

from compress.config.soft_labels import SoftLabelsConfig
from compress.config.training import TrainingConfig


@pytest.mark.parametrize("teacher", ["runs/a", ["runs/a", "b.pt:model=resnet18"]])
def test_teachers_are_written_as_on_the_command_line(teacher: object) -> None:
    config = SoftLabelsConfig.model_validate({"teacher": teacher})
    assert config.teacher[0].target == "runs/a"
    assert [str(reference) for reference in config.teacher][1:] in ([], ["b.pt:model=resnet18"])


def test_views_are_named_by_the_same_defaults_as_in_training() -> None:
    shared = SoftLabelsConfig.model_fields.keys() & TrainingConfig.model_fields.keys() - {"views"}
    assert {"split_seed", "view_seed", "augmentation", "validation_fraction"} <= shared
    for name in shared:
        field, other = SoftLabelsConfig.model_fields[name], TrainingConfig.model_fields[name]
        assert field.default == other.default, name


def test_no_view_at_all_is_refused() -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        SoftLabelsConfig(views=0)
