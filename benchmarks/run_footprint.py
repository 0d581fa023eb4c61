r"""Measure what a run of `compress distill` costs beside its training: memory, and time to begin.

    python benchmarks/run_footprint.py --data cifar10 --data-dir DATA \
        --teacher resnet56-cifar10.safetensors:model=resnet56,normalization=imagenet \
        --student small_cnn

The command is run as a process of its own until its first step, so that soft labels are stored and
trials remembered; then it is started several times more until its first step, each time followed by
a process that imports what that one had imported by then, and nothing else: their medians count.
Then it is run for one whole epoch, and what it had imported at its end, where plots are drawn,
once more by a process alone. Memory above those imports is compared with what a run cannot do
without: its images, the weights and optimizer state of all learners, and the activations that one
batch of one learner keeps for its backward pass. Gradients, soft labels, the copy of the best
weights and what the libraries allocate are not counted. Linux only. Runs and caches are in a
temporary folder unless --folder names one. Writes benchmarks/records/run_footprint-NAME.json and
ends with 1 where a target is missed. For its times, run it on an idle machine.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from compress.config.specs import ModelSpec, StudentSpec
from compress.environment import read_environment
from compress.files import write_text
from compress.models import registry as models
from compress.models import weights
from compress.records.distill import DistillRecord
from compress.records.footprint import BEGIN_LIMIT_SECONDS, MEMORY_LIMIT, FootprintRecord
from compress.runs import CHECKPOINT, RECORD, read_manifest
from compress.training import state as checkpoints
from compress.training.device import placed
from compress.training.formats import Format

RECORDS = Path(__file__).resolve().parent / "records"
PROCESS = Path(__file__).resolve().parent / "footprint_process.py"
SHOWN = ("images", "weights", "activations", "needed", "imports", "begun", "trained", "peak")
CHANNELS = 3
STARTS = 5
BUSY_SHARE = 0.1
"""Of all processors, used by others: beyond it times are no measurement."""


def told_by(folder: Path, what: str, *arguments: object, expected: int = 0) -> Any:
    """Run a process of footprint_process.py and read what it tells of itself.

    Raises:
        SystemExit: It failed; its own words are shown on stderr.
    """
    out = folder / "told.json"
    ended = subprocess.run(
        [sys.executable, PROCESS, what, out, str(time.time()), *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COMPRESS_CACHE": str(folder / "cache")},
        check=False,
    )
    if ended.returncode != expected:
        print(ended.stderr, end="", file=sys.stderr)
        raise SystemExit(ended.returncode or 70)
    return json.loads(out.read_text(encoding="utf-8"))


def state_bytes(state: Any) -> int:
    """Bytes of all tensors in nested dictionaries and lists."""
    if isinstance(state, Tensor):
        return state.numel() * state.element_size()
    if isinstance(state, dict):
        return sum(map(state_bytes, state.values()))
    return sum(map(state_bytes, state)) if isinstance(state, (list, tuple)) else 0


def learner_bytes(state: Any) -> int:
    """Weights, buffers, moving average and optimizer state of a checkpoint's learner."""
    return sum(state_bytes(state[key]) for key in ("model", "average", "projectors", "optimizer"))


def activation_bytes(
    spec: ModelSpec, chosen: Format, *, classes: int, image_size: int, batch_size: int
) -> int:
    """What a training step keeps between its forward and backward pass, in bytes.

    Each block of memory is counted once, whoever saves it, and those of the weights not at all.

    Args:
        spec: The student as asked for.
        chosen: Memory and number format.
        classes: Length of the logits.
        image_size: Side of the images in pixels.
        batch_size: Images.
    """
    model = models.build(spec.name, classes=classes, image_size=image_size, options=spec.options)
    chosen.convert(model)
    device = torch.device("cpu")
    model = placed(model, device, chosen.memory_format).train()
    own = {p.untyped_storage().data_ptr() for p in [*model.parameters(), *model.buffers()]}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    shape = (batch_size, CHANNELS, image_size, image_size)
    images = torch.zeros(shape).contiguous(memory_format=chosen.memory_format)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        with chosen.autocast(device):
            logits = model(images)
        loss = torch.nn.functional.cross_entropy(logits.float(), torch.zeros(batch_size).long())
    del loss
    return sum(kept.values())


def at_hand(cache: Path) -> dict[str, int]:
    """What a start may find: remembered trials with the time they were noted, and stored views.

    Raises:
        SystemExit: There is no trial of a student, or no view.
    """
    trials = {path: path.read_text(encoding="utf-8") for path in (cache / "formats").glob("*.json")}
    views = sorted(cache.glob("soft-labels/*/views/*.safetensors"))
    tried = [path for path, text in trials.items() if '"purpose": "student"' in text]
    if not tried or not views:
        raise SystemExit(f"{len(tried)} trials and {len(views)} views after the first start")
    noted = {path.name: path.stat().st_mtime_ns for path in trials}
    return noted | dict.fromkeys((path.name for path in views), 0)


