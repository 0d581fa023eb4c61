"""How fast distillation runs here: the plain loop, ours, and what the machine could do at most.

    python benchmarks/distill_throughput.py                 three pairs, about 15 minutes on 2 cores
    python benchmarks/distill_throughput.py --pairs W2 --rounds 5
    python benchmarks/distill_throughput.py --device cuda --batch-size 512

For each pair of teacher and student, in random order within every round, so that slow spells of the
machine meet all of them:

    plain     the loop people write: Dataset of PIL images, transforms.Compose, DataLoader with two
              workers, NCHW float32, the teacher at every step
    uncached  ours with no soft labels stored: the teacher answers a view, then the student learns
    cached    ours from stored soft labels
    limit     nothing but the computation on one resident random batch, in the fastest formats:
              teacher forward + student step, and the student step alone

The plain loop has a process of its own, since ours tells the C library to keep freed memory.
Uncached and cached run the loop of `compress distill` itself. One round before the first is not
counted. With W2 four students are also trained at once and compared with their parts: one teacher
sweep and four trainings. Writes benchmarks/records/distill_throughput-<processor>.json, or --out;
until all pairs are measured, the former is called .part. Run it on an idle machine: on two cores,
two programs at once run at a tenth of the speed. On a GPU a round has 200 steps.
"""

import argparse
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from rich.console import Console
from throughput_pairs import COMPANY, IMAGE_SIZE, PAIRS, Pair, pair_of
from throughput_plain import PlainProcess
from throughput_variants import Limit, OurLoop

from compress.environment import read_environment
from compress.errors import CompressError
from compress.files import write_text
from compress.records.throughput import PairThroughput, ThroughputRecord
from compress.render.tables.throughput import table
from compress.training.device import accelerator_name, pick_device

RECORDS = Path(__file__).resolve().parent / "records"


def measure(
    name: str,
    pair: Pair,
    *,
    batch_size: int,
    rounds: int,
    device: torch.device,
    amp: str,
    order: random.Random,
    tell: Callable[[str], None],
) -> PairThroughput:
    """Time every variant of a pair once per round, in random order.

    Args:
        name: The pair's.
        pair: Teacher and student.
        batch_size: Images per step.
        rounds: Counted rounds.
        device: Where to compute.
        amp: As given to `compress distill --amp`.
        order: Shuffles the variants.
        tell: Told of every round.
    """
    with (
        tempfile.TemporaryDirectory(prefix="throughput-") as folder,
        PlainProcess(pair, batch_size, device) as plain,
    ):
        tell(f"{name}: {pair.teacher} -> {pair.student}")
        ours = OurLoop(pair, batch_size, device, Path(folder), amp)
        limit = Limit(pair, batch_size, device, amp)
        work: dict[str, Callable[[], float]] = {
            "plain": plain,
            "uncached": ours.uncached,
            "cached": ours.cached,
            "limit_teacher": limit.teacher,
            "limit_student": limit.student,
        }
        if pair.company:
            work["company"] = ours.company
        seconds: dict[str, list[float]] = {variant: [] for variant in work}
        images = pair.steps * batch_size
        for number in range(rounds + 1):
            for variant in order.sample(sorted(work), len(work)):
                spent = work[variant]()
                if number:
                    seconds[variant].append(spent)
            rates = "  ".join(f"{v} {images / s[-1]:.0f}" for v, s in seconds.items() if s)
            tell(f"{name}: round {number} of {rounds}  {rates or 'to warm up'}")

    def speeds(times: Sequence[float]) -> tuple[float, ...]:
        return tuple(images / spent for spent in times)

    both = zip(seconds["limit_teacher"], seconds["limit_student"], strict=True)
    return PairThroughput(
        name=name,
        teacher=str(pair.teacher),
        student=str(pair.student),
        steps=pair.steps,
        teacher_format=ours.teacher_format,
        student_format=ours.student_format,
        limit_teacher_format=limit.teacher_format,
        limit_student_format=limit.student_format,
        plain=speeds(seconds["plain"]),
        uncached=speeds(seconds["uncached"]),
        cached=speeds(seconds["cached"]),
        limit_with_teacher=speeds([teacher + student for teacher, student in both]),
        limit_student=speeds(seconds["limit_student"]),
        company_cost=tuple(
            together / ((uncached - cached) + COMPANY * cached)
            for together, uncached, cached in zip(
                seconds.get("company", []), seconds["uncached"], seconds["cached"], strict=False
            )
        ),
    )


