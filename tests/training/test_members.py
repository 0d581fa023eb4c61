import gc
import weakref
from pathlib import Path

import pytest
from torch import nn

from compress.errors import InputError
from compress.models import weights
from compress.training import members, teachers
from compress.training.members import network_of, read_member
from tests.tiny_training import digits, teacher, teacher_file


def test_a_teacher_of_other_classes_is_refused(tmp_path: Path) -> None:
    path = teacher_file(tmp_path / "t.safetensors", class_names=("cat", "dog"))
    with pytest.raises(InputError, match="classes"):
        read_member(path, {}, digits(), source="t", foreign=True)


def test_weights_are_read_when_they_are_needed_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight files named together take the memory of one."""
    tensors: list[weakref.ref[object]] = []

    def watched(path: Path, options: dict[str, object]) -> weights.Weights:
        read = weights.load(path, {})
        tensors.extend(weakref.ref(tensor) for tensor in read.state.values())
        return read

    monkeypatch.setattr(members, "load", watched)
    path = teacher_file(tmp_path / "t.safetensors")
    member = read_member(path, {}, digits(), source="t", foreign=True)
    gc.collect()
    assert tensors
    assert not any(tensor() is not None for tensor in tensors)
    assert isinstance(network_of(member, digits()), nn.Module)


def test_an_ensemble_that_describes_itself_holds_one_network_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = teacher(tmp_path, seeds=(0, 1, 2))
    validation, test = asked.evaluation()
    alive: list[int] = []
    networks: list[weakref.ref[nn.Module]] = []

    def counted(*arguments: object) -> nn.Module:
        gc.collect()
        alive.append(sum(one() is not None for one in networks))
        network = network_of(*arguments)  # type: ignore[arg-type]
        networks.append(weakref.ref(network))
        return network

    monkeypatch.setattr(teachers, "network_of", counted)
    asked.describe(validation, test)
    assert alive == [0, 0, 0]


def test_a_file_that_changed_in_the_meantime_is_refused(tmp_path: Path) -> None:
    path = teacher_file(tmp_path / "t.safetensors")
    member = read_member(path, {}, digits(), source="t", foreign=True)
    teacher_file(tmp_path / "t.safetensors", seed=1)
    with pytest.raises(InputError, match=r"t\.safetensors changed while it was in use") as caught:
        network_of(member, digits())
    assert caught.value.hint
