"""`compress predict` as a user types it, on a machine without torch and onnx."""

import json
from pathlib import Path

from PIL import Image

from tests.conftest import RunCli
from tests.tiny_models import write_classifier

DEVICE = "import sys\nfor name in ('torch', 'onnx', 'safetensors'): sys.modules[name] = None\n"


def make(place: Path) -> Path:
    write_classifier(place / "net" / "model.onnx", name="colours")
    (place / "pictures").mkdir()
    Image.new("RGB", (31, 17), (10, 200, 10)).save(place / "pictures" / "leaf.jpg")
    return place


def test_pictures_are_classified_on_a_device(run_cli: RunCli, tmp_path: Path) -> None:
    place = make(tmp_path / "device")
    finished = run_cli("predict", "net", "pictures", "--top-k", "2", cwd=place, code=DEVICE)
    assert finished.code == 0, finished.stderr
    assert "pictures/leaf.jpg" in finished.stdout
    assert "green" in finished.stdout
    finished = run_cli("predict", "net", "pictures/leaf.jpg", "--json", "-", cwd=place, code=DEVICE)
    (prediction,) = json.loads(finished.stdout)["predictions"]
    assert prediction["guesses"][0]["label"] == "green"


def test_unreadable_pictures_end_with_3_after_the_others(run_cli: RunCli, tmp_path: Path) -> None:
    place = make(tmp_path / "device")
    (place / "pictures" / "broken.png").write_text("no picture")
    finished = run_cli("predict", "net", "pictures", "gone.png", cwd=place, code=DEVICE)
    assert finished.code == 3
    assert "green" in finished.stdout
    assert "error: skipped pictures/broken.png" in finished.stderr
    assert "(and 1 more)" in finished.stderr
    assert "gone.png" in finished.stdout


def test_nan_ends_with_5(run_cli: RunCli, tmp_path: Path) -> None:
    place = make(tmp_path / "device")
    write_classifier(place / "nan.onnx", gain=float("nan"))
    finished = run_cli("predict", "nan.onnx", "pictures", cwd=place, code=DEVICE)
    assert (finished.code, finished.stdout) == (5, "")
    assert "nan.onnx answers with NaN or infinity for pictures/leaf.jpg" in finished.stderr


def test_pictures_must_be_named(run_cli: RunCli, tmp_path: Path) -> None:
    finished = run_cli("predict", "net", cwd=make(tmp_path / "device"))
    assert finished.code == 2
