"""A report of an invented run on the real digits, made once; figures to be looked into."""

from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from compress.config.report import ReportConfig
from compress.data import registry
from compress.records.report import ReportRecord
from compress.stages.report import report
from tests.fake_run import make_run


@pytest.fixture(scope="session")
def digits_report(tmp_path_factory: pytest.TempPathFactory) -> ReportRecord:
    """One run with teacher, two students and their controls, and its test images."""
    labels = registry.load_test("digits").labels
    folder = tmp_path_factory.mktemp("runs") / "digits-run"
    make_run(folder, models=("small_cnn", "mobilenet_v2"), data="digits", labels=labels)
    return report(ReportConfig(runs=(str(folder),)))


@pytest.fixture(scope="session")
def two_runs_report(tmp_path_factory: pytest.TempPathFactory) -> ReportRecord:
    """A distillation with three seeds, and a training; their images are not there."""
    root = tmp_path_factory.mktemp("runs")
    make_run(root / "seeds", seeds=(0, 1, 2))
    make_run(root / "alone", command="train")
    return report(ReportConfig(runs=(str(root / "seeds"), str(root / "alone")), out=Path("both")))


@pytest.fixture
def panels(monkeypatch: pytest.MonkeyPatch) -> list[Axes]:
    """The axes of every single panel that is drawn from here on, in order."""
    drawn: list[Axes] = []

    def keep(draw: Callable[[Axes], None], _image: str, **_options: object) -> bytes:
        axes = Figure().subplots()
        draw(axes)
        drawn.append(axes)
        return b"drawn"

    for module in ("plots", "learning_curves"):
        monkeypatch.setattr(f"compress.render.{module}.single", keep)
    return drawn
