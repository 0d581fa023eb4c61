"""Fit for mobile accelerators, as onnxruntime's own tool says on its command line."""

import logging
import re
from pathlib import Path

import onnx
import pytest
from onnxruntime.tools.mobile_helpers.usability_checker import analyze_model

from compress.graph import quantize
from compress.graph.providers import provider_fit
from tests.graph.conftest import Written


def test_a_plain_network_fits_every_accelerator(small_cnn: Written) -> None:
    found = provider_fit(small_cnn.graph, "fp32")
    assert [fit.provider for fit in found] == [
        *("NNAPI", "CoreML NeuralNetwork", "CoreML MLProgram")
    ]
    assert all(fit.verdict == "yes" and fit.unsupported == () for fit in found)
    assert all(fit.supported_nodes == fit.nodes and fit.partitions == 1 for fit in found)


def test_int8_fits_nnapi_and_not_coreml(calibrated: quantize.Calibrated) -> None:
    found = {
        fit.provider: fit
        for fit in provider_fit(quantize.quantize(calibrated, target="portable"), "int8")
    }
    assert found["NNAPI"].verdict == "yes"
    for name in ("CoreML NeuralNetwork", "CoreML MLProgram"):
        assert found[name].verdict == "no"
        assert "ai.onnx:QuantizeLinear" in found[name].unsupported


def test_the_numbers_are_those_of_the_tool(
    resnet20: Written, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "m.onnx"
    onnx.save_model(resnet20.graph, path)
    with caplog.at_level(logging.INFO, logger="usability"):
        analyze_model(path, logger=logging.getLogger("usability"))
    said = re.findall(r"(\d+) partitions with a total of (\d+)/(\d+)", caplog.text)
    found = provider_fit(resnet20.graph, "fp32")
    assert [(f.partitions, f.supported_nodes, f.nodes) for f in found] == [
        tuple(map(int, numbers)) for numbers in said
    ]
