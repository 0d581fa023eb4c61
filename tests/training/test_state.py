"""Checkpoints."""

from pathlib import Path

import pytest
import torch

from compress.errors import InputError
from compress.training import state


def test_a_checkpoint_comes_back_bit_for_bit(tmp_path: Path) -> None:
    weights = torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    weights = weights.to(torch.bfloat16).contiguous(memory_format=torch.channels_last)
    state.save(tmp_path / "last.pt", {"weights": weights, "step": 7, "best": None})
    loaded = state.load(tmp_path / "last.pt")
    assert loaded is not None
    assert torch.equal(loaded["weights"], weights)
    assert loaded["weights"].stride() == weights.stride()
    assert (loaded["step"], loaded["best"]) == (7, None)


def test_there_is_none_before_the_first(tmp_path: Path) -> None:
    assert state.load(tmp_path / "last.pt") is None


@pytest.mark.parametrize("keep", [0, 100, -1])
def test_a_cut_checkpoint_is_an_input_error(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "last.pt"
    state.save(path, {"weights": torch.zeros(100)})
    content = path.read_bytes()
    path.write_bytes(content[: keep if keep >= 0 else len(content) // 2])
    with pytest.raises(InputError, match=r"last\.pt is damaged") as caught:
        state.load(path)
    assert "--restart" in caught.value.hint


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    torch.save({"format": 1, "trap": Trap()}, tmp_path / "last.pt")
    with pytest.raises(InputError, match="damaged"):
        state.load(tmp_path / "last.pt")
    assert not (tmp_path / "sprung").exists()


def test_a_checkpoint_of_another_format_is_refused(tmp_path: Path) -> None:
    torch.save({"format": 99}, tmp_path / "last.pt")
    with pytest.raises(InputError, match="has format 99, this version reads 1"):
        state.load(tmp_path / "last.pt")


def test_the_checkpoint_before_stays_until_the_next_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.pt"
    state.save(path, {"step": 1})

    def full(content: object, part: Path) -> None:
        part.write_bytes(b"half")
        raise RuntimeError("PytorchStreamWriter failed writing file data/3: file write failed")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(InputError, match="cannot write"):
        state.save(path, {"step": 2})
    monkeypatch.undo()
    loaded = state.load(path)
    assert loaded is not None
    assert loaded["step"] == 1
    assert [entry.name for entry in tmp_path.iterdir() if entry.is_file()] == ["last.pt"]
