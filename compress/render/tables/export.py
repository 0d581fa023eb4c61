"""The result of `compress export` as tables: forms, int8, accelerators."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from compress.measure.artifact import MODEL_FILES
from compress.records.artifact import ArtifactManifest, Fidelity
from compress.records.export import ExportRecord, ExportRow
from compress.records.model_card import PRECISIONS, Precision
from compress.render.numbers import ABSENT, duration, percent, size
from compress.render.tables.fitting import FirstThatFits, Row, grid

NOTES = (
    "Top-1 in per cent; what was lost in points, on the same test images for both sides; ranges "
    "are 95% intervals, paired by image. fp32 is compared with torch (1,000 images at most), the "
    "other forms with fp32."
)


def table(record: ExportRecord) -> RenderableType:
    """Every form of every artifact, what int8 took, and which accelerators take them."""
    parts: list[RenderableType] = [
        FirstThatFits(_forms(record, wide=True), _forms(record, wide=False)),
        Text(NOTES, style="dim"),
        *[Text(line) for row in record.artifacts for line in _int8_lines(row.manifest)],
        *[
            Text(f"{row.manifest.label}: {problem}", style="bold red")
            for row in record.artifacts
            for problem in row.problems
        ],
        _providers(record),
        *[
            Text(f"{row.folder}  ({duration(row.seconds)})", overflow="fold")
            for row in record.artifacts
        ],
    ]
    return Group(*parts)


def _forms(record: ExportRecord, *, wide: bool) -> RenderableType:
    heads = ["", "form", "size", "of\nfp32", "test\ntop-1", "lost\npoints", "agrees\n%"]
    more = ["max\n|Δlogit|", "SQNR\ndB", "images"]
    rows: list[Row] = []
    for one in record.artifacts:
        for precision in _shipped(one.manifest):
            cells = _cells(one, precision, wide=wide)
            rows.append(cells if wide else cells[: len(heads)])
    return grid(heads + more if wide else heads, rows, left=2)


def _shipped(manifest: ArtifactManifest) -> list[Precision]:
    return [precision for precision in PRECISIONS if MODEL_FILES[precision] in manifest.files]


def _cells(row: ExportRow, precision: Precision, *, wide: bool) -> list[str]:
    manifest = row.manifest
    held = manifest.files[MODEL_FILES[precision]].size_bytes
    whole = manifest.files[MODEL_FILES["fp32"]].size_bytes
    found = manifest.measured(precision)
    label = manifest.label if precision == "fp32" else ""
    share = ABSENT if precision == "fp32" else f"{held / whole:.2f}x"
    if found is None:
        return [label, precision, size(held), share, *[ABSENT] * 6]
    return [
        label,
        precision,
        size(held),
        share,
        percent(manifest.top1(precision)),
        _lost(found, joint="  " if wide else "\n"),
        percent(found.agreement),
        f"{found.max_difference:.1e}",
        ABSENT if found.sqnr_db is None else f"{found.sqnr_db:.1f}",
        f"{found.images:,}",
    ]


def _lost(found: Fidelity, *, joint: str) -> str:
    """What was lost, with its interval."""
    if found.drop is None or found.drop_low is None or found.drop_high is None:
        return ABSENT
    between = f"{percent(found.drop_low)} to {percent(found.drop_high)}"
    return joint.join([percent(found.drop), between])


def _int8_lines(manifest: ArtifactManifest) -> list[str]:
    """What int8 took, for one artifact."""
    found = manifest.quantization
    if found is None:
        return []
    if not found.usable:
        noisiest = ", ".join(f"{item.layer} {item.sqnr_db:.1f} dB" for item in found.noise)
        return [f"{manifest.label} noise by layer: {noisiest}"] if noisiest else []
    images = manifest.calibration.images if manifest.calibration else 0
    line = (
        f"{manifest.label} int8: {found.target}, {found.weight_bits}-bit weights, "
        f"{images} calibration images, {len(found.float_layers)} of {found.layers} layers in float"
    )
    if found.kept_float:
        line += f" ({', '.join(found.kept_float)})"
    unsaturated = any(item.unsaturated for item in manifest.fidelity)
    return [line + ("; run without saturation, latency not measured here" if unsaturated else "")]


def _providers(record: ExportRecord) -> RenderableType:
    """Verdict by accelerator, one row per form."""
    manifests = [row.manifest for row in record.artifacts]
    names = list(dict.fromkeys(fit.provider for one in manifests for fit in one.providers))
    if not names:
        return Text("")
    rows: list[Row] = []
    for manifest in manifests:
        for precision in _shipped(manifest):
            fits = {f.provider: f for f in manifest.providers if f.precision == precision}
            cells = [
                f"{fits[name].verdict} {fits[name].supported_nodes}/{fits[name].nodes}"
                if name in fits
                else ABSENT
                for name in names
            ]
            rows.append([manifest.label if precision == "fp32" else "", precision, *cells])
    heads: Sequence[str] = ["", "form", *[name.replace(" ", "\n") for name in names]]
    return grid(heads, rows, left=2, title="Fit for accelerators (operators taken)")
