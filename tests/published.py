"""Weights as if torchvision had published them: a file in torch's hub folder, hash in its name."""

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torchvision
from torch import Tensor

from compress.models.pretrained import RELEASE


def publish(
    name: str, monkeypatch: pytest.MonkeyPatch, *, state: Mapping[str, Tensor] | None = None
) -> tuple[Path, str]:
    """Put weights for 1000 classes where torch keeps its downloads.

    Args:
        name: torchvision's name of the model.
        monkeypatch: Makes torchvision name that file until the test ends.
        state: The weights; None draws them.

    Returns:
        The file, and its sha256.
    """
    content = io.BytesIO()
    torch.save(torchvision.models.get_model(name).state_dict() if state is None else state, content)
    sha256 = hashlib.sha256(content.getvalue()).hexdigest()
    path = Path(torch.hub.get_dir()) / "checkpoints" / f"{name}-{sha256[:8]}.pth"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.getvalue())
    entry = SimpleNamespace(url=f"https://example.org/models/{path.name}")
    monkeypatch.setattr("compress.models.pretrained.get_model_weights", lambda _: {RELEASE: entry})
    return path, sha256
