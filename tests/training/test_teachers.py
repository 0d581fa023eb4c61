"""Teachers: what they answer, in which format, and what is refused."""

import gc
import json
import threading
import weakref
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from compress import evaluate
from compress.config.specs import Augmentation, Scalar
from compress.errors import ConfigError, MachineError
from compress.models import cost, weights
from compress.models.folding import fold_batchnorm
from compress.training import teachers
from compress.training.formats import Format
from compress.training.inputs import Normalize, TrainingImages, as_tensor
from compress.training.members import network_of, read_member
from compress.training.teachers import Teacher, Trust
from tests.tiny_training import CPU, SHIFTS, digits, hungry, schedule, teacher

BF16 = Format(dtype="bfloat16")


def by_hand(path: Path, images: Tensor) -> NDArray[np.float32]:
    """Logits of a weights file, through the network as it was trained, one image at a time."""
    read = weights.load(path, {})
    model = weights.instantiate(read, digits().class_names)
    normalize = Normalize(
        digits().mean, digits().std, device=CPU, memory_format=torch.contiguous_format
    )
    with torch.no_grad():
        return torch.cat([model(normalize(image[None])) for image in images]).numpy()


def answers(asked: teachers.Teacher, augmentation: Augmentation = SHIFTS) -> NDArray[np.float32]:
    view = schedule(Path(), augmentation=augmentation).view(digits(), 1)
    return asked.answer(TrainingImages(digits().train, device=CPU), view, lambda _: None)


def augmented(augmentation: Augmentation = SHIFTS) -> Tensor:
    view = schedule(Path(), augmentation=augmentation).view(digits(), 1)
    images = TrainingImages(digits().train, device=CPU)
    return images.rows(view, torch.arange(images.count))


@pytest.mark.parametrize("augmentation", [SHIFTS, Augmentation(mixup=1.0)])
def test_a_view_is_answered_image_by_image(tmp_path: Path, augmentation: Augmentation) -> None:
    logits = answers(teacher(tmp_path), augmentation)
    expected = by_hand(tmp_path / "teacher-0.safetensors", augmented(augmentation))
    assert logits.shape == (150, 10)
    assert np.allclose(logits, expected, atol=1e-4)


def test_the_batch_size_is_no_part_of_an_answer(tmp_path: Path) -> None:
    one, other = (answers(teacher(tmp_path, batch_size=size)) for size in (7, 64))
    assert np.allclose(one, other, atol=1e-5)


def test_an_ensemble_answers_with_the_log_of_its_mean_softmax(tmp_path: Path) -> None:
    logits = answers(teacher(tmp_path, seeds=(0, 1, 2)))
    files = [tmp_path / f"teacher-{seed}.safetensors" for seed in (0, 1, 2)]
    each = [by_hand(path, augmented()).astype(np.float64) for path in files]
    softmax = [np.exp(z) / np.exp(z).sum(axis=1, keepdims=True) for z in each]
    assert np.allclose(logits, np.log(np.mean(softmax, axis=0)), atol=1e-4)


def test_an_ensemble_holds_one_network_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = teacher(tmp_path, seeds=(0, 1, 2))
    alive: list[int] = []
    networks: list[weakref.ref[nn.Module]] = []

    def counted(module: nn.Module) -> nn.Module:
        gc.collect()
        alive.append(sum(one() is not None for one in networks))
        folded = fold_batchnorm(module)
        networks.append(weakref.ref(folded))
        return folded

    monkeypatch.setattr(teachers, "fold_batchnorm", counted)
    answers(asked)
    assert alive == [0, 0, 0]


def test_too_little_memory_splits_the_batch_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = teacher(tmp_path)
    expected = answers(asked)
    monkeypatch.setattr(nn.Conv2d, "forward", hungry(lambda images: len(images) > 20))
    assert np.allclose(answers(asked), expected, atol=1e-5)


def test_the_teacher_counts_every_image_and_its_time(tmp_path: Path) -> None:
    asked, done = teacher(tmp_path, batch_size=40), []
    view = schedule(Path()).view(digits(), 0)
    asked.answer(TrainingImages(digits().train, device=CPU), view, done.append)
    assert done == [40, 40, 40, 30]
    assert asked.seconds > 0


def test_evaluation_is_in_float32_whatever_the_format(tmp_path: Path) -> None:
    asked = teacher(tmp_path)
    asked.trust = Trust(BF16)
    validation, test = asked.evaluation()
    for logits, split in ((validation, digits().validation), (test, digits().test)):
        expected = by_hand(tmp_path / "teacher-0.safetensors", as_tensor(split, CPU))
        assert np.allclose(logits, expected, atol=1e-4)


