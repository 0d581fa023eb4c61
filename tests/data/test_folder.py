"""Folders of pictures: classes, sizes, and what is wrong with them."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from compress import environment
from compress.data import folder
from compress.data.resize import square
from compress.errors import ConfigError, InputError, MachineError
from compress.progress import Silent


def picture(path: Path, grey: int, size: tuple[int, int] = (8, 8)) -> Path:
    """Write a picture of one grey, width and height as given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (grey,) * 3).save(path)
    return path


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Two cats and a dog to train on, one of each to test on."""
    root = tmp_path / "pets"
    picture(root / "train/cat/b.png", 2)
    picture(root / "train/cat/a.png", 1)
    picture(root / "train/dog/c.PNG", 3)
    picture(root / "test/cat/d.png", 4)
    picture(root / "test/dog/e.png", 5)
    return root


def greys(images) -> list[int]:
    return images.images[:][:, 0, 0, 0].tolist()


def test_classes_are_sorted_folder_names_and_pictures_are_sorted_by_path(pets):
    found = folder.read(pets, image_size=None, progress=Silent())
    assert sorted(found) == ["test", "train"]
    assert greys(found["train"]) == [1, 2, 3]
    assert found["train"].known_labels.tolist() == [0, 0, 1]
    assert found["train"].class_names == ("cat", "dog")
    assert greys(found["test"]) == [4, 5]
    assert found["train"].image_size == 8


@pytest.mark.parametrize("name", ["val", "validation"])
def test_validation_pictures_are_read_where_there_are_some(pets, name):
    picture(pets / name / "cat/f.png", 6)
    picture(pets / name / "dog/g.png", 7)
    found = folder.read(pets, image_size=None, progress=Silent())
    assert greys(found["validation"]) == [6, 7]


def test_pictures_of_every_size_are_made_square_as_in_prediction(pets):
    path = picture(pets / "train/dog/wide.jpg", 9, (40, 20))
    found = folder.read(pets, image_size=16, progress=Silent())
    assert found["train"].images.shape == (4, 16, 16, 3)
    with Image.open(path) as opened:
        np.testing.assert_array_equal(found["train"].images[3:4][0], square(opened, 16))


def test_pictures_of_one_oblong_size_become_squares_of_its_shorter_side(tmp_path):
    for split in ("train", "test"):
        picture(tmp_path / split / "a/x.png", 1, (12, 9))
    assert folder.read(tmp_path, image_size=None, progress=Silent())["train"].image_size == 9


def test_pictures_of_several_sizes_need_to_be_told_one(pets):
    picture(pets / "train/dog/large.png", 9, (9, 8))
    with pytest.raises(ConfigError, match="9x8") as caught:
        folder.read(pets, image_size=None, progress=Silent())
    assert "--image-size" in caught.value.hint


def test_other_files_hidden_files_and_deeper_folders(pets):
    (pets / "train/cat/notes.txt").write_text("no picture")
    (pets / "train/.cache").mkdir()
    picture(pets / "train/cat/.hidden.png", 99)
    picture(pets / "train/cat/more/z.png", 8)
    found = folder.read(pets, image_size=None, progress=Silent())
    assert found["train"].class_names == ("cat", "dog")
    assert greys(found["train"]) == [1, 2, 8, 3]


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_missing_split_is_named(pets, split):
    (pets / split).rename(pets / "elsewhere")
    with pytest.raises(InputError, match=f"pets has no {split} folder"):
        folder.read(pets, image_size=None, progress=Silent())


@pytest.mark.parametrize("split", ["test", "val"])
def test_splits_with_other_classes_are_refused(pets, split):
    picture(pets / split / "cat/x.png", 1)
    picture(pets / split / "dog/x.png", 1)
    picture(pets / split / "emu/x.png", 1)
    with pytest.raises(InputError, match="differ from train: it has emu besides"):
        folder.read(pets, image_size=None, progress=Silent())


def test_a_split_that_lacks_a_class_is_refused(pets):
    picture(pets / "train/emu/x.png", 1)
    with pytest.raises(InputError, match="test folder differ from train: it lacks emu"):
        folder.read(pets, image_size=None, progress=Silent())


@pytest.mark.parametrize("empty", [False, True])
def test_a_benchmark_keeps_the_classes_that_its_pictures_lack(pets, empty):
    picture(pets / "train/bee/x.png", 1)
    if empty:
        (pets / "test/bee").mkdir()
    found = folder.read_test(pets, image_size=None, progress=Silent())
    assert found.class_names == ("bee", "cat", "dog")
    assert found.known_labels.tolist() == [1, 2]
    if empty:
        alone = folder.read_test(pets / "test", image_size=None, progress=Silent())
        assert alone.class_names == ("bee", "cat", "dog")


def test_a_benchmark_refuses_classes_that_train_does_not_know(pets):
    picture(pets / "test/emu/x.png", 1)
    with pytest.raises(InputError, match="it has emu besides"):
        folder.read_test(pets, image_size=None, progress=Silent())


def test_a_benchmark_refuses_classes_without_any_picture(pets):
    for path in pets.glob("test/*/*"):
        path.unlink()
    with pytest.raises(InputError, match="test holds no pictures"):
        folder.read_test(pets, image_size=None, progress=Silent())


def test_a_class_without_pictures_is_named(pets):
    (pets / "train/emu").mkdir()
    with pytest.raises(InputError, match="emu holds no pictures") as caught:
        folder.read(pets, image_size=None, progress=Silent())
    assert ".png" in caught.value.hint


def cut(path: Path) -> None:
    """Leave half of a picture too large to fit one read."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:6000])


