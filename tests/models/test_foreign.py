"""Files of other programs: read without running them, or refused in one line."""

import argparse
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from compress.errors import InputError
from compress.models.foreign import read_state


class Tiny(nn.Module):
    """A network whose class no reader knows."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(4, 2)


@pytest.fixture
def state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return Tiny().state_dict()


def prefixed(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in state.items()}


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


@pytest.mark.parametrize("entry", ["state_dict", "model_state_dict", "model", "net", "ema"])
def test_weights_are_found_in_a_checkpoint(
    tmp_path: Path, state: dict[str, Tensor], entry: str
) -> None:
    checkpoint = {"epoch": 3, "best": 0.93, entry: state, "optimizer": {"state": {}, "groups": []}}
    torch.save(checkpoint, tmp_path / "a.pth")
    assert_same(read_state(tmp_path / "a.pth", entry=None), state)


def test_weights_are_found_two_levels_down(tmp_path: Path, state: dict[str, Tensor]) -> None:
    torch.save({"model": {"state_dict": state, "name": "tiny"}}, tmp_path / "a.pt")
    assert_same(read_state(tmp_path / "a.pt", entry=None), state)


def test_the_plain_weights_are_preferred_to_their_average(
    tmp_path: Path, state: dict[str, Tensor]
) -> None:
    average = {key: value + 1 for key, value in state.items()}
    torch.save({"model_ema": average, "model": state}, tmp_path / "a.pt")
    assert_same(read_state(tmp_path / "a.pt", entry=None), state)
    assert_same(read_state(tmp_path / "a.pt", entry="model_ema"), average)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod."])
def test_prefixes_of_wrappers_are_removed(
    tmp_path: Path, state: dict[str, Tensor], prefix: str
) -> None:
    torch.save(prefixed(prefix, state), tmp_path / "a.pt")
    assert_same(read_state(tmp_path / "a.pt", entry=None), state)


def test_an_averaged_models_counter_is_no_weight(tmp_path: Path, state: dict[str, Tensor]) -> None:
    averaged = {"n_averaged": torch.tensor(5), **prefixed("module.", state)}
    torch.save(averaged, tmp_path / "a.pt")
    assert_same(read_state(tmp_path / "a.pt", entry=None), state)


def test_the_format_of_old_torch_versions_is_read(tmp_path: Path, state: dict[str, Tensor]) -> None:
    torch.save(OrderedDict(state), tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    assert_same(read_state(tmp_path / "a.pt", entry=None), state)


def test_safetensors_without_our_header_are_read(tmp_path: Path, state: dict[str, Tensor]) -> None:
    safetensors.torch.save_file(prefixed("module.", state), tmp_path / "a.safetensors")
    assert_same(read_state(tmp_path / "a.safetensors", entry=None), state)


@pytest.mark.parametrize(
    "beside",
    [argparse.Namespace(lr=0.1), np.float64(0.93), np.arange(3.0), np.int64(4), np.bool_(True)],
    ids=["arguments", "score", "curve", "count", "flag"],
)
def test_harmless_objects_beside_the_weights_do_not_matter(
    tmp_path: Path, state: dict[str, Tensor], beside: object
) -> None:
    torch.save({"state_dict": state, "beside": beside}, tmp_path / "a.pth.tar")
    assert_same(read_state(tmp_path / "a.pth.tar", entry=None), state)


class Attack:
    """An object that runs a command where it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("form", ["zip", "old", "pickle", "inside"])
def test_a_malicious_file_is_refused_and_runs_nothing(
    tmp_path: Path, state: dict[str, Tensor], form: str
) -> None:
    marker, path = tmp_path / "it-ran", tmp_path / "evil.pt"
    attack = Attack(marker)
    if form == "zip":
        torch.save({"state_dict": attack}, path)
    elif form == "old":
        torch.save({"state_dict": attack}, path, _use_new_zipfile_serialization=False)
    elif form == "pickle":
        path.write_bytes(pickle.dumps(attack))
    else:
        torch.save({**state, "fc.bias": attack}, path)
    with pytest.raises(InputError):
        read_state(path, entry=None)
    assert not marker.exists()
    # the file is what it pretends to be: the unsafe way runs it
    if form == "zip":
        torch.load(path, weights_only=False)
        assert marker.exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_whole_pickled_module_is_refused_with_the_line_to_save_instead(
    tmp_path: Path, zipped: bool
) -> None:
    torch.save(Tiny(), tmp_path / "whole.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match="pickled objects") as caught:
        read_state(tmp_path / "whole.pt", entry=None)
    assert 'torch.save(model.state_dict(), "whole.pt")' in caught.value.hint


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.99])
def test_truncated_files_are_refused(
    tmp_path: Path, state: dict[str, Tensor], share: float, zipped: bool
) -> None:
    path = tmp_path / "a.pt"
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match="truncated"):
        read_state(path, entry=None)


def test_no_cut_of_an_old_file_escapes(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = tmp_path / "a.pt"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError):
            read_state(path, entry=None)


@pytest.mark.parametrize(
    "content", [b"", b"hello world, this is no file of torch\n" * 20, bytes(range(256)) * 8]
)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_other_files_are_refused(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError):
        read_state(path, entry=None)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        read_state(tmp_path, entry=None)


@pytest.mark.parametrize("content", [3, [1, 2], {"epoch": 3}, {"state_dict": {"a": 1}}, {}])
def test_a_checkpoint_without_weights_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(InputError, match="no state dict"):
        read_state(tmp_path / "a.pt", entry=None)


def test_a_wrong_entry_is_refused_with_the_keys(tmp_path: Path, state: dict[str, Tensor]) -> None:
    torch.save({"teacher": state, "student": state}, tmp_path / "a.pt")
    with pytest.raises(InputError, match="no weights under 'model'") as caught:
        read_state(tmp_path / "a.pt", entry="model")
    assert "teacher, student" in caught.value.hint
    assert_same(read_state(tmp_path / "a.pt", entry="student"), state)
