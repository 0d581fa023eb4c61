import json
from pathlib import Path
from typing import Any

import pytest

from compress import runtime
from compress.config.bench import BenchConfig
from compress.config.specs import Reference
from compress.errors import ConfigError, InputError, MachineError, UnusableError
from compress.measure.process import Measurement
from compress.measure.roofline import RULER
from compress.records.bench import BenchRecord
from compress.stages import bench_times
from compress.stages.bench import Wanted, bench, measure_rows
from compress.stages.bench_rows import Row, collect
from compress.stages.bench_times import Timed
from tests.notes import Notes
from tests.tiny_models import coloured_images, write_classifier, write_export, write_folder

jsonschema = pytest.importorskip("jsonschema")
IMAGES = [0, 1, 2] * 20
CONTRACT = (
    *("name", "role", "precision", "size_bytes", "parameters", "macs"),
    *("top1", "p50_ms", "p90_ms", "p99_ms", "speedup"),
)


def config(*targets: object, **options: object) -> BenchConfig:
    given = {"max_seconds": 0.4, **options}
    return BenchConfig.model_validate({"targets": [str(target) for target in targets], **given})


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> BenchRecord:
    """A whole bench of a tiny export with images."""
    place = tmp_path_factory.mktemp("whole")
    folder = write_folder(place / "images", coloured_images(IMAGES))
    return bench(config(write_export(place / "export"), data=str(folder), max_seconds=4.0))


def test_one_table_holds_every_model_beside_its_teacher(record: BenchRecord) -> None:
    assert [(model.label, model.role) for model in record.models] == [
        ("big fp32", "teacher"),
        ("small fp32", "student"),
        ("small int8", "student"),
    ]
    big, small, int8 = record.models
    assert (big.top1, small.top1, int8.top1) == pytest.approx((2 / 3, 1, 2 / 3))
    assert big.speedup is None
    assert small.speedup is not None
    assert big.p50_ms is not None
    assert small.p50_ms is not None
    assert small.speedup == pytest.approx(big.p50_ms / small.p50_ms)
    assert int8.fp32_ratio is not None
    assert int8.fp32_ratio.to == "small fp32"
    assert int8.fp32_difference is not None
    assert int8.fp32_difference.top1_drop == pytest.approx(1 / 3)
    assert small.parameters == 9


def test_the_record_holds_the_contract_and_survives_json(record: BenchRecord) -> None:
    document = json.loads(record.to_json())
    assert document["schema"] == 1
    assert document["environment"]["cpu"]
    for model in document["models"]:
        assert set(CONTRACT) <= set(model)
    assert BenchRecord.from_data(document, source="x") == record


def test_the_record_obeys_its_published_schema(record: BenchRecord) -> None:
    place = Path(__file__).parents[2] / "docs" / "schema" / "bench.json"
    schema = json.loads(place.read_text())
    jsonschema.validate(json.loads(record.to_json()), schema)
    broken = json.loads(record.to_json())
    del broken["models"][0]["sha256"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema)


def test_the_machine_and_the_images_are_part_of_the_record(record: BenchRecord) -> None:
    assert record.data is not None
    assert (record.data.images, record.data.of, record.data.labelled) == (60, 60, True)
    assert record.peaks is not None
    assert record.peaks.fp32_gmacs_per_second > 0.1
    assert record.processes >= 1
    assert all(model.peak_memory_bytes for model in record.models)
    assert all(model.limit_ratio is not None for model in record.models)


def test_without_images_it_is_latency_only_and_says_so(tmp_path: Path) -> None:
    progress = Notes()
    found = bench(config(write_export(tmp_path)), progress=progress)
    assert all(model.top1 is None and model.p50_ms for model in found.models)
    assert found.data is None
    assert [note for note in progress.notes if note.startswith("no accuracy: ")]
    assert set(progress.notes) <= set(found.notes)


def test_a_file_from_elsewhere_is_timed_and_told_what_its_accuracy_needs(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, coloured_images(IMAGES, size=32))
    found = bench(config(RULER, data=str(folder)))
    (model,) = found.models
    assert model.p50_ms
    assert model.parameters is None
    assert model.macs is None
    assert model.limit_ms is None
    assert "add :normalization=NAME" in (model.not_judged or "")


