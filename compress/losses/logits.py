"""Distillation losses on logits: pure functions of the student's and the teacher's outputs.

All of them are averages over the batch (tiling a batch does not change them), ignore a constant
added to a row of logits, are 0 where both models agree (`hard` excepted) and never below 0.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from compress.losses.precision import nonnegative, precise

STANDARD_DEVIATION_FLOOR = 1e-7
CONSTANT = 1e-6
"""Length of what varies in a vector, as a share of the vector's, up to which it is rounding.

A mean in float32 is off by some 1e-7 of the values.
"""


def kd(student: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    """Distance between softened class distributions, scaled so gradients ignore the temperature.

    KL(softmax(teacher / T) || softmax(student / T)) * T**2, averaged over the batch. Cross-entropy
    with the teacher's distribution as soft labels has the same gradient and is larger by the
    teacher's entropy.

    Args:
        student: Logits of shape (batch, classes), any float dtype; gradients flow into it.
        teacher: Logits of the same shape; detached by the caller.
        temperature: Softening, unitless, above 0; 1 leaves the distributions as they are.

    Returns:
        A scalar in nats, float64 for float64 logits, else float32; 0 where both agree.

    Raises:
        ValueError: The two shapes differ.

    Source:
        Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, section 2.
    """
    student, teacher = _pair(student, teacher)
    divergence = _divergence(
        F.log_softmax(student / temperature, dim=1), F.log_softmax(teacher / temperature, dim=1)
    )
    return divergence.mean() * temperature**2


def logit_std(student: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    """`kd` after each row of logits is brought to mean 0 and standard deviation 1.

    The student is then free to differ from the teacher in the scale of its logits. With two classes
    nothing but that scale and a sign is left, and so no gradient: `LEAST_CLASSES` in the registry.

    Args:
        student: Logits of shape (batch, classes), any float dtype; gradients flow into it.
        teacher: Logits of the same shape; detached by the caller.
        temperature: Softening after standardisation, unitless, above 0; the paper's is 2.

    Returns:
        A scalar in nats, float64 for float64 logits, else float32.

    Raises:
        ValueError: The two shapes differ, or there are fewer than two classes.

    Source:
        Sun et al., "Logit Standardization in Knowledge Distillation", CVPR 2024, section 4. The
        standard deviation is over classes - 1, as in the authors' code, plus 1e-7.
    """
    student, teacher = _pair(student, teacher)
    _at_least_two_classes(student)
    return kd(_standardised(student), _standardised(teacher), temperature=temperature)


def dkd(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    *,
    temperature: float,
    alpha: float,
    beta: float,
) -> Tensor:
    """`kd` taken apart into what it says of the target class and of the other classes.

    KL = TCKD + (1 - p_target) * NCKD, where TCKD is the divergence of [p_target, 1 - p_target] and
    NCKD the divergence of the other classes' distribution, renormalised. The second factor hides
    what a confident teacher knows of the other classes; here both parts get a weight of their own:
    T**2 * (alpha * mean TCKD + beta * mean NCKD).

    Args:
        student: Logits of shape (batch, classes), any float dtype; gradients flow into it.
        teacher: Logits of the same shape; detached by the caller.
        labels: int64 of shape (batch,). Mixed (float) labels have no target class.
        temperature: Softening, unitless, above 0; the paper's is 4.
        alpha: Weight of the target part; the paper's is 1.
        beta: Weight of the other classes' part; the paper's is 8 on CIFAR-100.

    Returns:
        A scalar in nats, float64 for float64 logits, else float32; NCKD is 0 for two classes.

    Raises:
        ValueError: The shapes do not fit, labels are not integers, or there is only one class.

    Source:
        Zhao et al., "Decoupled Knowledge Distillation", CVPR 2022, section 3.
    """
    student, teacher = _pair(student, teacher)
    _at_least_two_classes(student)
    if labels.is_floating_point() or labels.shape != student.shape[:1]:
        raise ValueError(
            f"dkd needs one integer label per row of {tuple(student.shape)}, "
            f"not {labels.dtype} {tuple(labels.shape)}"
        )
    student, teacher = student / temperature, teacher / temperature
    student_others, teacher_others = _without(student, labels), _without(teacher, labels)
    target = _divergence(
        _target_against_rest(student, student_others, labels),
        _target_against_rest(teacher, teacher_others, labels),
    )
    others = _divergence(F.log_softmax(student_others, dim=1), F.log_softmax(teacher_others, dim=1))
    return (alpha * target.mean() + beta * others.mean()) * temperature**2


def dist(
    student: Tensor, teacher: Tensor, *, beta: float, gamma: float, temperature: float
) -> Tensor:
    """How badly the student's probabilities correlate with the teacher's, by image and by class.

    beta * (1 - mean Pearson correlation of rows) + gamma * (1 - mean correlation of columns), with
    no factor T**2. Computed as half the squared distance of centred vectors of length 1, which is
    the same, but exactly 0 for equal inputs. A vector without variance counts as 0 (its correlation
    is undefined): it costs 0 against another such, one half against any other, and no gradient
    flows through it. With two classes a row only says which one leads: the columns teach.

    Args:
        student: Logits of shape (batch, classes), any float dtype; gradients flow into it.
        teacher: Logits of the same shape; detached by the caller.
        beta: Weight of the rows (relations between classes); the paper's is 1.
        gamma: Weight of the columns (relations between images); the paper's is 1.
        temperature: Softening, unitless, above 0; 1 in the authors' code for ImageNet, which also
            multiplies by its square.

    Returns:
        A unitless scalar in [0, 2 * (beta + gamma)], float64 for float64 logits, else float32.

    Raises:
        ValueError: The two shapes differ.

    Source:
        Huang et al., "Knowledge Distillation from A Stronger Teacher", NeurIPS 2022, section 3.
    """
    student, teacher = _pair(student, teacher)
    ours = F.softmax(student / temperature, dim=1)
    theirs = F.softmax(teacher / temperature, dim=1)
    rows = _decorrelation(ours, theirs, dim=1)
    columns = _decorrelation(ours, theirs, dim=0)
    return beta * rows.mean() + gamma * columns.mean()


def hard(student: Tensor, teacher: Tensor) -> Tensor:
    """Cross-entropy of the student with the teacher's decision as its label.

    Args:
        student: Logits of shape (batch, classes), any float dtype; gradients flow into it.
        teacher: Logits of the same shape; the first of equal maxima decides.

    Returns:
        A scalar in nats, float64 for float64 logits, else float32.

    Raises:
        ValueError: The two shapes differ.

    Source:
        Touvron et al., "Training data-efficient image transformers & distillation through
        attention", ICML 2021, section 4, "Hard-label distillation".
    """
    student, teacher = _pair(student, teacher)
    return F.cross_entropy(student, teacher.argmax(dim=1))


def _pair(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    if student.shape != teacher.shape or student.ndim != 2:
        raise ValueError(
            f"student {tuple(student.shape)} and teacher {tuple(teacher.shape)} must both be "
            "(batch, classes)"
        )
    student = precise(student)
    return student, teacher.to(student.dtype)


def _at_least_two_classes(logits: Tensor) -> None:
    if logits.shape[1] < 2:
        raise ValueError(f"logits {tuple(logits.shape)} have fewer than two classes")


def _divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(teacher || student) of each row of log-probabilities, shape (batch,), in nats."""
    return nonnegative((teacher.exp() * (teacher - student)).sum(dim=1))


