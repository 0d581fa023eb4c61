"""Distillation losses on feature maps: what the student's stages look like to the teacher's."""

import torch.nn.functional as F
from torch import Tensor, nn

from compress.losses.precision import precise


def fitnet(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of two feature maps ("hints").

    Args:
        student: Shape (batch, channels, height, width), already projected to the teacher's
            channels; gradients flow into it.
        teacher: Shape (batch, channels, any height, any width); detached by the caller. The larger
            map is averaged down to the smaller one.

    Returns:
        A scalar, float64 for float64 student maps, else float32.

    Raises:
        ValueError: The two are not maps of one batch size and number of channels.

    Source:
        Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015, section 2.1. The mean
        replaces the paper's sum, as in the codes that compare methods.
    """
    student, teacher = _same_size(student, teacher)
    if student.shape != teacher.shape:
        raise ValueError(f"student {tuple(student.shape)}, teacher {tuple(teacher.shape)}")
    return F.mse_loss(student, teacher)


def attention(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of two attention maps: where in the image activations are large.

    The attention of a pixel is the mean of its squared channels; each image's map is brought to
    length 1. Numbers of channels may differ.

    Args:
        student: Shape (batch, channels, height, width); gradients flow into it.
        teacher: Shape (batch, any channels, any height, any width); detached by the caller. The
            larger map is averaged down to the smaller one.

    Returns:
        A scalar in [0, 2 / pixels], float64 for float64 student maps, else float32; small, so that
        its usual weight is 1000.

    Raises:
        ValueError: The two are not maps of one batch size.

    Source:
        Zagoruyko, Komodakis, "Paying More Attention to Attention", ICLR 2017, section 3.1; the mean
        over pixels as in the authors' code.
    """
    student, teacher = _same_size(student, teacher)
    return F.mse_loss(_attention(student), _attention(teacher))


class Projector(nn.Module):
    """A 1x1 convolution with BatchNorm from the student's channels to the teacher's.

    Computes in its own number format (float32), outside autocast.

    Args:
        student_channels: Channels of the student's map.
        teacher_channels: Channels of the teacher's map.
    """

    def __init__(self, student_channels: int, teacher_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(student_channels, teacher_channels, 1, bias=False)
        self.bn = nn.BatchNorm2d(teacher_channels)
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="linear")

    def forward(self, features: Tensor) -> Tensor:
        """Map (batch, student_channels, height, width) to (batch, teacher_channels, …)."""
        projected: Tensor = self.bn(self.conv(features.to(self.conv.weight.dtype)))
        return projected


def _same_size(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    if student.ndim != 4 or teacher.ndim != 4 or len(student) != len(teacher):
        raise ValueError(
            f"student {tuple(student.shape)} and teacher {tuple(teacher.shape)} must be maps "
            "(batch, channels, height, width) of one batch"
        )
    student = precise(student)
    teacher = teacher.to(student.dtype)
    height = min(student.shape[2], teacher.shape[2])
    width = min(student.shape[3], teacher.shape[3])
    return _averaged(student, height, width), _averaged(teacher, height, width)


def _averaged(features: Tensor, height: int, width: int) -> Tensor:
    rows, columns = features.shape[2:]
    if rows % height == 0 and columns % width == 0:
        window = (rows // height, columns // width)
        return features if window == (1, 1) else F.avg_pool2d(features, window)
    return F.adaptive_avg_pool2d(features, (height, width))


def _attention(features: Tensor) -> Tensor:
    return F.normalize(features.square().mean(dim=1).flatten(1), dim=1)
