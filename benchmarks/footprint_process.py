"""The processes that run_footprint.py measures, which tell of themselves in a JSON file.

    python benchmarks/footprint_process.py run FILE BEGUN all|first COMPRESS-ARGUMENTS …
    python benchmarks/footprint_process.py imports FILE BEGUN MODULE …

BEGUN is `time.time()` from before the process was started. `first` ends a run at its first step.
"""

import contextlib
import importlib
import json
import re
import sys
import time
from pathlib import Path
from typing import Any


def memory(key: str) -> int:
    """`VmRSS` or `VmHWM`, the present and the highest resident memory of this process in bytes."""
    found = re.search(rf"^{key}:\s*(\d+) kB$", Path("/proc/self/status").read_text(), re.M)
    if found is None:
        raise OSError(f"/proc/self/status has no {key}")
    return 1024 * int(found[1])


def run(out: Path, begun: float, until: str, arguments: list[str]) -> None:
    """Run the command; note when the first step was done, what was imported, and memory.

    A student's own steps count, not those by which formats are tried before it is made.
    """
    from compress.__main__ import main
    from compress.training.learner import Learner

    seen: dict[str, Any] = {}
    step = Learner.step

    def stepped(learner: Learner, *arguments: Any, **named: Any) -> None:
        step(learner, *arguments, **named)
        if not seen:
            seen["first_step_seconds"] = time.time() - begun
            seen["begun_bytes"] = memory("VmHWM")
            seen["modules"] = list(sys.modules)
            if until == "first":
                raise KeyboardInterrupt
        seen["trained_bytes"] = memory("VmHWM")

    Learner.step = stepped  # type: ignore[method-assign, assignment]
    sys.argv = ["compress", *arguments]
    try:
        main()
    finally:
        seen["peak_bytes"] = memory("VmHWM")
        if until == "all":
            seen["modules"] = list(sys.modules)
        out.write_text(json.dumps(seen), encoding="utf-8")


def imports(out: Path, begun: float, names: list[str]) -> None:
    """Import modules, in the order in which a run did."""
    for name in names:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    told = {"seconds": time.time() - begun, "peak_bytes": memory("VmHWM")}
    out.write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    what, place, start, *rest = sys.argv[1:]
    if what == "run":
        run(Path(place), float(start), rest[0], rest[1:])
    else:
        imports(Path(place), float(start), Path(rest[0]).read_text().split())
