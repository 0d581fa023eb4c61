"""`compress train`, from its configuration to its run directory."""

import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from torch import nn

from compress.config.train import TrainConfig
from compress.errors import ConfigError, Interrupted, MachineError, UnusableError
from compress.files import sha256_file
from compress.records.run import EpochRecord
from compress.runs import read_epochs, read_manifest
from compress.stages.train import plan_models, train
from compress.training import session
from tests.notes import Notes
from tests.tiny_stages import Disturbed, files, place, train_config
from tests.tiny_training import hungry


@pytest.fixture(autouse=True)
def _here(tmp_path: Path) -> Iterator[None]:
    with place(tmp_path / "here"):
        yield


def only_run() -> Path:
    (run,) = Path("runs").iterdir()
    return run


def test_a_training_learns_and_leaves_a_complete_run() -> None:
    record = train(train_config(epochs=4))
    run = only_run()
    manifest = read_manifest(run)
    (row,) = record.models
    assert row.top1 > 0.6
    assert (row.label, row.role, row.kd_gain, row.agreement) == ("small_cnn", "control", None, None)
    assert (record.train_images, record.val_images, record.test_images) == (1293, 144, 360)
    assert (manifest.status, manifest.command) == ("complete", "train")
    assert set(manifest.artifacts) == {
        "epochs.jsonl",
        "record.json",
        "predictions/small_cnn.npz",
        "students/small_cnn.json",
        "students/small_cnn.last.safetensors",
        "students/small_cnn.safetensors",
    }
    for name, artifact in manifest.artifacts.items():
        assert artifact.sha256 == sha256_file(run / name)
    assert [record.epoch for record in read_epochs(run)] == [1, 2, 3, 4]
    assert run.name.startswith("digits-small_cnn-")


def test_the_same_command_shows_a_complete_run_again() -> None:
    first, notes = train(train_config()), Notes()
    before = {path: path.stat().st_mtime_ns for path in only_run().rglob("*") if path.is_file()}
    assert train(train_config(), progress=notes) == first
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert "is complete; --restart trains anew" in notes.text
    assert notes.started == []


def test_restart_trains_anew_and_ends_with_the_same_weights() -> None:
    train(train_config())
    before, notes = files(only_run()), Notes()
    train(train_config(restart=True), progress=notes)
    assert notes.started
    assert files(only_run()) == before


def test_the_seed_decides_the_weights() -> None:
    first = train(train_config(), progress=Notes())
    second = train(train_config(seed=1), progress=Notes())
    assert first.run != second.run
    one, other = (files(Path("runs") / record.run) for record in (first, second))
    assert one["small_cnn.safetensors"] != other["small_cnn.safetensors"]


def test_several_seeds_are_trained_together_and_summed_up() -> None:
    record = train(train_config(seeds=(0, 1), epochs=1))
    alone = train(train_config(epochs=1))
    assert [row.label for row in record.models] == ["small_cnn-s0", "small_cnn-s1"]
    assert [row.seed for row in record.models] == [0, 1]
    assert record.models[0].top1 == alone.models[0].top1
    (summary,) = record.summary
    assert (summary.label, summary.seeds) == ("small_cnn", 2)
    assert summary.top1_mean == pytest.approx(sum(row.top1 for row in record.models) / 2)


def test_another_option_in_the_same_run_directory_is_named() -> None:
    train(train_config(run_dir="mine"))
    with pytest.raises(ConfigError, match=r"--epochs is 2 in the run, 3 now"):
        train(train_config(run_dir="mine", epochs=3))


def test_resume_takes_the_options_of_the_run() -> None:
    with pytest.raises(Interrupted):
        train(train_config(batch_size=100), progress=Disturbed(3))
    record = train(train_config(resume="last", epochs=7), flags={"resume": "last"})
    assert record.epochs == 2
    assert [row.label for row in record.models] == ["small_cnn"]
    assert read_manifest(only_run()).config["batch_size"] == 100


def test_resume_with_a_flag_that_differs_names_it() -> None:
    train(train_config(run_dir="mine"))
    flags = {"resume": "mine", "learning_rate": 0.3, "epochs": 2}
    with pytest.raises(
        ConfigError, match=r"--learning-rate is 0\.1 in the run, 0\.3 now"
    ) as caught:
        train(train_config(**flags), flags=flags)
    assert "epochs" not in caught.value.message


