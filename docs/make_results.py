"""Write docs/results.md from benchmarks/records/: `python docs/make_results.py`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import recipe_aims
from recipe_aims import Header

from compress.files import write_text
from compress.records.distill import DistillRecord, EnsembleRow, StudentRow, SummaryRow
from compress.records.document import Environment
from compress.records.recipe import RecipeRecord
from compress.render.gains import gain_of_ensemble, gain_of_row, gain_over_seeds
from compress.render.numbers import (
    ABSENT,
    amount,
    duration,
    mean_and_sd,
    percent,
    percent_range,
)
from compress.render.tables.distill import (
    LESSONS,
    begun,
    chance,
    images_and_epochs,
    judged_gains,
    kept_epoch,
    teacher_range,
)

DOCS = Path(__file__).parent
RECORDS = DOCS.parent / "benchmarks" / "records"
PAGE = DOCS / "results.md"
HEAD = """\
# Results

Written by `python docs/make_results.py` from the records in `benchmarks/records/`; do not edit it
by hand. `python benchmarks/run_recipes.py` makes the records, one recipe after another.

How to read them:

* Accuracies are top-1 in per cent of the test images, which a run looks at once, at its end. What a
  later run tries was chosen knowing the figures of earlier ones, on the same images. The epoch is
  the one with the best validation accuracy, if nothing else is said; *last* is the last epoch.
* *no KD* is the control: the same student on the same batches, without a teacher. *KD gain* is the
  difference to it in points, paired by image and seed.
* n is the number of seeds. With one, ranges are 95% intervals over test images (Wilson's; for
  gains, of the paired difference). With several, ± is the standard deviation over seeds, and the
  range of a gain holds both 95% errors added in quadrature: Student's over seeds and that of the
  paired difference over images. *within noise* says that the range holds 0; of two seeds, that
  they *cannot tell*.
"""
NO_GPU = "None of the records is of a GPU: none was available so far."
NOTHING = "None of the recipes has a record yet."
Row = Sequence[str]


def read_records(folder: Path) -> list[RecipeRecord]:
    """The records of recipes in a folder, by recipe and name; other records are passed over."""
    found = []
    for path in sorted(folder.glob("*.json")):
        data = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(data, dict) and {"recipe", "commands", "result"} <= data.keys():
            found.append(RecipeRecord.from_data(data, source=path.name))
    return sorted(found, key=lambda record: (record.recipe, record.changes != "", record.name))


def table(heads: Row, rows: Sequence[Row]) -> list[str]:
    """A Markdown table, numbers to the right."""
    lines = [f"| {' | '.join(heads)} |", "|---|" + "---:|" * (len(heads) - 1)]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows), ""]


def name_of(label: str, role: str) -> str:
    """A student's label, with what it is where it had no teacher."""
    return f"{label}, no KD" if role == "control" else label


def _of_seeds(row: SummaryRow) -> Row:
    return (
        name_of(row.label, row.role),
        str(row.seeds),
        mean_and_sd(row.top1_mean, row.top1_sd),
        mean_and_sd(row.last_top1_mean, row.last_top1_sd),
        str(gain_over_seeds(row)),
    )


def _of_one(row: StudentRow, *, alone: bool) -> Row:
    return (
        name_of(row.label, row.role),
        "1",
        f"{percent(row.top1)} ({percent_range(row.top1_low, row.top1_high)})",
        percent(row.last_top1),
        str(gain_of_row(row, alone=alone)),
    )


def headlines(result: DistillRecord) -> list[Row]:
    """One row per student and control: label, n, top-1, last epoch, KD gain."""
    if result.summary:
        return [_of_seeds(row) for row in result.summary]
    return [_of_one(row, alone=result.one_seed) for row in result.students]


def overview(records: Sequence[RecipeRecord]) -> list[str]:
    """One table over all records."""
    rows: list[Row] = []
    for record in records:
        result = record.result
        run = f"[{record.name}](#{record.name})"
        teacher = f"{result.teacher.name} {percent(result.teacher.top1)}"
        last = all(row.select == "last" for row in result.students)
        epochs = f"{result.epochs}, the last kept" if last else str(result.epochs)
        if result.initial_weights is not None:
            epochs += f"; begun with {Path(result.initial_weights).name}"
        rows += [
            (run, teacher, label, epochs, n, top1, gained)
            for label, n, top1, _, gained in headlines(result)
        ]
    heads = ("run", "teacher", "student", "epochs", "n", "test top-1", "KD gain")
    return ["## At a glance", "", *table(heads, rows)]


def aimed_at(records: Sequence[RecipeRecord], headers: Mapping[str, Header]) -> list[str]:
    """Figures of the origins and of ours to be reached, and whether they were."""
    rows = recipe_aims.rows(records, headers)
    if not rows:
        return []
    lines = ["## What was aimed at", "", recipe_aims.INTRODUCTION, ""]
    return [*lines, *table(recipe_aims.HEADS, rows)]


def machine(environment: Environment) -> str:
    """The machine and the versions behind a record, in a line."""
    where = environment.accelerator or (
        f"{environment.cores} cores of {environment.cpu} "
        f"({', '.join(environment.instruction_sets)})"
    )
    versions = ", ".join(
        f"{name} {environment.packages[name]}"
        for name in ("compress-edge", "torch")
        if name in environment.packages
    )
    return f"{where}; {environment.system}, Python {environment.python}, {versions}"


