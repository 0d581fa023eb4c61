"""CIFAR's official files: both layouts, where they are looked for, and what is wrong with them."""

import hashlib
import pickle
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compress.data import cifar
from compress.data.cifar_layouts import CIFAR10, CIFAR100, Layout, SourceFile
from compress.data.downloads import Checksum
from compress.data.images import ImageSet, Splits
from compress.errors import InputError
from compress.progress import Silent

ROWS = 7
Contents = dict[str, tuple[np.ndarray, np.ndarray]]


def contents(layout: Layout) -> Contents:
    """Planes and labels for every file of a layout, the same for files of the same rank."""
    files = (*layout.train, *layout.test)
    made = {}
    for number, file in enumerate(files):
        generator = np.random.default_rng(number)
        planes = generator.integers(0, 256, (ROWS, 3072), dtype=np.uint8)
        labels = generator.integers(0, len(layout.class_names), ROWS)
        made[file.name] = (planes, labels)
    return made


def encode(layout: Layout, planes: np.ndarray, labels: np.ndarray) -> bytes:
    """One file as the layout has it."""
    if layout.pickled:
        batch = {b"data": planes, layout.label_key.encode(): labels.tolist(), b"batch_label": b"x"}
        return pickle.dumps(batch, protocol=4)
    coarse = np.full((len(labels), layout.label_bytes - 1), 99, dtype=np.uint8)
    return np.hstack([coarse, labels[:, None].astype(np.uint8), planes]).tobytes()


def publish(layout: Layout, root: Path) -> Layout:
    """Write a layout's files, short, and return the layout with their lengths and checksums."""
    folder = root / layout.folder
    folder.mkdir(parents=True)
    algorithm = layout.test[0].checksum.algorithm

    def written(file: SourceFile) -> SourceFile:
        data = encode(layout, *contents(layout)[file.name])
        (folder / file.name).write_bytes(data)
        return SourceFile(
            file.name, ROWS, Checksum(algorithm, hashlib.new(algorithm, data).hexdigest())
        )

    return replace(
        layout,
        train=tuple(written(file) for file in layout.train),
        test=tuple(written(file) for file in layout.test),
    )


def read(layouts: tuple[Layout, ...], split: str, data_dir: Path | None) -> ImageSet:
    found = cifar.read(layouts, split, data_dir=data_dir, download=False, progress=Silent())
    assert found is not None
    return found


@pytest.mark.parametrize("layout", [*CIFAR10, *CIFAR100], ids=lambda layout: layout.folder)
def test_every_layout_gives_planes_as_pixels_and_fine_labels(layout, tmp_path):
    small = publish(layout, tmp_path)
    for split, files in (("train", small.train), ("test", small.test)):
        found = read((small,), split, tmp_path)
        made = contents(layout)
        planes = np.concatenate([made[file.name][0] for file in files])
        labels = np.concatenate([made[file.name][1] for file in files])
        assert found.images.shape == (ROWS * len(files), 32, 32, 3)
        # Red of the first line's second pixel, blue of the last pixel.
        np.testing.assert_array_equal(found.images[:][:, 0, 1, 0], planes[:, 1])
        np.testing.assert_array_equal(found.images[:][:, 31, 31, 2], planes[:, 3071])
        np.testing.assert_array_equal(found.images[:][:, 1, 0, 1], planes[:, 1024 + 32])
        np.testing.assert_array_equal(found.known_labels, labels)


@pytest.mark.parametrize("layouts", [CIFAR10, CIFAR100])
def test_both_layouts_are_the_same_data_set(layouts, tmp_path):
    digests = {
        read((publish(layout, tmp_path / layout.folder),), "train", tmp_path / layout.folder).sha256
        for layout in layouts
    }
    assert len(digests) == 1


def test_there_is_no_validation_split(tmp_path):
    small = publish(CIFAR10[0], tmp_path)
    found = cifar.read((small,), "validation", data_dir=tmp_path, download=False, progress=Silent())
    assert found is None


def test_the_folder_of_the_files_itself_may_be_named(tmp_path, monkeypatch):
    small = publish(CIFAR100[0], tmp_path)
    assert read((small,), "test", tmp_path / small.folder).count == ROWS
    monkeypatch.chdir(tmp_path / small.folder)
    assert read((small,), "test", Path()).count == ROWS
    (tmp_path / "link").symlink_to(tmp_path / small.folder)
    assert read((small,), "test", tmp_path / "link").count == ROWS


def test_places_are_searched_in_order(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPRESS_DATA", str(tmp_path / "variable"))
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "cache"))
    assert cifar.roots(tmp_path / "named", "cifar10") == (
        tmp_path / "named",
        tmp_path / "variable",
        tmp_path / "cache" / "data",
    )
    small = publish(CIFAR10[0], tmp_path / "variable")
    assert read((small,), "test", tmp_path / "named").count == ROWS
    assert read((small,), "test", None).count == ROWS


