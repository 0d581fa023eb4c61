"""Trained networks as files: those a teacher consists of, those that students begin with."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from compress.config.specs import Scalar
from compress.data.images import Splits
from compress.errors import InputError
from compress.models.weights import WeightsHeader, complete, instantiate, load


@dataclass(frozen=True)
class Member:
    """A trained network; its weights stay in their file until they are needed.

    Attributes:
        name: Model name.
        source: As the user named it.
        path: The weights file.
        options: As given after its name.
        sha256: Of the weights file.
        header: What they are, nothing left open.
        foreign: Not trained here on this split.
    """

    name: str
    source: str
    path: Path
    options: Mapping[str, Scalar]
    sha256: str
    header: WeightsHeader
    foreign: bool


def read_member(
    path: Path, options: Mapping[str, Scalar], splits: Splits, *, source: str, foreign: bool
) -> Member:
    """Read a network's weights and check that it knows the classes of these images.

    Args:
        path: The weights file.
        options: What a foreign file cannot say of itself.
        splits: The data.
        source: As the user named it.
        foreign: Not trained here on this split.

    Raises:
        InputError: Unreadable, or for other classes, another image size or another network.
        ConfigError: Its description is missing or wrong.
    """
    read = load(path, options)
    header = complete(read, splits.class_names, image_size=splits.image_size)
    return Member(header.model, source, path, dict(options), read.sha256, header, foreign)


def network_of(member: Member, splits: Splits) -> nn.Module:
    """The network of a member, read from its file anew.

    Raises:
        InputError: The file is gone, or another than it was.
    """
    read = load(member.path, member.options)
    if read.sha256 != member.sha256:
        raise InputError(
            f"{member.path} changed while it was in use (sha256 {read.sha256[:12]}…, expected "
            f"{member.sha256[:12]}…)",
            hint="put the file back, and run the same command again",
        )
    return instantiate(read, splits.class_names, image_size=splits.image_size)