def _standardised(logits: Tensor) -> Tensor:
    deviation = logits.std(dim=1, keepdim=True, correction=1)
    return (logits - logits.mean(dim=1, keepdim=True)) / (deviation + STANDARD_DEVIATION_FLOOR)


def _without(logits: Tensor, labels: Tensor) -> Tensor:
    """Logits of the classes that are not the label, shape (batch, classes - 1)."""
    position = torch.arange(logits.shape[1] - 1, device=logits.device)
    return logits.gather(1, position + (position >= labels[:, None]))


def _target_against_rest(logits: Tensor, others: Tensor, labels: Tensor) -> Tensor:
    """Log-probabilities of the label and of all other classes together, shape (batch, 2).

    By logsumexp: a logarithm of 1 - p is -inf as soon as p rounds to 1.
    """
    pair = torch.cat(
        [logits.gather(1, labels[:, None]), others.logsumexp(dim=1, keepdim=True)], dim=1
    )
    return F.log_softmax(pair, dim=1)


def _decorrelation(student: Tensor, teacher: Tensor, *, dim: int) -> Tensor:
    difference = _unit(student, dim) - _unit(teacher, dim)
    return difference.square().sum(dim=dim) / 2


def _unit(values: Tensor, dim: int) -> Tensor:
    """Vectors centred and of length 1; without variance 0, and without a gradient."""
    centred = values - values.mean(dim=dim, keepdim=True)
    length = torch.linalg.vector_norm(centred, dim=dim, keepdim=True)
    whole = torch.linalg.vector_norm(values, dim=dim, keepdim=True)
    varies = length > CONSTANT * whole
    return torch.where(varies, centred / torch.where(varies, length, 1.0), 0.0)