def _teacher(record: RecipeRecord) -> str:
    teacher, own = record.result.teacher, record.teacher
    text = (
        f"Teacher: {teacher.name}, {percent(teacher.top1)} (validation "
        f"{percent(teacher.val_top1)}), {amount(teacher.parameters)} parameters, "
        f"{amount(teacher.macs)} MACs; "
    )
    if len(teacher.weights_sha256) == 1:
        text += f"sha256 {teacher.weights_sha256[0][:16]}…; "
    if own is not None:
        last = ", the last of which is kept" if own.models[0].select == "last" else ""
        return text + f"trained in {own.epochs} epochs{last} and {duration(own.seconds)}."
    if teacher.foreign:
        return text + (
            "from outside: it may have been trained on the validation images, whose top-1 then "
            "favours students that imitate it."
        )
    return text + "trained before, on the same split."


def _teacher_row(record: RecipeRecord) -> Row:
    teacher, own = record.result.teacher, record.teacher
    model = own.models[0] if own is not None else None
    train_top1 = teacher.train_top1 if model is None else model.train_top1
    return (
        f"{teacher.name}, teacher",
        f"{percent(teacher.top1)} ({percent_range(*teacher_range(record.result))})",
        percent(None if model is None else model.last_top1),
        *(percent(teacher.val_top1), percent(train_top1)),
        *(ABSENT, ABSENT, percent(teacher.ece)),
        *(amount(teacher.parameters), amount(teacher.macs)),
        ABSENT if own is None else duration(own.seconds),
    )


def _details(record: RecipeRecord) -> list[str]:
    heads = [
        *("model", "test", "last", "validation", "train", "KD gain", "agrees", "ECE"),
        *("parameters", "MACs", "time"),
    ]
    result = record.result
    rows = [
        (
            name_of(row.label, row.role),
            f"{percent(row.top1)} ({percent_range(row.top1_low, row.top1_high)})",
            *(percent(value) for value in (row.last_top1, row.val_top1, row.train_top1)),
            str(gain_of_row(row, alone=result.one_seed)),
            *(percent(row.agreement), percent(row.ece)),
            *(amount(row.parameters), amount(row.macs), duration(row.seconds)),
        )
        for row in result.students
    ]
    return table(heads, [_teacher_row(record), *rows])


def _ensembles(rows: Sequence[EnsembleRow]) -> list[str]:
    if not rows:
        return []
    heads = ("ensemble", "members", "test top-1", "members' mean", "gain")
    return table(
        heads,
        [
            (
                row.label,
                str(row.members),
                f"{percent(row.top1)} ({percent_range(row.top1_low, row.top1_high)})",
                percent(row.mean_member_top1),
                str(gain_of_ensemble(row)),
            )
            for row in rows
        ],
    )


def section(record: RecipeRecord, header: Header | None) -> list[str]:
    """One record: what was run, on what, and everything that came of it."""
    result, about = record.result, None if header is None else header.about
    whole = "The recipe as it is." if not record.changes else f"The recipe with `{record.changes}`."
    lines = [f"## {record.name}", "", f"{about.summary if about else record.recipe}. {whole}", ""]
    if about is not None:
        of = " of the recipe as it is" if record.changes else ""
        lines += [f"* Source: {about.source}", f"* Expected{of}: {about.expected}"]
        lines += [f"* Found: {about.finding}"] if about.finding else []
    lines += [
        f"* {result.data}: {images_and_epochs(result)}; {LESSONS[result.soft_labels]}; "
        f"{duration(result.seconds)}"
    ]
    if any(row.select == "last" for row in result.students):
        lines += [f"* Top-1 is {kept_epoch(result.students)}"]
    lines += [f"* {machine(result.environment)}"]
    lines += [f"* {_teacher(record)}"]
    lines += [f"* Left out: {row}" for row in result.diverged]
    if record.remark:
        lines += [f"* Remark: {record.remark}"]
    lines += [f"* Record: [{record.name}.json](../benchmarks/records/{record.name}.json)", ""]
    lines += ["```console", *record.commands, "```", ""]
    if (RECORDS / f"{record.name}.png").is_file():
        lines += [f"![Learning curves](../benchmarks/records/{record.name}.png)", ""]
    if result.summary:
        heads = ("over seeds", "n", "test top-1", "last epoch", "KD gain")
        lines += table(heads, headlines(result))
    said = [*chance(judged_gains(result)), *begun(result)]
    caveat = [part for line in said for part in (line, "")]
    return [*lines, *_details(record), *caveat, *_ensembles(result.ensembles)]


def left(records: Sequence[RecipeRecord], headers: Mapping[str, Header]) -> list[str]:
    """The recipes that were not yet run whole."""
    whole = {record.recipe for record in records if not record.changes}
    rows = [
        (f"`{name}`", header.about.summary, header.about.expected)
        for name, header in sorted(headers.items())
        if name not in whole
    ]
    if not rows:
        return []
    on_gpu = any(record.result.environment.accelerator for record in records)
    lines = ["## Not yet run whole", "", *([] if on_gpu else [NO_GPU, ""])]
    lines += ["| recipe | | expected |", "|---|---|---|"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows), ""]


def page(records: Sequence[RecipeRecord], headers: Mapping[str, Header]) -> str:
    """The whole page as Markdown.

    Args:
        records: Of recipes, in order.
        headers: Of every recipe, by name.
    """
    lines = [HEAD]
    lines += overview(records) if records else [NOTHING, ""]
    lines += aimed_at(records, headers)
    for record in records:
        lines += section(record, headers.get(record.recipe))
    return "\n".join([*lines, *left(records, headers)]).rstrip() + "\n"


if __name__ == "__main__":
    write_text(PAGE, page(read_records(RECORDS), recipe_aims.headers()))