@pytest.mark.parametrize("named", [True, False])
def test_what_is_nowhere_is_downloaded_once(tmp_path, monkeypatch, named):
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("COMPRESS_DATA", raising=False)
    small = publish(CIFAR10[0], tmp_path / "origin")
    fetched = []

    def fetch(archive, root, *, progress):
        fetched.append((archive, root))
        shutil.copytree(tmp_path / "origin" / small.folder, root / small.folder)

    monkeypatch.setattr("compress.data.cifar.downloads.fetch", fetch)
    data_dir = tmp_path / "named" if named else None
    for split, files in (("test", 1), ("train", 5)):
        found = cifar.read(
            (small, CIFAR10[1]), split, data_dir=data_dir, download=True, progress=Silent()
        )
        assert found.count == files * ROWS
    assert fetched == [(small.archive, data_dir or tmp_path / "cache" / "data")]


def test_where_a_user_once_found_the_data_is_searched_last(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("COMPRESS_DATA", raising=False)
    small = publish(CIFAR10[0], tmp_path / "named")
    assert read((small,), "test", tmp_path / "named").count == ROWS
    assert read((small,), "test", None).count == ROWS
    assert cifar.roots(None, "cifar10")[-1] == tmp_path / "named"
    assert tmp_path / "named" not in cifar.roots(None, "cifar100")


def test_damaged_data_are_not_remembered(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("COMPRESS_DATA", raising=False)
    small = publish(CIFAR10[0], tmp_path / "named")
    (tmp_path / "named" / small.folder / "test_batch.bin").write_bytes(b"short")
    with pytest.raises(InputError, match="test_batch"):
        read((small,), "test", tmp_path / "named")
    with pytest.raises(InputError, match="is in none of"):
        read((small,), "test", None)


def test_a_packed_archive_is_unpacked_where_it_lies(tmp_path):
    small = publish(CIFAR10[0], tmp_path / "origin")
    (tmp_path / "data").mkdir()
    archive = tmp_path / "data" / small.archive.name
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "origin" / small.folder, arcname=small.folder)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    packed = replace(small, archive_checksum=Checksum("sha256", digest))
    assert read((packed,), "test", tmp_path / "data").count == ROWS
    assert (tmp_path / "data" / small.folder / "test_batch.bin").is_file()


def test_an_archive_completes_a_folder_that_was_cut_short(tmp_path):
    """As a process leaves it that was killed while unpacking."""
    small = publish(CIFAR10[0], tmp_path)
    archive = tmp_path / small.archive.name
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / small.folder, arcname=small.folder)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    packed = replace(small, archive_checksum=Checksum("sha256", digest))
    (tmp_path / small.folder / "data_batch_4.bin").unlink()
    assert read((packed,), "train", tmp_path).count == 5 * ROWS


def test_data_that_are_nowhere_name_the_places_and_the_ways_out(tmp_path):
    with pytest.raises(InputError, match="cifar10 is in none of") as caught:
        read(CIFAR10, "test", tmp_path)
    assert str(tmp_path) in caught.value.message
    assert "--data-dir" in caught.value.hint
    assert "COMPRESS_DATA" in caught.value.hint


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "data_batch_3.bin is missing, expected 21511 bytes"),
        (lambda path: path.write_bytes(b""), "data_batch_3.bin has 0 bytes, expected 21511"),
        (
            lambda path: path.write_bytes(path.read_bytes()[:-1]),
            "data_batch_3.bin has 21510 bytes, expected 21511",
        ),
        (
            lambda path: path.write_bytes(
                path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1])
            ),
            "data_batch_3.bin differs from the published file",
        ),
    ],
    ids=["missing", "empty", "truncated", "altered"],
)
def test_a_bad_binary_file_is_named_with_its_size(damage, message, tmp_path):
    small = publish(CIFAR10[0], tmp_path)
    path = tmp_path / small.folder / "data_batch_3.bin"
    damage(path)
    with pytest.raises(InputError, match=message):
        read((small,), "train", tmp_path)


def test_a_bad_training_file_does_not_stop_the_test_images(tmp_path):
    small = publish(CIFAR10[0], tmp_path)
    (tmp_path / small.folder / "data_batch_1.bin").unlink()
    assert read((small,), "test", tmp_path).count == ROWS


@pytest.mark.parametrize("content", [b"", b"junk", None], ids=["empty", "junk", "missing"])
def test_a_bad_python_file_is_named_before_anything_is_unpickled(content, tmp_path):
    small = publish(CIFAR10[1], tmp_path)
    path = tmp_path / small.folder / "test_batch"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"test_batch (is missing|differs)"):
        read((small,), "test", tmp_path)


def test_a_python_file_of_another_length_is_refused(tmp_path):
    small = publish(CIFAR10[1], tmp_path)
    longer = replace(small, test=(replace(small.test[0], rows=8),))
    with pytest.raises(InputError, match="expected 8 rows"):
        read((longer,), "test", tmp_path)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "mean", "std"),
    [
        ("cifar10", (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
        ("cifar100", (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    ],
)
def test_the_official_training_images_have_their_published_means(name, mean, std, cifar_dir):
    layouts = {"cifar10": CIFAR10, "cifar100": CIFAR100}[name]
    train = read(layouts, "train", cifar_dir)
    splits = Splits.build(
        name,
        train=train,
        test=read(layouts, "test", cifar_dir),
        validation=None,
        validation_fraction=0.0,
        split_seed=0,
    )
    assert splits.mean == pytest.approx(mean, abs=1e-4)
    assert splits.std == pytest.approx(std, abs=1e-4)
    assert np.bincount(splits.train.known_labels).tolist() == [50_000 // train.classes] * (
        train.classes
    )
    assert splits.test.count == 10_000
