"""What users get wrong: one line with the value, what to do, an exit code, and nothing lost."""

import hashlib
import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from compress.runs import Run
from compress.training import state as checkpoints
from tests.conftest import Finished, RunCli
from tests.trained_run import exported_workspace

QUICK = ("--image-size", "8", "--epochs", "1", "--student", "small_cnn", "--no-control")
FOREIGN = "model=small_cnn,normalization=none"


@pytest.fixture
def here(workspace: Path) -> Path:
    """A working directory with a run, its teacher and its export, free to be spoilt."""
    shutil.copytree(exported_workspace(), workspace, dirs_exist_ok=True)
    return workspace


def _content(folder: Path) -> dict[str, str]:
    """Every file of a folder by its sha256; locks are no results."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "lock"
    }


def _refused(finished: Finished, code: int, *said: str) -> None:
    """It ended with a code, and said on stderr what it had to."""
    assert finished.code == code, finished.stderr
    assert "Traceback" not in finished.stderr
    for text in said:
        assert text in finished.stderr, finished.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "--model", "vgg"], ["unknown model 'vgg'", "resnet50", "small_cnn"]),
        (["train", "--model", "small_cnn:depth=3"], ["depth", "small_cnn"]),
        (["distill", "--student", "vgg"], ["unknown model 'vgg'", "resnet50", "small_cnn"]),
        (["distill", "--loss", "kl"], ["unknown loss 'kl'", "dkd", "rkd"]),
        (["distill", "--loss", "kd:heat=4"], ["heat", "temperature"]),
        (["distill", "--data", "imagenet"], ["imagenet", "cifar10", "digits"]),
        (["distill", "--recipe", "none"], ["unknown recipe 'none'", "digits"]),
        (["distill", "--sweep", "beta=1,2"], ["unknown sweep key 'beta'", "alpha"]),
        (["distill", "--sweep", "alpha=,"], ["--sweep alpha", "empty entry"]),
        (["distill", "--sweep", "alpha=0.5,"], ["--sweep alpha", "empty entry"]),
        (["distill", "--sweep", "loss=kd;;dkd"], ["--sweep loss", "empty entry"]),
        (
            ["distill", "--sweep", "learning-rate=0.1", "--sweep", "learning_rate=0.2"],
            ["--sweep learning_rate is given twice"],
        ),
        (["distill", "--loss", "kd:ramp_from=0.5"], ["kd:ramp_from=0.5", "ramp_epochs"]),
        (["distill", "--epochs", "0"], ["--epochs 0"]),
        (["distill", "--epochs", "many"], ["--epochs"]),
        (["distill", "--alpha", "1.5"], ["--alpha 1.5"]),
        (["distill", "--alpha", "-0.5"], ["--alpha -0.5"]),
        (["distill", "--temperature", "0"], ["--temperature 0"]),
        (["distill", "--temperature", "nan"], ["--temperature nan"]),
        (["distill", "--batch-size", "0"], ["--batch-size 0"]),
        (["distill", "--device", "tpu"], ["--device tpu", "cuda"]),
        (["distill", "--alpha", "0.5", "--loss", "kd"], ["--loss", "--alpha"]),
        (["distill", "--student", "../x=small_cnn"], ["'../x'"]),
        (["distill", "--student", "small_cnn", "--student", "small_cnn"], ["small_cnn"]),
        (["list", "everything"], ["everything", "models", "recipes"]),
        (["gate", "exported/none"], ["--min-top1"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_does_not_exist_or_make_sense_ends_with_2(
    invoke: RunCli, workspace: Path, arguments: list[str], said: list[str]
) -> None:
    _refused(invoke(*arguments), 2, *said)
    assert list(workspace.iterdir()) == []


def test_a_batch_larger_than_the_data_ends_with_2(invoke: RunCli, here: Path) -> None:
    arguments = ("--teacher", "teacher.safetensors", "--batch-size", "5000")
    _refused(invoke("distill", *QUICK, *arguments), 2, "5000", "1293")


def test_a_batch_of_one_image_ends_with_2(invoke: RunCli, workspace: Path) -> None:
    """At 8 pixels MobileNetV2 ends with one value per channel: no variance to divide by."""
    model = ("--model", "mobilenet_v2:width=0.35", "--image-size", "8")
    finished = invoke("train", *model, "--epochs", "1", "--batch-size", "1")
    _refused(finished, 2, "--batch-size 1", "BatchNorm", "--batch-size 2 or more")


def test_a_batch_that_cannot_be_is_refused_before_a_teacher_is_trained(
    invoke: RunCli, workspace: Path
) -> None:
    finished = invoke("distill", *QUICK, "--batch-size", "1")
    _refused(finished, 2, "--batch-size 1")
    assert len(list((workspace / "runs").iterdir())) == 1


def test_an_unknown_key_of_a_recipe_lists_the_known_ones(invoke: RunCli, workspace: Path) -> None:
    (workspace / "mine.toml").write_text("[distill]\nepoch = 3\n")
    _refused(invoke("distill", "--recipe", "mine.toml"), 2, "'epoch'", "epochs")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("[train.model-settings.small_cnn]\nlearning_rte = 0.1", ["learning_rte", "learning_rate"]),
        (
            "[train.model-settings.small_cnn]\nmomentum = 2",
            ["model-settings of small_cnn: momentum 2", "less than 1"],
        ),
        (
            "[train]\nmodel-settings = 5",
            ["model-settings in recipe mine.toml", "[train.model-settings.NAME]"],
        ),
        (
            "[train.model-settings]\nsmall_cnn = 5",
            ["model-settings.small_cnn in recipe mine.toml", "[train.model-settings.small_cnn]"],
        ),
    ],
)
def test_a_wrong_setting_of_one_model_in_a_recipe_ends_with_2(
    invoke: RunCli, workspace: Path, settings: str, said: list[str]
) -> None:
    (workspace / "mine.toml").write_text(f"{settings}\n")
    finished = invoke("train", "--recipe", "mine.toml", "--model", "small_cnn")
    _refused(finished, 2, *said)
    assert not (workspace / "runs").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["distill", "--teacher", "gone.safetensors:model=small_cnn"],
        ["distill", "--recipe", "gone.toml"],
        ["distill", "--data", "./gone"],
        ["distill", "--resume", "gone"],
        ["export", "gone"],
        ["bench", "gone.onnx"],
        ["bench", "last"],
        ["gate", "gone.onnx", "--min-top1", "0.9"],
        ["gate", "gone.json", "--min-top1", "0.9"],
        ["check", "gone.onnx"],
        ["predict", "gone.onnx", "gone.png"],
        ["report", "gone"],
    ],
    ids=" ".join,
)
def test_what_is_missing_ends_with_3(invoke: RunCli, workspace: Path, arguments: list[str]) -> None:
    finished = invoke(*arguments)
    _refused(finished, 3)
    assert "gone" in finished.stderr or "exported" in finished.stderr
    assert {path.name for path in workspace.iterdir()} <= {"runs"}


def _spoil(path: Path, how: str) -> None:
    content = path.read_bytes()
    path.write_bytes(
        {"empty": b"", "truncated": content[: len(content) // 2], "text": b"not found\n"}[how]
    )


@pytest.mark.parametrize("how", ["empty", "truncated", "text"])
@pytest.mark.parametrize("kind", ["safetensors", "pt"])
def test_a_spoilt_checkpoint_ends_with_3(invoke: RunCli, here: Path, kind: str, how: str) -> None:
    path = here / f"teacher.{kind}"
    if kind == "pt":
        torch.save(nn.Linear(2, 2).state_dict(), path)
    _spoil(path, how)
    _refused(invoke("distill", *QUICK, "--teacher", f"{path.name}:{FOREIGN}"), 3, path.name)


@pytest.mark.parametrize("how", ["empty", "truncated", "text"])
@pytest.mark.parametrize("command", ["bench", "gate --max-size-kib 10", "check", "predict"])
def test_a_spoilt_model_file_ends_with_3(
    invoke: RunCli, here: Path, command: str, how: str
) -> None:
    path = next(here.glob("exported/*/small_cnn/model.onnx")).rename(here / "model.onnx")
    _spoil(path, how)
    name, *limits = command.split()
    pictures = ["picture.png"] if name == "predict" else []
    _refused(invoke(name, path.name, *pictures, *limits), 3, "model.onnx")


@pytest.mark.parametrize("how", ["empty", "truncated"])
def test_a_spoilt_cifar_file_ends_with_3(invoke: RunCli, workspace: Path, how: str) -> None:
    folder = workspace / "data" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    rows = np.zeros((100, 3073), dtype=np.uint8)
    for name in (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"):
        (folder / name).write_bytes(rows.tobytes())
    (folder / "batches.meta.txt").write_text("\n".join(map(str, range(10))) + "\n")
    _spoil(folder / "data_batch_3.bin", how)
    finished = invoke("train", "--model", "small_cnn", "--data", "cifar10", "--data-dir", "data")
    _refused(finished, 3, "data_batch_")


def test_a_whole_pickled_module_is_refused_with_the_line_to_save_instead(
    invoke: RunCli, here: Path
) -> None:
    torch.save(nn.Linear(2, 2), here / "module.pt")
    finished = invoke("distill", *QUICK, "--teacher", f"module.pt:{FOREIGN}")
    _refused(finished, 3, "module.pt", "torch.save(model.state_dict()")


class _Malicious:
    """Unpickling this would make a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("pwned",))


