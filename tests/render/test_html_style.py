"""The page in a real browser, at a desk's and a phone's width."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from compress.records.report import ReportRecord
from compress.render.html import POLICY, page
from compress.render.html_style import STYLE

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
PROBE = """<script>
addEventListener("load", () => {
  const images = [...document.images];
  parent.postMessage([
    document.documentElement.scrollWidth,
    document.documentElement.clientWidth,
    images.filter(image => image.naturalWidth === 0).length,
    Math.max(...images.map(image => image.getBoundingClientRect().right)),
  ].join(" "), "*");
});
</script>"""
FRAME = """<!DOCTYPE html><body><script>
addEventListener("message", event => { document.body.dataset.probe = event.data; });
</script><iframe src="report.html" width="%d" height="900" style="border: 0"></iframe></body>"""
"""A browser's own window is never narrower than 500 pixels; a frame can be."""


def test_the_style_refers_to_nothing_outside() -> None:
    assert "url(" not in STYLE
    assert "@import" not in STYLE


@pytest.fixture
def browser() -> str:
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")


@pytest.mark.parametrize("width", [1280, 390])
def test_no_width_makes_the_page_scroll_sideways_or_loses_a_picture(
    width: int,
    browser: str,
    tmp_path: Path,
    two_runs_report: ReportRecord,
    digits_report: ReportRecord,
) -> None:
    everything = digits_report.model_copy(
        update={"runs": (*digits_report.runs, *two_runs_report.runs)}
    )
    text = page(everything)
    assert POLICY in text
    with_scripts = f"{POLICY}; script-src 'unsafe-inline'"  # the page has none, the probe is one
    probed = text.replace(POLICY, with_scripts).replace("</body>", PROBE + "</body>")
    (tmp_path / "report.html").write_text(probed, encoding="utf-8")
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME % width, encoding="utf-8")
    finished = subprocess.run(
        [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *("--window-size=1400,1000", f"--user-data-dir={tmp_path / 'profile'}"),
            *("--virtual-time-budget=5000", "--dump-dom", frame.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r'data-probe="([^"]+)"', finished.stdout)
    assert found, finished.stderr
    content, window, broken, right = map(float, found[1].split())
    assert window == width
    assert content <= width
    assert broken == 0
    assert right <= width
