"""Headers of invented recipes, for tests of what is made from records of recipes."""

from typing import Any

from compress.config.about import About
from tests.scripts import load_script


def header(summary: str = "an invented recipe", **changes: Any) -> Any:
    """A recipe of 20 epochs, its teacher's too; what is not said is invented."""
    about: dict[str, Any] = {
        "summary": summary,
        "source": "nowhere",
        "command": "compress distill",
        "seconds_cpu": "not measured",
        "seconds_gpu": "not measured",
        "expected": "not known",
        "record": "not yet run whole",
    }
    script = load_script("docs", "recipe_aims")
    return script.Header(About.model_validate({**about, **changes}), 20, 20)