def busy_before(seconds: float = 1.0) -> bool:
    """Whether others use the processors of this machine now."""

    def times() -> tuple[int, int]:
        fields = [int(x) for x in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return sum(fields), fields[3] + fields[4]

    all_before, idle_before = times()
    time.sleep(seconds)
    all_after, idle_after = times()
    return 1 - (idle_after - idle_before) / (all_after - all_before) > BUSY_SHARE


def measured(asked: argparse.Namespace, folder: Path, command: str) -> FootprintRecord:
    """Run everything and put the figures together."""
    arguments = ["distill", "--data", asked.data, "--teacher", asked.teacher]
    arguments += ["--student", asked.student, "--epochs", "1", "--device", "cpu", "--quiet"]
    arguments += ["--data-dir", str(asked.data_dir)] if asked.data_dir else []
    arguments += ["--image-size", str(asked.image_size)] if asked.image_size else []
    arguments += ["--run-dir", str(folder / "run"), "--restart"]
    disturbed = busy_before()
    told_by(folder, "run", "first", *arguments, expected=130)
    ready = at_hand(folder / "cache")
    names = folder / "modules.txt"
    starts, bare = [], []
    for _ in range(asked.starts):
        disturbed |= busy_before()
        start = told_by(folder, "run", "first", *arguments, expected=130)
        starts.append(start["first_step_seconds"])
        names.write_text("\n".join(start["modules"]), encoding="utf-8")
        bare.append(told_by(folder, "imports", names))
    disturbed |= busy_before()
    told = told_by(folder, "run", "all", *arguments)
    disturbed |= busy_before()
    names.write_text("\n".join(told["modules"]), encoding="utf-8")
    imported = told_by(folder, "imports", names)["peak_bytes"]
    if at_hand(folder / "cache") != ready:
        raise SystemExit(
            "a start was measured that tried or answered what the first one had stored"
        )
    record = DistillRecord.read(folder / "run" / RECORD)
    manifest = read_manifest(folder / "run")
    saved = checkpoints.load(folder / "run" / CHECKPOINT)
    if saved is None:
        raise SystemExit("the run left no checkpoint")
    label = record.students[0].label
    header = weights.load(folder / "run" / "students" / f"{label}.safetensors", {}).header
    size = header.image_size
    if size is None:
        raise SystemExit("the student's file does not say its image size")
    spec = StudentSpec.parse(asked.student).model
    chosen = Format(**manifest.choices[f"format of {spec}"])
    batch_size = manifest.config["batch_size"]
    images = record.train_images + record.val_images + record.test_images
    return FootprintRecord(
        command=command,
        data=record.data,
        teacher=record.teacher.name,
        student=str(spec),
        learners=len(saved["learners"]),
        batch_size=batch_size,
        threads=manifest.choices["threads"],
        format=str(chosen),
        images_bytes=images * CHANNELS * size**2,
        weights_bytes=sum(map(learner_bytes, saved["learners"])),
        activations_bytes=activation_bytes(
            spec,
            chosen,
            classes=len(header.class_names or ()),
            image_size=size,
            batch_size=batch_size,
        ),
        imports_bytes=imported,
        begun_bytes=told["begun_bytes"],
        trained_bytes=told["trained_bytes"],
        peak_bytes=told["peak_bytes"],
        first_step_seconds=median(starts),
        imports_seconds=median(one["seconds"] for one in bare),
        starts=asked.starts,
        disturbed=disturbed,
        environment=read_environment(),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, show and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--teacher", required=True, help="as for `compress distill`")
    parser.add_argument("--student", default="small_cnn")
    parser.add_argument("--starts", type=int, default=STARTS, help="until the first step; median")
    parser.add_argument("--folder", type=Path, help="of the run and its cache, kept")
    parser.add_argument("--name", help="of the record; the student's")
    parser.add_argument("--out", type=Path, help="the record; benchmarks/records/…")
    asked = parser.parse_args(arguments)
    places = {str(asked.data_dir): "DATA", str(asked.folder): "FOLDER"}
    words = sys.argv[1:] if arguments is None else arguments
    shown = " ".join(places.get(word, Path(word).name if "/" in word else word) for word in words)
    command = f"python benchmarks/run_footprint.py {shown}"
    if asked.folder:
        asked.folder.mkdir(parents=True, exist_ok=True)
    with nullcontext(asked.folder) if asked.folder else tempfile.TemporaryDirectory() as folder:
        record = measured(asked, Path(folder), command)
    name = asked.name or asked.student.partition(":")[0]
    out = asked.out or RECORDS / f"run_footprint-{name}.json"
    write_text(out, record.to_json())
    mib = 2**20
    for what in SHOWN:
        print(f"{what:12} {getattr(record, f'{what}_bytes') / mib:8.1f} MiB")
    print(f"memory above imports / needed {record.memory_ratio:.2f}, at most {MEMORY_LIMIT}")
    seconds = record.first_step_seconds
    print(f"first step after {seconds:.2f} s, at most {BEGIN_LIMIT_SECONDS:g}; ", end="")
    print(f"its imports alone {record.imports_seconds:.2f} s: medians of {record.starts}")
    if record.disturbed:
        print("others used the processor: these times are no measurement")
    print(f"{record.student} in {record.format}, {record.threads} threads; written to {out}")
    return 0 if record.met and not record.disturbed else 1


if __name__ == "__main__":
    sys.exit(main())