@pytest.mark.parametrize("form", ["torch", "pickle"])
def test_a_checkpoint_is_never_executed(invoke: RunCli, here: Path, form: str) -> None:
    if form == "torch":
        torch.save({"state_dict": _Malicious()}, here / "evil.pt")
    else:
        (here / "evil.pt").write_bytes(pickle.dumps(_Malicious()))
    finished = invoke("distill", *QUICK, "--teacher", f"evil.pt:{FOREIGN}")
    _refused(finished, 3, "evil.pt")
    assert not (here / "pwned").exists()


def test_a_teacher_of_other_classes_ends_with_3(invoke: RunCli, here: Path) -> None:
    from compress.models import registry

    network = registry.build("small_cnn", classes=7, image_size=8, options={})
    save_file(network.state_dict(), here / "seven.safetensors")
    arguments = ("--teacher", f"seven.safetensors:{FOREIGN}")
    _refused(invoke("distill", *QUICK, *arguments), 3, "7", "10")


def test_a_teacher_for_another_image_size_ends_with_3(invoke: RunCli, here: Path) -> None:
    arguments = ("--image-size", "16", "--epochs", "1", "--student", "small_cnn")
    finished = invoke("distill", *arguments, "--teacher", "teacher.safetensors")
    _refused(finished, 3, "8", "16")


