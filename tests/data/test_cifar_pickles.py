"""Pickled batches: arrays come out, and nothing runs."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from compress.data.cifar_pickles import read_batch
from compress.errors import InputError

PLANES = np.arange(2 * 3072, dtype=np.int64).reshape(2, 3072).astype(np.uint8)
PATH = Path("batch")


def test_pixels_and_labels_come_out():
    content = pickle.dumps({b"data": PLANES, b"fine_labels": [3, 1]}, protocol=4)
    planes, labels = read_batch(content, PATH, label_key="fine_labels")
    np.testing.assert_array_equal(planes, PLANES)
    assert labels.tolist() == [3, 1]
    assert labels.dtype == np.int64


def test_a_batch_written_by_python_2_and_its_numpy_is_read():
    # Protocol 2 with old module names and byte strings, as the official files have them.
    body = (
        b"\x80\x02}(U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
        b"K\x00\x85U\x01b\x87R(K\x01K\x01K\x02\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x02\x07\xfftb"
        b"U\x06labels](K\x05eu."
    )
    planes, labels = read_batch(body, PATH, label_key="labels")
    assert planes.tolist() == [[7, 255]]
    assert labels.tolist() == [5]


class Malicious:
    """Would make a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(tmp_path):
    mark = tmp_path / "ran"
    content = pickle.dumps({b"data": PLANES, b"labels": Malicious(mark)}, protocol=4)
    with pytest.raises(InputError, match="batch is not a CIFAR batch: it asks for"):
        read_batch(content, PATH, label_key="labels")
    assert not mark.exists()
    pickle.loads(content)
    assert mark.exists()  # it would have


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ([1, 2], "it holds a list"),
        ({b"data": PLANES}, "it has no labels"),
        ({}, "it has no data and no labels"),
        ({b"data": PLANES.astype(np.float32), b"labels": [0, 1]}, "float32, not uint8"),
    ],
)
def test_a_pickle_of_something_else_is_refused(batch, message):
    with pytest.raises(InputError, match=message):
        read_batch(pickle.dumps(batch, protocol=4), PATH, label_key="labels")


@pytest.mark.parametrize("content", [b"", b"\x80\x02", b"junk", b"\x80\x04R."])
def test_bytes_that_are_no_pickle_are_refused(content):
    with pytest.raises(InputError, match="not a CIFAR batch"):
        read_batch(content, PATH, label_key="labels")