@pytest.mark.parametrize(
    "damage",
    [lambda path: path.write_bytes(b""), lambda path: path.write_bytes(b"no picture"), cut],
    ids=["empty", "text", "cut"],
)
@pytest.mark.parametrize("image_size", [8, None])
def test_an_unreadable_picture_is_named(damage, image_size, tmp_path):
    path = picture(tmp_path / "broken.png", 1)
    damage(path)
    with pytest.raises(InputError, match=r"cannot read picture .*broken\.png"):
        folder.read_test(tmp_path, image_size=image_size, progress=Silent())


def outcome(path: Path) -> str:
    """What reading a picture comes to: its shape, or the message of the one error allowed."""
    try:
        return str(folder.read_pictures([path], image_size=8, progress=Silent()).shape)
    except InputError as error:
        return error.message


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp"])
def test_pictures_with_random_damage_are_read_or_named(suffix, tmp_path):
    generator = np.random.default_rng(0)
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(generator.integers(0, 256, (12, 9, 3), dtype=np.uint8)).save(path)
    content = path.read_bytes()
    for _ in range(150):
        damaged = bytearray(content)
        for place in generator.integers(0, len(content), 4):
            damaged[place] = generator.integers(256)
        path.write_bytes(damaged)
        found = outcome(path)
        assert found == "(1, 8, 8, 3)" or path.name in found


def test_a_missing_picture_is_named(tmp_path):
    with pytest.raises(InputError, match=r"gone\.png: No such file"):
        folder.read_pictures([tmp_path / "gone.png"], image_size=8, progress=Silent())


def test_only_the_test_split_is_read_for_a_benchmark(pets):
    cut(pets / "train/cat/a.png")
    found = folder.read_test(pets, image_size=8, progress=Silent())
    assert greys(found) == [4, 5]
    assert found.known_labels.tolist() == [0, 1]


def test_a_folder_of_classes_is_its_own_test_split(pets):
    found = folder.read_test(pets / "train", image_size=None, progress=Silent())
    assert found.class_names == ("cat", "dog")
    assert greys(found) == [1, 2, 3]


def test_classes_and_size_are_those_of_a_benchmark(pets):
    picture(pets / "train/bee/x.png", 1)
    flat = picture(pets / "flat/a.png", 1, (12, 9)).parent
    for place, classes, size in (
        (pets, ("bee", "cat", "dog"), 8),
        (pets / "test", ("cat", "dog"), 8),
        (flat, (), 9),
    ):
        read = folder.read_test(place, image_size=None, progress=Silent())
        assert folder.read_classes(place) == read.class_names == classes
        assert folder.read_size(place) == read.image_size == size


def test_classes_are_told_without_opening_a_picture(pets):
    picture(pets / "test/cat/large.png", 9, (9, 8))
    with pytest.raises(ConfigError, match="pictures differ in size"):
        folder.read_size(pets)
    for path in pets.glob("test/*/*"):
        path.write_bytes(b"")
    assert folder.read_classes(pets) == ("cat", "dog")
    with pytest.raises(InputError, match="cannot read picture"):
        folder.read_size(pets)


def test_a_size_is_told_without_reading_a_picture_to_its_end(tmp_path):
    cut(picture(tmp_path / "a/x.png", 1))
    assert folder.read_size(tmp_path) == 64
    with pytest.raises(InputError, match="cannot read picture"):
        folder.read_test(tmp_path, image_size=None, progress=Silent())