def test_int8_for_another_cpu_says_that_it_was_not_timed_and_how_it_was_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "saturates", lambda: True)
    write_classifier(tmp_path / "m.onnx", precision="int8", target="arm64")
    folder = write_folder(tmp_path / "i", coloured_images(IMAGES))
    progress = Notes()
    found = bench(config(tmp_path / "m.onnx", data=str(folder)), progress=progress)
    assert found.models[0].top1 == 1.0
    assert found.notes == (
        "tiny int8: accuracy of a run without saturation, as arm64 computes",
        "tiny int8: latency not measured here: made for arm64, whose arithmetic this CPU lacks",
    )
    assert tuple(progress.notes) == found.notes


def test_two_files_can_be_compared_without_any_export(tmp_path: Path) -> None:
    slow = write_classifier(tmp_path / "slow.onnx", name="slow", work=30, card=False)
    fast = write_classifier(tmp_path / "fast.onnx", name="fast", card=False)
    found = bench(config(fast, teacher=str(slow)))
    assert [(model.name, model.role) for model in found.models] == [
        ("slow", "teacher"),
        ("fast", "student"),
    ]
    assert found.models[1].speedup is not None
    assert found.models[1].speedup > 1


def test_files_above_the_size_allowed_are_left_out_and_named(tmp_path: Path) -> None:
    write_classifier(tmp_path / "a" / "model.onnx", name="a")
    write_classifier(tmp_path / "b" / "model.onnx", name="b", work=2)
    found = bench(config(tmp_path, max_size_kib=10))
    assert [model.name for model in found.models] == ["a"]
    assert found.notes[0].startswith("b fp32: ")
    with pytest.raises(ConfigError, match="every model is larger"):
        bench(config(tmp_path, max_size_kib=0.1))


def test_nan_answers_are_found_even_without_images(tmp_path: Path) -> None:
    model = write_classifier(tmp_path / "m.onnx", gain=float("nan"))
    with pytest.raises(UnusableError, match="NaN"):
        bench(config(model))


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"provider": "CUDAExecutionProvide"}, MachineError, "CPUExecutionProvider"),
        ({"threads": 10_000}, MachineError, "--threads 10000"),
        ({"data": "cifar1"}, ConfigError, "unknown data 'cifar1'"),
    ],
)
def test_what_cannot_be_is_refused(
    tmp_path: Path, options: dict[str, object], error: type[Exception], said: str
) -> None:
    with pytest.raises(error) as raised:
        bench(config(write_export(tmp_path), **options))
    assert said in f"{raised.value} {getattr(raised.value, 'hint', '')}"


def test_a_damaged_model_is_named(tmp_path: Path) -> None:
    place = write_export(tmp_path)
    path = place / "small" / "model.onnx"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"small/model\.onnx"):
        bench(config(place))


def test_a_gate_can_stop_the_timing_when_it_is_decided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, _ = collect([Reference(target=str(write_export(tmp_path)))])
    seen: list[BenchRecord] = []
    asked: list[bool] = []

    def time_rows(everything: list[Row], *_: object, **options: object) -> Timed:
        enough = options["enough"]
        assert callable(enough)
        found = bench_times.Timed(Measurement(), (), {})
        asked.append(enough(found))
        return found

    monkeypatch.setattr(bench_times, "time_rows", time_rows)

    def decide(record: BenchRecord) -> bool:
        seen.append(record)
        return True

    measure_rows(
        rows,
        config(tmp_path),
        Wanted(answers=False, peaks=False, memory=False, enough=decide),
        progress=Notes(),
    )
    assert asked == [True]
    assert [model.label for model in seen[0].models] == ["big fp32", "small fp32", "small int8"]


def test_each_int8_form_is_compared_with_the_float_form_of_the_same_weights(
    tmp_path: Path,
) -> None:
    made_of: dict[str, Any] = {"name": "small", "weights_sha256": "5" * 64}
    for folder, gain in (("a", 1.0), ("b", 0.5)):
        place = tmp_path / folder / "small"
        write_classifier(place / "model.onnx", **made_of)
        write_classifier(place / "model.int8.onnx", precision="int8", gain=gain, **made_of)
    found = bench(config(tmp_path / "a", tmp_path / "b"))
    assert [model.label for model in found.models] == [
        *("a/small fp32", "a/small int8", "b/small int8"),
    ]
    for model in found.models[1:]:
        assert model.fp32_ratio is not None
        assert model.fp32_ratio.to == "a/small fp32"
