"""Manifests of runs."""

from compress.records.run import InputRecord, RunManifest
from tests.fake_run import ENVIRONMENT


def test_the_images_of_a_run_are_known_once_it_has_read_them() -> None:
    begun = RunManifest(
        id="r", status="running", command="train", config={}, environment=ENVIRONMENT
    )
    assert begun.data_sha256 is None
    teacher, data = (InputRecord(source=name, sha256=name[0] * 64) for name in ("teacher", "data"))
    read = begun.model_copy(update={"inputs": {"teacher": teacher, "data": data}})
    assert read.data_sha256 == "d" * 64
