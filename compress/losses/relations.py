"""Distillation losses on relations between the images of a batch."""

import torch
import torch.nn.functional as F
from torch import Tensor

from compress.losses.precision import precise

# Below this share of the mean squared length two embeddings count as equal: float64 products of
# equal float32 rows differ by about 1e-15 of it, of rows that differ in one last bit by 1e-14.
EQUAL = 1e-13


def rkd(student: Tensor, teacher: Tensor, *, distance: float, angle: float) -> Tensor:
    """How the student's geometry of a batch differs from the teacher's.

    distance * smooth L1 of all pairwise distances, each divided by the mean of those above 0, plus
    angle * smooth L1 of the cosines of all angles between three images. Independent of the scale,
    place, rotation and dimension of the embeddings. Needs memory for batch**3 numbers.

    Args:
        student: Embeddings of shape (batch, features), or maps of shape (batch, channels, height,
            width), which are averaged over their pixels; gradients flow into it.
        teacher: The same for the teacher, of any number of features; detached by the caller.
        distance: Weight of the distances; the paper's is 25.
        angle: Weight of the angles; the paper's is 50.

    Returns:
        A unitless scalar, float64 for a float64 student, else float32.

    Raises:
        ValueError: The batches differ, or the shapes are neither of those.

    Source:
        Park et al., "Relational Knowledge Distillation", CVPR 2019, sections 3.2 and 3.3.
    """
    if len(student) != len(teacher):
        raise ValueError(f"student {tuple(student.shape)}, teacher {tuple(teacher.shape)}")
    dtype = precise(student).dtype
    # Distances from inner products in float64: differences of all pairs would need
    # batch**2 * features numbers, and float32 products cannot tell equal rows from near ones.
    ours = _Geometry(_embedding(student))
    theirs = _Geometry(_embedding(teacher))
    loss = distance * F.smooth_l1_loss(
        ours.relative_distances().to(dtype), theirs.relative_distances().to(dtype)
    )
    return loss + angle * F.smooth_l1_loss(ours.cosines(dtype), theirs.cosines(dtype))


class _Geometry:
    """Distances and angles of points of shape (batch, features), with safe gradients at 0."""

    def __init__(self, points: Tensor) -> None:
        centred = points - points.mean(dim=0)
        self.products = centred @ centred.T
        squares = self.products.diagonal()
        squared = squares[:, None] + squares[None, :] - 2 * self.products
        self.apart = squared > EQUAL * squares.mean()
        self.distances = torch.where(self.apart, squared, 1.0).sqrt() * self.apart

    def relative_distances(self) -> Tensor:
        """Distances over the mean of those above 0, shape (batch, batch)."""
        mean = self.distances.sum() / self.apart.sum().clamp(min=1)
        return self.distances / torch.where(mean > 0, mean, 1.0)

    def cosines(self, dtype: torch.dtype) -> Tensor:
        """Cosine at i of the angle between j and k, shape (batch, batch, batch), 0 where i is one.

        (x_j - x_i)(x_k - x_i) = x_j x_k - x_i x_j - x_i x_k + x_i x_i, over both lengths.
        """
        products = self.products
        own = products.diagonal()[:, None, None]
        numerator = products[None] - products[:, :, None] - products[:, None, :] + own
        inverse = self.apart / torch.where(self.apart, self.distances, 1.0)
        return (numerator * inverse[:, :, None] * inverse[:, None, :]).to(dtype)


def _embedding(features: Tensor) -> Tensor:
    if features.ndim == 4:
        features = precise(features).mean(dim=(2, 3))
    if features.ndim != 2:
        raise ValueError(f"{tuple(features.shape)} is neither an embedding nor a map")
    return features.double()