def _run_of(here: Path) -> Path:
    return next(path.parent for path in here.glob("runs/*/manifest.json"))


@pytest.mark.parametrize("status", ["running", "failed", "interrupted"])
def test_an_unfinished_run_is_not_exported(invoke: RunCli, here: Path, status: str) -> None:
    manifest = _run_of(here) / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "status": status}))
    before = _content(here)
    _refused(invoke("export", _run_of(here)), 3, f"is {status}", "run its command again")
    assert _content(here) == before


def test_an_altered_weights_file_is_not_exported(invoke: RunCli, here: Path) -> None:
    weights = next(_run_of(here).glob("students/small_cnn.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00\x01")
    before = _content(here)
    _refused(invoke("export", _run_of(here)), 3, "differs from its manifest")
    assert _content(here) == before


def test_an_altered_artifact_is_not_measured(invoke: RunCli, here: Path) -> None:
    (folder,) = here.glob("exported/*")
    shutil.copy(folder / "teacher" / "model.onnx", folder / "small_cnn" / "model.onnx")
    _refused(invoke("bench", folder), 3, "model.onnx")


def test_a_second_process_in_a_run_ends_with_3(invoke: RunCli, workspace: Path) -> None:
    held = Run.open(workspace / "r", id="r", command="train", config={})
    finished = invoke("train", "--model", "small_cnn", "--image-size", "8", "--run-dir", "r")
    held.close()
    _refused(finished, 3, "another process is working in r")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_device_this_machine_lacks_ends_with_4(invoke: RunCli, workspace: Path) -> None:
    _refused(invoke("distill", "--device", "cuda"), 4, "cuda")


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--model", "small_cnn", "--run-dir", "file/run"],
        ["list", "recipes", "--json", "file/recipes.json"],
        ["export", "RUN", "--precision", "fp32", "--out", "file/out"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_place_that_cannot_be_written_ends_with_3(
    invoke: RunCli, here: Path, arguments: list[str]
) -> None:
    (here / "file").write_text("in the way")
    before = _content(here)
    words = [str(_run_of(here)) if word == "RUN" else word for word in arguments]
    _refused(invoke(*words), 3, "cannot write file/")
    assert _content(here).items() >= before.items()


TINY_DISK = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
"""
"""Run before the program: the kernel refuses files over 200 kB, as a full disk refuses all."""


def test_a_full_disk_ends_with_3_and_leaves_nothing_half_written(
    run_cli: RunCli, here: Path
) -> None:
    before = _content(here)
    arguments = ("--teacher", "teacher.safetensors", "--run-dir", "full")
    finished = run_cli("distill", *QUICK, *arguments, cwd=here, code=TINY_DISK)
    _refused(finished, 3, "cannot write full/", "free some space")
    assert _content(here).items() >= before.items()
    left = {path.name for path in (here / "full").rglob("*") if path.is_file()}
    assert not [name for name in left if name.endswith((".safetensors", ".pt", ".part", ".npz"))]
    assert json.loads((here / "full" / "manifest.json").read_text())["status"] == "failed"


def test_a_loss_that_is_not_finite_ends_with_5_and_keeps_the_last_good_checkpoint(
    run_cli: RunCli, here: Path
) -> None:
    # all goes well for an epoch, then the rate leaves what float32 can hold
    (here / "leap.toml").write_text(
        '[distill]\nschedule = "multi-step"\nmilestones = [0.5]\ngamma = 1e30\n'
    )
    arguments = ("--teacher", "teacher.safetensors", "--run-dir", "nan", "--recipe", "leap.toml")
    steps = ("--epochs", "2", "--learning-rate", "0.01", "--optimizer", "sgd", "--amp", "off")
    finished = run_cli("distill", *QUICK, *steps, *arguments, cwd=here)
    _refused(finished, 5, "small_cnn")
    assert json.loads((here / "nan" / "manifest.json").read_text())["status"] == "failed"
    assert not list((here / "nan").rglob("*.part"))
    saved = checkpoints.load(here / "nan" / "last.pt")
    assert saved is not None
    assert saved["position"]["epoch"] == 1
    assert all(value.isfinite().all() for value in saved["learners"][0]["model"].values())
