"""Write docs/speed.md from the records of the throughput benchmark: `python docs/make_speed.py`."""

from collections.abc import Sequence
from pathlib import Path

from compress.files import write_text
from compress.records.throughput import PairThroughput, ThroughputRecord
from compress.render.numbers import duration
from compress.render.tables.throughput import ratios, speeds

DOCS = Path(__file__).parent
RECORDS = DOCS.parent / "benchmarks" / "records"
PAGE = DOCS / "speed.md"
HEAD = """\
# How fast distillation runs

Written by `python docs/make_speed.py` from the records of `benchmarks/distill_throughput.py`
(`make bench`); do not edit it by hand. In one run, in random order within each round:

* **plain loop**: what people write today. PIL images, `transforms.Compose`, a DataLoader with two
  workers, NCHW float32, the teacher at every step.
* **ours, uncached**: nobody has answered the view yet, so the teacher answers it first.
* **ours, cached**: the view's soft labels are stored, as for each further student, setting or seed.
* **limit**: forward, backward and optimizer alone on one resident random batch, in the fastest
  formats. Nothing can be faster without another computation.

Speeds are images per second, medians over the rounds; ratios are taken round by round, with their
range. All of it is the training of an epoch: the evaluation and the checkpoint that end one are in
no row.

Where the speed comes from: the teacher answers each view once and not once per student and epoch;
images stay on the device and are augmented in batches; layout, number format and the form of 1x1
and depthwise convolutions are tried for each network on the machine at hand; the teacher runs with
its BatchNorm folded; memory that a step frees stays with the process.
"""


def _row(label: str, cells: Sequence[str]) -> str:
    return f"| {label} | {' | '.join(cells)} |"


def section(record: ThroughputRecord) -> list[str]:
    """One machine's figures as Markdown lines."""
    pairs: Sequence[PairThroughput] = record.pairs
    machine = record.environment.accelerator or record.environment.cpu
    lines = [f"## {machine}", ""]
    lines += [f"{record.threads} threads, batch {record.batch_size}, {record.image_size} pixels, "]
    lines[-1] += f"{len(pairs[0].plain)} rounds, {duration(record.seconds)}; PyTorch "
    lines[-1] += f"{record.environment.packages.get('torch', '?')}. `{record.command}`"
    lines += ["", _row("", [pair.name for pair in pairs]), "|---|" + "---:|" * len(pairs)]
    lines += [
        _row("teacher", [f"`{pair.teacher}`" for pair in pairs]),
        _row("student", [f"`{pair.student}`" for pair in pairs]),
    ]
    for label, cells in (speeds(pairs) | ratios(pairs)).items():
        lines.append(_row(label, cells))
    chosen = [f"{pair.teacher_format} / {pair.student_format}" for pair in pairs]
    return [*lines, _row("formats chosen, teacher / student", chosen), ""]


def page(folder: Path) -> str:
    """The whole page, made of the throughput records in a folder."""
    lines = [HEAD]
    for path in sorted(folder.glob("distill_throughput-*.json")):
        lines += section(ThroughputRecord.read(path))
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    write_text(PAGE, page(RECORDS))
