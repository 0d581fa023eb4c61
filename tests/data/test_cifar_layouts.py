"""What CIFAR's files are called and their digests, against torchvision's where it has them."""

import pytest
from torchvision import datasets

from compress.data.cifar_layouts import CIFAR10, CIFAR100


@pytest.mark.parametrize(
    ("layout", "theirs"), [(CIFAR10[1], datasets.CIFAR10), (CIFAR100[1], datasets.CIFAR100)]
)
def test_the_python_layout_is_the_one_torchvision_reads(layout, theirs):
    assert layout.folder == theirs.base_folder
    assert layout.archive.name == theirs.filename
    assert layout.archive.checksum.hex == theirs.tgz_md5
    assert [(f.name, f.checksum.hex) for f in layout.train] == [tuple(f) for f in theirs.train_list]
    assert [(f.name, f.checksum.hex) for f in layout.test] == [tuple(f) for f in theirs.test_list]


@pytest.mark.parametrize(("layouts", "classes"), [(CIFAR10, 10), (CIFAR100, 100)])
def test_every_layout_has_all_images_and_classes(layouts, classes):
    for layout in layouts:
        assert sum(file.rows for file in layout.train) == 50_000
        assert sum(file.rows for file in layout.test) == 10_000
        assert len(set(layout.class_names)) == classes
        assert list(layout.class_names) == sorted(layout.class_names)


def test_archives_name_the_files_inside_their_folder():
    assert CIFAR100[0].archive.members == (
        "cifar-100-binary/train.bin",
        "cifar-100-binary/test.bin",
    )


@pytest.mark.data
def test_the_official_name_files_hold_the_same_classes(cifar_dir):
    for layout, file in ((CIFAR10[0], "batches.meta.txt"), (CIFAR100[0], "fine_label_names.txt")):
        names = (cifar_dir / layout.folder / file).read_text().split()
        assert tuple(names) == layout.class_names