def test_a_folder_of_splits_without_test_is_no_folder_of_classes(pets):
    (pets / "test").rename(pets / "val")
    for read in (folder.read_classes, folder.read_size):
        with pytest.raises(InputError, match=r"pets has no test folder, only train, val$"):
            read(pets)
    picture(pets / "bus/a.png", 1)
    assert folder.read_classes(pets) == ("bus", "train", "val")


def test_pictures_lying_flat_have_no_labels(tmp_path):
    picture(tmp_path / "b.png", 2)
    picture(tmp_path / "a.jpg", 1)
    found = folder.read_test(tmp_path, image_size=None, progress=Silent())
    assert found.labels is None
    assert found.class_names == ()
    assert found.count == 2
    assert greys(found)[1] == 2


def test_a_folder_called_train_among_others_is_one_of_them(tmp_path):
    for name in ("bus", "train"):
        picture(tmp_path / "vehicles" / name / "a.png", 1)
    found = folder.read_unlabelled(tmp_path / "vehicles", image_size=8, progress=Silent())
    assert found.count == 2
    picture(tmp_path / "loose/train/a.png", 1)
    picture(tmp_path / "loose/b.png", 2)
    found = folder.read_unlabelled(tmp_path / "loose", image_size=8, progress=Silent())
    assert found.count == 2


def test_pictures_without_labels_lie_anywhere_or_in_train(pets, tmp_path):
    found = folder.read_unlabelled(pets, image_size=4, progress=Silent())
    assert (found.labels, found.class_names, found.image_size) == (None, (), 4)
    assert found.count == folder.read(pets, image_size=8, progress=Silent())["train"].count
    picture(tmp_path / "wild/deep/down/a.png", 1, (20, 10))
    picture(tmp_path / "wild/b.png", 2)
    wild = folder.read_unlabelled(tmp_path / "wild", image_size=8, progress=Silent())
    assert greys(wild) == [2, 1]
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="holds no pictures"):
        folder.read_unlabelled(tmp_path / "none", image_size=8, progress=Silent())


def test_a_folder_without_any_picture_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no pictures"):
        folder.read_test(tmp_path, image_size=None, progress=Silent())


def test_pictures_that_do_not_fit_into_memory_are_refused_before_one_is_read(pets, monkeypatch):
    """Five pictures of 8 x 8 x 3 bytes: 960; the three to train on would fit."""
    cut(pets / "train/cat/a.png")
    monkeypatch.setattr(environment, "available_memory", lambda: 959)
    with pytest.raises(MachineError, match=r"the 5 pictures of .*pets take"):
        folder.read(pets, image_size=8, progress=Silent())
    monkeypatch.setattr(environment, "available_memory", lambda: 383)
    with pytest.raises(MachineError, match="2 pictures take") as caught:
        folder.read_test(pets, image_size=8, progress=Silent())
    assert "--image-size" in caught.value.hint
    monkeypatch.setattr(environment, "available_memory", lambda: 384)
    assert folder.read_test(pets, image_size=8, progress=Silent()).count == 2


def test_hidden_folders_are_no_part_of_a_class(pets):
    picture(pets / "train/cat/.ipynb_checkpoints/a-checkpoint.png", 9)
    assert greys(folder.read(pets, image_size=None, progress=Silent())["train"]) == [1, 2, 3]


def test_pictures_without_class_folders_are_told_where_they_belong(tmp_path):
    for split in ("train", "test"):
        picture(tmp_path / split / "a.png", 1)
    with pytest.raises(InputError, match="lie in no class folder") as caught:
        folder.read(tmp_path, image_size=None, progress=Silent())
    assert "<class>" in caught.value.hint


def test_a_class_name_that_no_table_can_hold_is_refused(pets):
    (pets / "train/cat").rename(os.fsdecode(os.fsencode(pets / "train") + b"/caf\xe9"))
    with pytest.raises(InputError, match=r"caf\\xe9 is not UTF-8"):
        folder.read(pets, image_size=None, progress=Silent())


def test_a_stray_picture_does_not_hide_the_class_folders(tmp_path):
    picture(tmp_path / "cat/a.png", 1)
    picture(tmp_path / "dog/b.png", 2)
    picture(tmp_path / "thumb.png", 3)
    found = folder.read_test(tmp_path, image_size=None, progress=Silent())
    assert (found.class_names, greys(found)) == (("cat", "dog"), [1, 2])
