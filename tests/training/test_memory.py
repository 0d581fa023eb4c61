"""Running out of memory."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from compress.errors import MachineError
from compress.training.memory import (
    in_parts,
    largest_fitting,
    ran_out,
    shortage_explained,
    split_forward,
    step_failed,
)


def double(images: Tensor) -> Tensor:
    return images * 2


def short_of(
    limit: int, sizes: list[int], error: type[Exception] = MemoryError
) -> Callable[[Tensor], Tensor]:
    """A forward pass that fails for more than `limit` images."""

    def forward(images: Tensor) -> Tensor:
        sizes.append(len(images))
        if len(images) > limit:
            raise error("no room")
        return double(images)

    return forward


def test_the_allocator_of_this_machine_is_understood() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert ran_out(caught.value)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"), True),
        (RuntimeError("GET was unable to find an engine to execute this computation"), True),
        (RuntimeError("FIND was unable to find an engine to execute this computation"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), False),
        (RuntimeError("shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_only_want_of_memory_is_taken_for_it(error: Exception, expected: bool) -> None:
    assert ran_out(error) is expected


@pytest.mark.parametrize("limit", [1, 3, 5, 100])
def test_a_split_batch_gives_the_whole_result_in_order(limit: int) -> None:
    images, sizes = torch.arange(11.0).view(11, 1), []
    result = split_forward(short_of(limit, sizes), images)
    assert torch.equal(result, double(images))
    assert sum(size for size in sizes if size <= limit) == 11


def test_what_is_found_of_the_parts_comes_in_their_order() -> None:
    forward = short_of(2, [])
    found = in_parts(lambda images: {"x": forward(images)}, torch.arange(5.0))
    assert [part["x"].tolist() for part in found] == [[0, 2], [4], [6, 8]]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (torch.OutOfMemoryError("CUDA out of memory.\nmore"), "a is out of memory: CUDA out of"),
        (MemoryError(), "a is out of memory"),
    ],
)
@pytest.mark.parametrize(
    ("fewer", "hint"),
    [
        ("", "use less"),
        ("go one by one", "use less; go one by one"),
    ],
)
def test_a_shortage_is_a_machine_error_with_a_remedy(
    error: Exception, message: str, fewer: str, hint: str
) -> None:
    with pytest.raises(MachineError) as caught, shortage_explained("a", "use less", fewer=fewer):
        raise error
    assert caught.value.exit_code == 4
    assert caught.value.message.startswith(message)
    assert "more" not in caught.value.message
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("fewer", "hint"),
    [("", "--batch-size 16 fits"), ("go one by one", "--batch-size 16 fits; go one by one")],
)
def test_a_step_that_does_not_fit_keeps_its_words_and_gets_the_remedy_of_its_company(
    fewer: str, hint: str
) -> None:
    with pytest.raises(MachineError) as caught, shortage_explained("all", "use less", fewer=fewer):
        raise step_failed("no room", label="small_cnn", batch_size=64, fits=16)
    assert caught.value.message == "small_cnn with batch size 64 is out of memory: no room"
    assert caught.value.hint == hint


def test_other_errors_of_a_block_are_not_explained_away() -> None:
    with pytest.raises(RuntimeError, match="no room"), shortage_explained("a", ""):
        raise RuntimeError("no room")


def test_one_image_too_many_is_a_machine_error() -> None:
    with pytest.raises(MachineError, match="not even for one image"):
        split_forward(short_of(0, []), torch.ones(4, 1))


def test_other_errors_are_not_swallowed() -> None:
    with pytest.raises(RuntimeError, match="no room"):
        split_forward(short_of(1, [], RuntimeError), torch.ones(4, 1))


@pytest.mark.parametrize(("fits", "expected"), [(100, 50), (49, 25), (2, 0), (3, 3), (0, 0)])
def test_the_largest_half_that_fits_is_found_by_trying(fits: int, expected: int) -> None:
    tried: list[int] = []

    def attempt(size: int) -> None:
        tried.append(size)
        if size > fits:
            raise MemoryError

    assert largest_fitting(attempt, 100) == expected
    assert tried == [50, 25, 12, 6, 3][: len(tried)]


@pytest.mark.parametrize(
    ("fits", "hint"),
    [
        (16, "--batch-size 16 fits"),
        (0, "not even two images fit: a smaller model or --image-size needs less memory"),
        (None, "a smaller --batch-size needs less memory"),
    ],
)
def test_the_error_names_student_batch_reason_and_remedy(fits: int | None, hint: str) -> None:
    error = step_failed("no room\nfor this", label="small_cnn", batch_size=64, fits=fits)
    assert error.message == "small_cnn with batch size 64 is out of memory: no room"
    assert error.hint == hint
