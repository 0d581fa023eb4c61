"""The tables of `compress export`."""

import io

import pytest
from rich.console import Console

from compress.records.artifact import (
    ArtifactFile,
    ArtifactManifest,
    Calibration,
    Fidelity,
    LayerNoise,
    ProviderFit,
    Quantization,
)
from compress.records.export import ExportRecord, ExportRow
from compress.records.model_card import ModelCard
from compress.render.tables.export import table
from tests.fake_run import ENVIRONMENT

FP32 = Fidelity(
    precision="fp32", reference="torch", split="test", images=1000, max_difference=2e-5,
    agreement=1.0, top1=0.939, reference_top1=0.939, drop=0.0, drop_low=-0.002, drop_high=0.002,
    sqnr_db=128.0,
)  # fmt: skip
INT8 = Fidelity(
    precision="int8", reference="fp32", split="test", images=10_000, max_difference=4.7,
    agreement=0.9924, top1=0.9338, reference_top1=0.9339, drop=0.0001, drop_low=-0.0014,
    drop_high=0.0016, sqnr_db=27.9,
)  # fmt: skip


def show(record: ExportRecord, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(table(record))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def record(quantization: Quantization, *problems: str, int8: bool = True) -> ExportRecord:
    def file(precision: str, size: int) -> ArtifactFile:
        return ArtifactFile.model_validate(
            {"kind": "onnx", "precision": precision, "sha256": "0", "size_bytes": size}
        )

    files = {"model.onnx": file("fp32", 4096000)}
    if int8:
        files["model.int8.onnx"] = file("int8", 1024000)
    fits = tuple(
        ProviderFit(
            precision="fp32", provider=name, nodes=20, supported_nodes=taken, partitions=1,
            verdict="yes" if taken == 20 else "no",
        )
        for name, taken in (("NNAPI", 20), ("CoreML MLProgram", 7))
    )  # fmt: skip
    manifest = ArtifactManifest(
        label="net[x]",
        role="student",
        card=ModelCard(name="net", architecture="small_cnn", image_size=8),
        files=files,
        calibration=Calibration(images=300, sha256="0"),
        fidelity=(FP32, INT8) if int8 else (FP32,),
        quantization=quantization,
        providers=fits,
        licence="",
        data_note="",
    )
    row = ExportRow(folder="exported/run/net", manifest=manifest, problems=problems, seconds=12.0)
    return ExportRecord(source="last", artifacts=(row,), environment=ENVIRONMENT)


GOOD = Quantization(target="portable", weight_bits=7, layers=7, bound=0.01)


@pytest.mark.parametrize("width", [80, 120])
def test_each_form_has_a_row_with_what_it_lost(width: int) -> None:
    shown = show(record(GOOD), width)
    assert max(len(line) for line in shown.splitlines()) <= width
    for text in ("net[x]", "3.9 MiB", "0.25x", "93.39", "93.38", "99.24", "0.01"):
        assert text in shown
    assert "-0.14 to 0.16" in shown


def test_a_wide_terminal_shows_noise_and_images() -> None:
    shown = show(record(GOOD), 120)
    assert "27.9" in shown
    assert "10,000" in shown
    assert "4.7e+00" in shown


def test_int8_says_what_it_took() -> None:
    kept = GOOD.model_copy(
        update={"kept_float": ("stage1.0",), "float_layers": ("stage1.0",), "weight_bits": 8}
    )
    shown = show(record(kept))
    assert "portable, 8-bit weights, 300 calibration images" in shown
    assert "1 of 7 layers in float (stage1.0)" in shown


def test_a_refused_int8_shows_the_noise_of_every_layer() -> None:
    noise = (LayerNoise(layer="stage1.3", sqnr_db=4.9), LayerNoise(layer="linear", sqnr_db=41.4))
    refused = GOOD.model_copy(update={"usable": False, "reason": "bad", "noise": noise})
    shown = show(record(refused, "int8 left out: loses 20 points", int8=False))
    assert "stage1.3 4.9 dB, linear 41.4 dB" in shown
    assert "net[x]: int8 left out: loses 20 points" in shown


def test_accelerators_show_how_many_operators_they_take() -> None:
    shown = show(record(GOOD))
    assert "yes 20/20" in shown
    assert "no 7/20" in shown


def test_a_target_that_this_cpu_cannot_compute_is_said() -> None:
    made = record(GOOD)
    manifest = made.artifacts[0].manifest
    unsaturated = (FP32, INT8.model_copy(update={"unsaturated": True}))
    row = made.artifacts[0].model_copy(
        update={"manifest": manifest.model_copy(update={"fidelity": unsaturated})}
    )
    shown = show(made.model_copy(update={"artifacts": (row,)}), 200)
    assert "run without saturation, latency not measured here" in shown
