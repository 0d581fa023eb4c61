"""The README of an artifact: its programs really run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from compress import runtime
from compress.files import sha256_file
from compress.measure.golden import load_golden
from compress.records.artifact import ArtifactManifest
from compress.records.model_card import ModelCard
from compress.stages.export_readme import cpp_snippet, python_snippet, readme, shipped
from tests.conftest import OFFICIAL, ROOT
from tests.trained_run import digits, exported_workspace

EXPORTED = ("exported", "digits-test-01234567", "small_cnn")


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """An exported folder that may be changed."""
    return Path(shutil.copytree(exported_workspace().joinpath(*EXPORTED), tmp_path / "artifact"))


def block(folder: Path, language: str) -> str:
    """The program of a language in the folder's README."""
    text = (folder / "README.md").read_text()
    found = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return found.group(1)


def expected(folder: Path, image: int = 0) -> int:
    """The class that the golden file holds for an image."""
    answers = load_golden(folder / "golden.npz").expected["int8"]["logits"]
    return int(answers[image].argmax())


def run_python(folder: Path, program: str, *arguments: str) -> list[str]:
    (folder / "classify.py").write_text(program)
    finished = subprocess.run(
        [sys.executable, "-W", "error", "classify.py", *arguments],
        cwd=folder, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.splitlines()


def test_the_python_program_classifies_a_golden_image(artifact: Path) -> None:
    lines = run_python(artifact, block(artifact, "python"))
    assert len(lines) == 5
    labels = (artifact / "labels.txt").read_text().splitlines()
    assert lines[0].split()[1] == labels[expected(artifact)]
    assert 0 < float(lines[0].split()[0]) <= 1


@pytest.mark.parametrize("kind", ["wide.png", "turned.jpg", "grey16.png"])
def test_the_python_program_classifies_a_picture_as_predict_does(artifact: Path, kind: str) -> None:
    """Also as a telephone saves it, turned by its EXIF data, and in 16 bits of grey."""
    from PIL import Image

    from compress.config.predict import PredictConfig
    from compress.stages.predict import predict

    pixels = np.repeat(np.repeat(digits().test.images[3], 5, axis=0), 7, axis=1)
    picture, exif = Image.fromarray(pixels), Image.Exif()
    if kind == "turned.jpg":
        picture, exif[0x0112] = picture.transpose(Image.Transpose.ROTATE_90), 6
    if kind == "grey16.png":
        picture = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    picture.save(artifact / kind, exif=exif)
    first = run_python(artifact, block(artifact, "python"), kind)[0].split()
    config = PredictConfig.model_validate({"artifact": str(artifact), "images": (artifact / kind,)})
    best = predict(config).predictions[0].guesses[0]
    assert first[1] == best.label
    assert float(first[0]) == pytest.approx(best.probability, abs=6e-4)


def compile_cpp(folder: Path, program: str) -> Path:
    """Compile against the real C++ API where its headers are, else against our few declarations.

    Both link and run the C library of the installed onnxruntime.
    """
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    library = next(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*"))
    # where its linker name and its run-time name are looked for
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (folder / name).symlink_to(library)
    headers = os.environ.get("ONNXRUNTIME_INCLUDE", "/usr/include/onnxruntime")
    real = (Path(headers) / "onnxruntime_cxx_api.h").is_file()
    (folder / "classify.cpp").write_text(program)
    finished = subprocess.run(
        [compiler, "-std=c++17", "-Wall", "-Wextra", "-Werror",
         "-isystem" if real else "-I", headers if real else str(ROOT / "tests" / "cpp"),
         "classify.cpp", "-o", "classify", "-L.", "-lonnxruntime", "-Wl,-rpath,."],
        cwd=folder, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    return folder / "classify"


def run_cpp(folder: Path, image: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]") -> str:
    (folder / "image.raw").write_bytes(np.ascontiguousarray(image).tobytes())
    finished = subprocess.run(
        ["./classify", "image.raw"],
        cwd=folder, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_the_cpp_program_answers_as_the_golden_file(artifact: Path) -> None:
    compile_cpp(artifact, block(artifact, "cpp"))
    golden = load_golden(artifact / "golden.npz")
    for image in (0, 5):
        number, logit = run_cpp(artifact, golden.inputs[image]).split()
        assert int(number) == expected(artifact, image)
        best = golden.expected["int8"]["logits"][image].max()
        assert float(logit) == pytest.approx(float(best), rel=1e-4)


def test_the_cpp_program_of_a_top_k_graph_with_float_input_is_right(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    card = ModelCard(
        name="m", architecture="x", class_names=tuple("abcd"), image_size=2, output="top-k",
        top_k=2, input_layout="float-nchw", mean=(0.0,) * 3, std=(1.0,) * 3,
    )  # fmt: skip
    float32, int64 = TensorProto.FLOAT, TensorProto.INT64
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["image"], ["flat"]),
            helper.make_node("TopK", ["flat", "k"], ["probabilities", "classes"]),
        ],
        "graph",
        [helper.make_tensor_value_info("image", float32, [1, 3, 2, 2])],
        [
            helper.make_tensor_value_info("probabilities", float32, [1, 2]),
            helper.make_tensor_value_info("classes", int64, [1, 2]),
        ],
        [helper.make_tensor("k", int64, [1], [2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    runtime.open_session(tmp_path / "m.onnx")
    compile_cpp(tmp_path, cpp_snippet(card, "m.onnx"))
    image = np.zeros((3, 2, 2), dtype=np.float32)
    image[0, 1, 1] = 0.5
    assert run_cpp(tmp_path, image) == "3 0.5\n"


def test_floats_are_normalised_in_the_python_program(tmp_path: Path) -> None:
    card = ModelCard(
        name="m", architecture="x", class_names=tuple("ab"), image_size=4, output="softmax",
        input_layout="float-nchw", mean=(0.5, 0.25, 0.0), std=(0.5, 0.5, 2.0),
    )  # fmt: skip
    program = python_snippet(card, "m.onnx")
    start, end = program.index("    mean, std"), program.index("else:")
    lines = [line.strip() for line in program[start:end].splitlines()]
    pixels = np.arange(48, dtype=np.uint8).reshape(1, 4, 4, 3)
    names: dict[str, object] = {"np": np, "image": pixels}
    exec("\n".join(lines), names)
    np.testing.assert_allclose(np.asarray(names["image"]), runtime.prepare(pixels, card), atol=1e-6)


def test_the_readme_says_what_a_device_engineer_must_know(artifact: Path) -> None:
    text = (artifact / "README.md").read_text()
    manifest = ArtifactManifest.read(artifact / "manifest.json")
    assert text == readme(
        manifest.model_copy(
            update={"files": {k: v for k, v in manifest.files.items() if k != "README.md"}}
        )
    )
    for words in ("uint8 (one image, 8, 8, 3)", "model.int8.onnx", "7 bits", "CC BY 4.0"):
        assert words in text
    for parent in ("weights", "run", "train", "validation", "test"):
        assert manifest.parents[parent] in text
    assert str(artifact.parent) not in text


def test_the_shipped_form_is_int8_where_there_is_one(artifact: Path) -> None:
    manifest = ArtifactManifest.read(artifact / "manifest.json")
    assert shipped(manifest) == "int8"
    only = {name: f for name, f in manifest.files.items() if "int8" not in name}
    assert shipped(manifest.model_copy(update={"files": only})) == "fp32"


@pytest.mark.parametrize("folder", OFFICIAL, ids=lambda folder: folder.name)
def test_a_published_artifact_comes_with_the_text_of_today(folder: Path) -> None:
    manifest = ArtifactManifest.read(folder / "manifest.json")
    first = {name: file for name, file in manifest.files.items() if name != "README.md"}
    text = readme(manifest.model_copy(update={"files": first}))
    assert (folder / "README.md").read_text(encoding="utf-8") == text
    assert manifest.files["README.md"].sha256 == sha256_file(folder / "README.md")