def slug(text: str) -> str:
    """A processor's name as part of a file name."""
    plain = re.sub(r"\((?:r|tm|c)\)", "", text.lower())
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pairs", default=",".join(PAIRS), help="some of W1,W2,W3")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--threads", type=int, default=0, help="0: PyTorch's choice")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--amp", choices=("auto", "off"), default="auto")
    parser.add_argument("--steps", type=int, default=0, help="0: by pair and device")
    parser.add_argument("--quick", action="store_true", help="one tiny round: does it run at all?")
    parser.add_argument("--out", type=Path, help="the record; default in benchmarks/records/")
    asked = parser.parse_args(arguments)
    for name in asked.pairs.split(","):
        if name not in PAIRS:
            parser.error(f"no pair {name!r}: choose from {', '.join(PAIRS)}")
    if asked.rounds < 1 or asked.batch_size < 2:
        parser.error("--rounds begins at 1 and --batch-size at 2")
    if asked.out is None and (asked.quick or set(asked.pairs.split(",")) != set(PAIRS)):
        parser.error("a part of the measurement is no published record: name its file with --out")
    return asked


def measured(
    asked: argparse.Namespace, *, command: str, tell: Callable[[str], None]
) -> Iterator[ThroughputRecord]:
    """Time one pair after the other; after each, what is measured so far.

    Args:
        asked: The command line.
        command: As it can be run again.
        tell: Told of every round.
    """
    begin = time.monotonic()
    device = pick_device(asked.device)
    pairs: list[PairThroughput] = []
    for name in asked.pairs.split(","):
        pairs.append(
            measure(
                name,
                pair_of(name, steps=asked.steps, device=device),
                batch_size=asked.batch_size,
                rounds=asked.rounds,
                device=device,
                amp=asked.amp,
                order=random.Random(0),
                tell=tell,
            )
        )
        yield ThroughputRecord(
            command=command,
            batch_size=asked.batch_size,
            image_size=IMAGE_SIZE,
            threads=torch.get_num_threads(),
            device=device.type,
            pairs=tuple(pairs),
            seconds=time.monotonic() - begin,
            environment=read_environment(accelerator=accelerator_name(device)),
        )


def written(record: ThroughputRecord, out: Path | None) -> Path:
    """Write a record, and say where; without `out` a published one is replaced by a whole one only.

    Args:
        record: What is measured so far.
        out: As asked for.
    """
    if out is not None:
        write_text(out, record.to_json())
        return out
    machine = slug(record.environment.accelerator or record.environment.cpu)
    whole = RECORDS / f"distill_throughput-{machine}.json"
    part = whole.with_suffix(".part")
    if len(record.pairs) < len(PAIRS):
        write_text(part, record.to_json())
        return part
    write_text(whole, record.to_json())
    part.unlink(missing_ok=True)
    return whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write after each pair, and show."""
    asked = parse(arguments)
    if asked.threads:
        torch.set_num_threads(asked.threads)
    if asked.quick:
        asked.rounds, asked.batch_size, asked.steps = 1, 16, 1
    words = [Path(sys.argv[0]).name, *(sys.argv[1:] if arguments is None else arguments)]
    talk = Console(stderr=True, highlight=False)
    command = f"python benchmarks/{' '.join(words)}"
    try:
        for record in measured(asked, command=command, tell=talk.print):
            out = written(record, asked.out)
            talk.print(f"{len(record.pairs)} of the pairs written to {out}", markup=False)
    except CompressError as error:
        talk.print(f"error: {error.message}\nhint: {error.hint}", markup=False)
        return error.exit_code
    Console().print(table(record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