def test_resume_leaves_the_runs_of_other_commands_alone() -> None:
    train(train_config(run_dir="mine"))
    manifest = Path("mine/manifest.json")
    manifest.write_text(manifest.read_text().replace('"command": "train"', '"command": "distill"'))
    with pytest.raises(ConfigError, match="was made by `compress distill`"):
        train(train_config(resume="mine"), flags={"resume": "mine"})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_epoch_and_the_same_command_goes_on(number: int) -> None:
    train(train_config(run_dir="whole", epochs=3))
    notes = Disturbed(3, number)
    with pytest.raises(Interrupted, match="stopped after epoch 1 of 3"):
        train(train_config(run_dir="broken", epochs=3), progress=notes)
    assert "once more to stop now" in notes.text
    assert read_manifest(Path("broken")).status == "interrupted"
    train(train_config(run_dir="broken", epochs=3))
    assert files(Path("broken")) == files(Path("whole"))
    assert read_manifest(Path("broken")).status == "complete"


def test_the_curves_of_a_training_that_is_stopped_were_shown() -> None:
    seen: list[tuple[Path, list[int]]] = []

    def watch(run: Path, epochs: Sequence[EpochRecord]) -> None:
        seen.append((run, [one.epoch for one in epochs]))

    with pytest.raises(Interrupted):
        train(train_config(run_dir="mine"), progress=Disturbed(3), watch=watch)
    assert seen == [(Path("mine"), [1])]


def test_a_second_signal_ends_at_once() -> None:
    class Twice(Disturbed):
        def note(self, text: str) -> None:
            super().note(text)
            if "once more" in text:
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(train_config(run_dir="broken"), progress=Twice(3))
    manifest = read_manifest(Path("broken"))
    assert manifest.status == "interrupted"
    assert read_epochs(Path("broken")) == []


def test_a_loss_that_is_not_finite_ends_the_run_as_failed() -> None:
    with pytest.raises(UnusableError, match="small_cnn diverged: the loss is not finite"):
        train(train_config(run_dir="mine", learning_rate=1e30, schedule="cosine"))
    manifest = read_manifest(Path("mine"))
    assert manifest.status == "failed"
    assert "not finite" in str(manifest.reason)


def test_a_batch_larger_than_the_data_is_refused() -> None:
    with pytest.raises(ConfigError, match="--batch-size 1294 is larger than the 1293"):
        train(train_config(batch_size=1294))


@pytest.mark.parametrize(
    ("seeds", "remedy"),
    [
        ((0,), "--batch-size 32 fits"),
        ((0, 1), "--batch-size 32 fits; --seed trains one at a time, which needs less"),
    ],
)
def test_a_model_that_does_not_fit_is_told_what_train_can_do_about_it(
    monkeypatch: pytest.MonkeyPatch, seeds: tuple[int, ...], remedy: str
) -> None:
    monkeypatch.setattr(nn.Conv2d, "forward", hungry(lambda images: len(images) > 60))
    with pytest.raises(MachineError) as caught:
        train(train_config(seeds=seeds))
    assert caught.value.hint == remedy


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown model 'small_cmm'"):
        train(train_config(model="small_cmm"))


def test_a_run_that_died_before_its_end_is_completed_without_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Everything is trained and written but the record."""
    train(train_config(run_dir="mine"))
    manifest = Path("mine/manifest.json")
    before = files(Path("mine"))
    Path("mine/record.json").unlink()
    text = manifest.read_text().replace('"status": "complete"', '"status": "running"')
    manifest.write_text(text)
    monkeypatch.setattr(session, "run_epochs", lambda *_, **__: pytest.fail("trained again"))
    record = train(train_config(run_dir="mine"))
    assert record.models[0].label == "small_cnn"
    assert files(Path("mine")) == before


def test_plans_are_one_model_per_seed_on_labels_alone() -> None:
    plans = plan_models(TrainConfig(seeds=(3, 4)))
    assert [(plan.label, plan.seed) for plan in plans] == [("resnet50-s3", 3), ("resnet50-s4", 4)]
    assert all(plan.terms == () and plan.ce_weight == 1.0 for plan in plans)