def test_a_lower_format_is_measured_against_float32(tmp_path: Path) -> None:
    asked = teacher(tmp_path)
    pixels = as_tensor(digits().validation, CPU)
    exact = by_hand(tmp_path / "teacher-0.safetensors", pixels)
    model = network_of(asked.members[0], digits())
    rounded = model.to(torch.bfloat16)
    normalize = Normalize(
        digits().mean, digits().std, device=CPU, memory_format=torch.channels_last
    )
    with torch.no_grad():
        low = rounded(normalize(pixels).bfloat16()).float().numpy()
    trust = asked.compare(BF16)
    agreement = (exact.argmax(1) == low.argmax(1)).mean()
    error = np.abs(evaluate.softmax(exact) - evaluate.softmax(low)).mean()
    if trust.format == BF16:
        assert trust.agreement >= 0.995
        assert trust.probability_error == pytest.approx(error, rel=0.5)
    else:
        assert agreement < 1.0
        assert "bfloat16 agrees with float32 on" in trust.refused


@pytest.mark.parametrize(("agreement", "used"), [(0.995, "bfloat16"), (0.9949, "float32")])
def test_a_lower_format_must_give_the_float32_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, agreement: float, used: str
) -> None:
    monkeypatch.setattr(evaluate, "agreement", lambda *_: agreement)
    trust = teacher(tmp_path).compare(BF16)
    assert trust.format.dtype == used
    assert bool(trust.refused) is (used == "float32")


def test_a_format_is_tried_and_compared_once_per_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = teacher(tmp_path)
    monkeypatch.setattr(teachers, "fastest", lambda *_, **__: (BF16, {}))
    compared: list[Format] = []
    believed = Trust(BF16, 0.999, 0.001)

    def compare(_: teachers.Teacher, choice: Format) -> Trust:
        compared.append(choice)
        return believed

    monkeypatch.setattr(teachers.Teacher, "compare", compare)
    cache = tmp_path / "cache"
    assert asked.choose_format(cache, "auto") == believed
    monkeypatch.setattr(teachers, "fastest", lambda *_, **__: pytest.fail("tried again"))
    assert asked.choose_format(cache, "auto") == believed
    assert compared == [BF16]


def test_a_trial_short_of_memory_splits_its_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, sizes = teacher(tmp_path, batch_size=60), []

    def too_much(images: Tensor) -> bool:
        sizes.append(len(images))
        return len(images) > 20

    monkeypatch.setattr(nn.Conv2d, "forward", hungry(too_much))
    assert asked.fastest_format(tmp_path / "cache", "auto").dtype in ("float32", "bfloat16")
    assert {60, 30, 15} <= set(sizes)


def test_a_teacher_whose_weights_do_not_fit_is_a_machine_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> nn.Module:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB\nmore")

    monkeypatch.setattr(teachers, "placed", refuse)
    with pytest.raises(MachineError) as caught:
        teacher(tmp_path).fastest_format(tmp_path / "cache", "auto")
    assert caught.value.message == (
        "teacher small_cnn is out of memory: CUDA out of memory. Tried to allocate 9 GiB"
    )
    assert not (tmp_path / "cache").exists()


def test_trust_survives_as_json(tmp_path: Path) -> None:
    trust = Trust(BF16, 0.999, 0.001, "")
    assert Trust.from_state(json.loads(json.dumps(asdict(trust)))) == trust
    assert str(Trust(Format(), refused="too far")) == "NHWC, float32 (too far)"


