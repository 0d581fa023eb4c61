"""What the official files of CIFAR are called, how long they are, and their published digests."""

from dataclasses import dataclass

from compress.data.downloads import Algorithm, Archive, Checksum

SIDE = 32
HOME = "https://www.cs.toronto.edu/~kriz/"


@dataclass(frozen=True)
class SourceFile:
    """One file of images.

    Attributes:
        name: Its name inside the folder.
        rows: How many images it holds.
        checksum: The digest of the official file.
    """

    name: str
    rows: int
    checksum: Checksum


@dataclass(frozen=True)
class Layout:
    """One of the ways a data set is published.

    Attributes:
        dataset: The data set's name here: "cifar10".
        folder: What the archive unpacks to.
        archive_url: Where it is published.
        archive_checksum: The published digest of the archive.
        train: Files of the training images, in order.
        test: Files of the test images.
        class_names: One name per class.
        label_bytes: Bytes before the pixels of a binary row; the last of them is the class.
        label_key: Where a pickled batch holds the classes.
        pickled: Whether the files are Python pickles.
    """

    dataset: str
    folder: str
    archive_url: str
    archive_checksum: Checksum
    train: tuple[SourceFile, ...]
    test: tuple[SourceFile, ...]
    class_names: tuple[str, ...]
    label_bytes: int
    label_key: str
    pickled: bool

    @property
    def archive(self) -> Archive:
        """The published archive and the files of it that are read."""
        members = tuple(f"{self.folder}/{file.name}" for file in (*self.train, *self.test))
        return Archive(self.archive_url, self.archive_checksum, members)


_CIFAR10_NAMES = "airplane automobile bird cat deer dog frog horse ship truck"
_CIFAR100_NAMES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus
butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch
crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house
kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree
plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark
shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table
tank telephone television tiger tractor train trout tulip turtle wardrobe whale
willow_tree wolf woman worm
"""


# The binary layout comes first: it is the one that is downloaded, because nothing of it has to be
# unpickled. Digests of the binary files: ankane/torchvision-ruby, lib/torchvision/datasets/; of
# the python files: pytorch/vision, torchvision/datasets/cifar.py.
_BATCHES_BIN = {
    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
}

_BATCHES_PY = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
}


def _file(name: str, rows: int, algorithm: Algorithm, digest: str) -> SourceFile:
    return SourceFile(name, rows, Checksum(algorithm, digest))


CIFAR10 = (
    Layout(
        dataset="cifar10",
        folder="cifar-10-batches-bin",
        archive_url=HOME + "cifar-10-binary.tar.gz",
        archive_checksum=Checksum(
            "sha256", "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
        ),
        train=tuple(_file(name, 10_000, "sha256", digest) for name, digest in _BATCHES_BIN.items()),
        test=(
            _file(
                "test_batch.bin",
                10_000,
                "sha256",
                "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
            ),
        ),
        class_names=tuple(_CIFAR10_NAMES.split()),
        label_bytes=1,
        label_key="labels",
        pickled=False,
    ),
    Layout(
        dataset="cifar10",
        folder="cifar-10-batches-py",
        archive_url=HOME + "cifar-10-python.tar.gz",
        archive_checksum=Checksum("md5", "c58f30108f718f92721af3b95e74349a"),
        train=tuple(_file(name, 10_000, "md5", digest) for name, digest in _BATCHES_PY.items()),
        test=(_file("test_batch", 10_000, "md5", "40351d587109b95175f43aff81a1287e"),),
        class_names=tuple(_CIFAR10_NAMES.split()),
        label_bytes=1,
        label_key="labels",
        pickled=True,
    ),
)
CIFAR100 = (
    Layout(
        dataset="cifar100",
        folder="cifar-100-binary",
        archive_url=HOME + "cifar-100-binary.tar.gz",
        archive_checksum=Checksum(
            "sha256", "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec"
        ),
        train=(
            _file(
                "train.bin",
                50_000,
                "sha256",
                "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29",
            ),
        ),
        test=(
            _file(
                "test.bin",
                10_000,
                "sha256",
                "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a",
            ),
        ),
        class_names=tuple(_CIFAR100_NAMES.split()),
        label_bytes=2,
        label_key="fine_labels",
        pickled=False,
    ),
    Layout(
        dataset="cifar100",
        folder="cifar-100-python",
        archive_url=HOME + "cifar-100-python.tar.gz",
        archive_checksum=Checksum("md5", "eb9058c3a382ffc7106e4002c42a8d85"),
        train=(_file("train", 50_000, "md5", "16019d7e3df5f24257cddd939b257f8d"),),
        test=(_file("test", 10_000, "md5", "f0ef6b0ae62326f3e7ffdfab6717acfc"),),
        class_names=tuple(_CIFAR100_NAMES.split()),
        label_bytes=2,
        label_key="fine_labels",
        pickled=True,
    ),
)
