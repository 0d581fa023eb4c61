"""Data sets by name or folder."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from compress.data import registry
from compress.data.images import split_validation
from compress.errors import ConfigError, InputError
from tests.notes import Notes


def test_names_are_known():
    assert registry.names() == ("cifar10", "cifar100", "digits")


def test_digits_are_split_and_measured():
    splits = registry.load("digits", validation_fraction=0.1, split_seed=5)
    assert (splits.train.count, splits.validation.count, splits.test.count) == (1293, 144, 360)
    assert splits.name == "digits"
    assert splits.split_seed == 5
    assert splits.mean == splits.train.channel_statistics()[0]


def test_loading_twice_gives_the_same_bytes_and_another_seed_others():
    first, second = registry.load("digits"), registry.load("digits")
    other = registry.load("digits", split_seed=1)
    assert first.sha256 == second.sha256
    assert first.train.sha256 != other.train.sha256
    assert first.test.sha256 == other.test.sha256


def test_every_split_is_resized_and_the_choice_of_images_stays():
    small, large = registry.load("digits"), registry.load("digits", image_size=16)
    assert {s.image_size for s in (large.train, large.validation, large.test)} == {16}
    np.testing.assert_array_equal(small.validation.known_labels, large.validation.known_labels)
    shrunk = np.asarray(
        Image.fromarray(large.validation.images[:1][0]).resize((8, 8), Image.Resampling.BOX)
    )
    assert abs(shrunk.astype(int) - small.validation.images[:1][0]).mean() < 25


def test_load_test_is_the_test_split_of_load():
    assert registry.load_test("digits", image_size=12).sha256 == (
        registry.load("digits", image_size=12).test.sha256
    )


@pytest.fixture
def pets(tmp_path):
    """Ten pictures of each of two greys to train on, and two to test on."""
    for split, count in (("train", 10), ("test", 2)):
        for name, grey in (("dark", 10), ("light", 200)):
            place = tmp_path / "pets" / split / name
            place.mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (8, 8), (grey + number,) * 3).save(place / f"{number}.png")
    return tmp_path / "pets"


def test_a_folder_is_a_data_set(pets):
    splits = registry.load(str(pets), validation_fraction=0.2, split_seed=3)
    assert splits.name == "pets"
    assert splits.class_names == ("dark", "light")
    _, held = split_validation(np.repeat([0, 1], 10), 0.2, 3)
    expected = [(10 if row < 10 else 200) + row % 10 for row in held]
    assert splits.validation.images[:][:, 0, 0, 0].tolist() == expected
    assert registry.load_test(str(pets)).sha256 == splits.test.sha256


def test_classes_and_size_of_the_test_images_are_told_alone(pets):
    assert registry.load_classes(str(pets)) == ("dark", "light")
    assert registry.load_size(str(pets)) == 8
    assert registry.load_classes("digits") == tuple("0123456789")
    assert registry.load_size("digits") == 8


def test_the_data_of_a_run_is_named_from_here(pets, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "runs" / "one"
    run.mkdir(parents=True)
    for named in ("digits", "~/pets"):
        assert registry.named_by(run, named) == named
    assert registry.named_by(run, "pets/") == str(pets)
    pets.rename(tmp_path / "digits")
    for named in ("digits/", "./digits"):
        assert registry.load(registry.named_by(run, named)).class_names == ("dark", "light")


def test_a_folder_with_validation_pictures_keeps_all_its_training_pictures(pets):
    (pets / "val").mkdir()
    for name in ("dark", "light"):
        (pets / "val" / name).mkdir()
        Image.new("RGB", (8, 8)).save(pets / "val" / name / "x.png")
    splits = registry.load(str(pets), validation_fraction=0.2)
    assert (splits.train.count, splits.validation.count) == (20, 2)


@pytest.mark.parametrize(
    "call", [registry.load, registry.load_test, registry.load_classes, registry.load_size]
)
def test_an_unknown_name_lists_the_known_ones(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="unknown data 'cifar11'") as caught:
        call("cifar11")
    assert "cifar10, cifar100, digits" in caught.value.hint


@pytest.mark.parametrize("call", [registry.load, registry.load_test])
def test_a_missing_folder_and_a_file_are_input_errors(call, tmp_path):
    with pytest.raises(InputError, match="no folder"):
        call(str(tmp_path / "gone"))
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is a file, not a folder"):
        call(str(tmp_path / "file"))


@pytest.mark.parametrize("call", [registry.load, registry.load_test])
@pytest.mark.parametrize("place", ["", "cifar-100-binary"])
def test_a_folder_of_cifars_own_files_is_told_how_to_be_named(call, place, tmp_path):
    (tmp_path / "cifar-100-binary").mkdir()
    with pytest.raises(ConfigError, match="holds the files of cifar100") as caught:
        call(str(tmp_path / place))
    assert caught.value.hint == f"use --data cifar100 --data-dir {tmp_path / place}"


def test_more_images_come_without_labels_at_the_size_of_the_data(pets):
    splits = registry.load("digits")
    notes = Notes()
    found = registry.with_unlabelled(splits, str(pets), progress=notes)
    assert (found.sha256, found.train) == (splits.sha256, splits.train)
    assert (found.unlabelled.count, found.unlabelled.labels) == (20, None)
    assert found.unlabelled.image_size == splits.image_size
    assert notes.text == f"unlabelled images of {pets}: 20"
    named = registry.with_unlabelled(registry.load(str(pets), image_size=12), "digits")
    assert (named.unlabelled.count, named.unlabelled.image_size) == (1437, 12)


def test_cifars_own_files_are_told_by_the_option_that_named_them(pets, tmp_path):
    (tmp_path / "cifar-100-binary").mkdir()
    for call in (
        lambda place: registry.check(place, "--unlabelled"),
        lambda place: registry.with_unlabelled(registry.load(str(pets)), place),
    ):
        with pytest.raises(ConfigError) as caught:
            call(str(tmp_path))
        assert caught.value.hint == f"use --unlabelled cifar100 --data-dir {tmp_path}"


def test_data_that_are_not_here_are_not_downloaded_unasked(tmp_path):
    for call in (registry.load, registry.load_test):
        with pytest.raises(InputError, match="cifar10 is in none of"):
            call("cifar10", data_dir=tmp_path)


@pytest.mark.parametrize("call", [registry.load, registry.load_test])
def test_a_home_that_nobody_has_is_no_folder(call):
    with pytest.raises(InputError, match="there is no folder ~pictures"):
        call("~pictures")


@pytest.mark.parametrize("call", [registry.load, registry.load_test])
def test_a_data_dir_that_does_not_exist_is_refused(call, tmp_path):
    with pytest.raises(InputError, match=r"there is no folder .*gone") as caught:
        call("digits", data_dir=tmp_path / "gone")
    assert "--data-dir" in caught.value.hint


def test_a_data_dir_of_long_ago_may_be_gone(tmp_path):
    assert registry.still_there(str(tmp_path)) == tmp_path
    assert registry.still_there(str(tmp_path / "gone")) is None
    assert registry.still_there(None) is None


def test_a_folder_is_remembered_by_its_test_pictures(pets, tmp_path, monkeypatch):
    sha256 = registry.load_test(str(pets)).sha256
    assert registry.place_of("pets", is_folder=True, test_sha256=sha256) is None
    monkeypatch.chdir(tmp_path)
    assert registry.place_of("pets", is_folder=True, test_sha256=sha256) == "./pets"
    registry.load("pets")
    monkeypatch.chdir("/")
    assert registry.place_of("pets", is_folder=True, test_sha256=sha256) == str(pets)
    assert registry.place_of("pets", is_folder=None, test_sha256=sha256) == str(pets)
    assert registry.place_of("pets", is_folder=True, test_sha256="0" * 64) is None


def test_a_name_is_a_name_unless_it_was_a_folders(pets):
    for is_folder, expected in ((None, "digits"), (False, "digits"), (True, None)):
        assert registry.place_of("digits", is_folder=is_folder, test_sha256=None) == expected
    assert registry.is_named("digits")
    assert not registry.is_named("./digits")


def test_reading_pictures_needs_neither_torch_nor_scikit_learn(pets):
    code = (
        "import sys\n"
        "for name in ('torch', 'sklearn', 'onnx', 'scipy'): sys.modules[name] = None\n"
        "from compress.data import registry, cifar\n"
        f"print(registry.load_test({str(pets)!r}).count)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "4\n"