def test_the_key_names_weights_format_and_data(tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    keys = {
        "one": teacher(tmp_path).key(),
        "other weights": teacher(tmp_path, seeds=(1,)).key(),
        "ensemble": teacher(tmp_path, seeds=(0, 1)).key(),
        "other data": teacher(tmp_path, splits=digits(140)).key(),
    }
    low = teacher(tmp_path)
    low.trust = Trust(BF16)
    keys["other format"] = low.key()
    assert len(set(keys.values())) == len(keys)
    assert teacher(tmp_path / "copy", batch_size=3).key() == keys["one"]
    assert keys["one"].startswith("small_cnn-")
    assert keys["ensemble"].startswith("ensemble-of-2-")


def test_two_networks_in_one_file_have_answers_of_their_own(tmp_path: Path) -> None:
    """As where a checkpoint holds the weights and their moving average."""
    path, splits, keys = tmp_path / "both.pt", digits(), {}
    state = network_of(teacher(tmp_path).members[0], splits).state_dict()
    torch.save({"model": state, "model_ema": {k: v + 1 for k, v in state.items()}}, path)
    for entry in ("model", "model_ema"):
        options: dict[str, Scalar] = {"model": "small_cnn", "width": 0.25, "entry": entry}
        options |= {"normalization": "cifar10"}
        member = read_member(path, options, splits, source=entry, foreign=True)
        keys[entry] = Teacher([member], splits, device=CPU, batch_size=8).key()
    assert len(set(keys.values())) == 2


def test_it_describes_itself(tmp_path: Path) -> None:
    asked = teacher(tmp_path, seeds=(0, 1))
    validation, test = asked.evaluation()
    described = asked.describe(validation, test)
    model = network_of(asked.members[0], digits())
    assert described.name == "ensemble of 2"
    assert described.parameters == 2 * cost.parameters(model)
    assert described.macs == 2 * cost.macs(model, 8)
    assert described.size_bytes == 8 * cost.parameters(model)
    assert described.top1 == (test.argmax(1) == digits().test.known_labels).mean()
    assert described.val_top1 == (validation.argmax(1) == digits().validation.known_labels).mean()
    assert described.splits_sha256 == digits().sha256
    assert described.weights_sha256 == tuple(m.sha256 for m in asked.members)
    assert (described.number_format, described.format_agreement) == ("float32", 1.0)


def test_a_live_teacher_is_frozen_and_evaluating(tmp_path: Path) -> None:
    network, normalize = teacher(tmp_path).live()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    logits = network(normalize(augmented()[:8]))
    assert not logits.requires_grad
    assert not any(module.training for module in network.modules())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_an_ensemble_has_no_features(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="one teacher, not an ensemble"):
        teacher(tmp_path, seeds=(0, 1)).live()


def test_a_teacher_that_cannot_be_put_on_the_device_is_a_machine_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> NoReturn:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")

    asked = teacher(tmp_path)
    monkeypatch.setattr(teachers, "placed", full)
    for ask in (asked.live, asked.evaluation):
        with pytest.raises(MachineError, match="teacher small_cnn is out of memory") as caught:
            ask()
        assert "smaller --teacher" in caught.value.hint


@pytest.mark.parametrize(
    ("place", "asked", "expected"), [("cpu", 64, 64), ("cuda", 64, 512), ("cuda", 1024, 1024)]
)
def test_on_a_gpu_small_batches_of_students_are_answered_together(
    tmp_path: Path, place: str, asked: int, expected: int
) -> None:
    found = teacher(tmp_path, device=torch.device(place), batch_size=asked)
    assert found.batch_size == expected


def test_a_trial_has_as_many_images_as_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there are fewer to choose on: 60 here."""
    sizes: list[int] = []

    def seen(images: Tensor) -> bool:
        sizes.append(len(images))
        return False

    asked = teacher(tmp_path, batch_size=100)
    monkeypatch.setattr(nn.Conv2d, "forward", hungry(seen))
    asked.fastest_format(tmp_path / "cache", "auto")
    assert set(sizes) == {100}


def test_a_format_is_compared_on_images_of_the_whole_validation_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder's images are in the order of their classes."""
    asked, compared = teacher(tmp_path), list[Tensor]()

    def answered(_: Teacher, pixels: Tensor, __: Format) -> NDArray[np.float32]:
        compared.append(pixels)
        return np.eye(len(pixels), 10, dtype=np.float32)

    monkeypatch.setattr(teachers, "AGREEMENT_IMAGES", 5)
    monkeypatch.setattr(teachers.Teacher, "_answers", answered)
    asked.compare(BF16)
    images = as_tensor(digits().validation, CPU)
    last = len(images) - 1
    rows = [0, round(last / 4), round(last / 2), round(3 * last / 4), last]
    assert [len(pixels) for pixels in compared] == [5, 5]
    assert torch.equal(compared[0], images[rows])


def test_a_trial_of_other_candidates_is_another_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a newer version may have them."""
    asked, cache, tried = teacher(tmp_path), tmp_path / "cache", list[int]()

    def fastest(candidates: list[Format], *_: object, **__: object) -> tuple[Format, object]:
        tried.append(len(candidates))
        return candidates[0], {}

    monkeypatch.setattr(teachers, "fastest", fastest)
    for candidates in ([Format()], [Format()], [Format(), BF16]):
        monkeypatch.setattr(teachers, "teacher_candidates", lambda *_, found=candidates: found)
        asked.fastest_format(cache, "auto")
    assert tried == [1, 2]


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_prepare_the_images_of_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    asked, threads = teacher(tmp_path, seeds=(0, 1), batch_size=40), set[str]()
    view = schedule(Path(), augmentation=SHIFTS).view(digits(), 1)
    images = TrainingImages(digits().train, device=CPU, workers=workers)
    rows = TrainingImages.rows

    def watched(self: TrainingImages, *arguments: Any) -> Tensor:
        threads.add(threading.current_thread().name)
        return rows(self, *arguments)

    before = answers(asked)
    monkeypatch.setattr(TrainingImages, "rows", watched)
    done: list[int] = []
    assert np.array_equal(asked.answer(images, view, done.append), before)
    assert done == 2 * [40, 40, 40, 30]
    assert threads
    assert "MainThread" not in threads
