"""The README of an artifact, for the engineer who puts it on a device."""

from collections.abc import Sequence
from string import Template

from compress.measure.artifact import MODEL_FILES
from compress.records.artifact import ArtifactManifest, Fidelity, Quantization
from compress.records.model_card import PRECISIONS, ModelCard, Precision

TEMPLATE = Template("""\
# $label

$what

$files

Every file's sha256 is in `manifest.json`. Prove on the device that it answers as it did here, with
`compress` installed there (from a checkout of it: `pip install .`, without PyTorch):

    compress check .

## Input and output

$input

$output

## Python

Needs `onnxruntime`, `numpy` and `pillow`. `python classify.py picture.png`; without a picture it
classifies the first golden image.

```python
$python```

## C++

Needs the C++ API of ONNX Runtime $oldest or newer (`-lonnxruntime`). `classify image.raw` reads
$raw.

```cpp
$cpp```
$quantization
## Fit for accelerators

As `onnxruntime.tools` sees it; measure on the device before you rely on it.

$providers

## Where it comes from

$origin
""")

PYTHON = Template("""\
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

SIZE = $size
session = onnxruntime.InferenceSession("$file", providers=["CPUExecutionProvider"])
with open("labels.txt", encoding="utf-8") as lines:
    labels = lines.read().splitlines()

if len(sys.argv) > 1:
    picture = ImageOps.exif_transpose(Image.open(sys.argv[1]))
    if picture.mode.startswith("I;16"):
        picture = Image.fromarray((np.asarray(picture).astype(np.uint16) >> 8).astype(np.uint8))
    picture = picture.convert("RGB")
    width, height = (max(SIZE, side * SIZE // min(picture.size)) for side in picture.size)
    picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - SIZE) // 2, (height - SIZE) // 2
    picture = picture.crop((left, top, left + SIZE, top + SIZE))
    image = np.asarray(picture, dtype=np.uint8)[np.newaxis]
${normalise}else:
    image = np.load("golden.npz")["input"][:1]

$answer
""")

NORMALISE = Template("""\
    mean, std = np.float32($mean), np.float32($std)
    image = ((image / np.float32(255) - mean) / std).transpose(0, 3, 1, 2).astype(np.float32)
""")

PYTHON_ANSWERS = {
    "logits": """\
logits = session.run(None, {"image": image})[0][0]
probabilities = np.exp(logits - logits.max())
probabilities /= probabilities.sum()
for k in np.argsort(-probabilities)[:5]:
    print(f"{probabilities[k]:.3f} {labels[k]}")""",
    "softmax": """\
probabilities = session.run(None, {"image": image})[0][0]
for k in np.argsort(-probabilities)[:5]:
    print(f"{probabilities[k]:.3f} {labels[k]}")""",
    "top-k": """\
probabilities, classes = session.run(None, {"image": image})
for probability, k in zip(probabilities[0], classes[0]):
    print(f"{probability:.3f} {labels[k]}")""",
}

CPP = Template("""\
#include <onnxruntime_cxx_api.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <vector>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  std::vector<$type> image($elements);
  std::ifstream file(argv[1], std::ios::binary);
  const auto bytes = static_cast<std::streamsize>(image.size() * sizeof(image[0]));
  if (!file.read(reinterpret_cast<char*>(image.data()), bytes)) return 3;

  Ort::Env env(ORT_LOGGING_LEVEL_WARNING, "classify");
  Ort::SessionOptions options;
  options.SetIntraOpNumThreads(1);
  Ort::Session session(env, "$file", options);

  const std::array<int64_t, 4> shape{$shape};
  const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  const Ort::Value input = Ort::Value::CreateTensor<$type>(
      memory, image.data(), image.size(), shape.data(), shape.size());
  const char* inputs[] = {"image"};
  const char* outputs[] = {$outputs};
  const auto answers = session.Run(Ort::RunOptions{nullptr}, inputs, &input, 1, outputs, $count);
$answer
  return 0;
}
""")

CPP_BEST = Template("""\
  const float* $name = answers[0].GetTensorData<float>();
  int best = 0;
  for (int k = 1; k < $classes; ++k)
    if ($name[k] > $name[best]) best = k;
  std::printf("%d %g\\n", best, $name[best]);""")

CPP_TOP_K = """\
  const float* probabilities = answers[0].GetTensorData<float>();
  const int64_t* classes = answers[1].GetTensorData<int64_t>();
  std::printf("%d %g\\n", static_cast<int>(classes[0]), probabilities[0]);"""


def readme(manifest: ArtifactManifest) -> str:
    """The text, made of nothing but the manifest.

    Args:
        manifest: Of the artifact; its own README need not be listed yet.
    """
    card = manifest.card
    best = shipped(manifest)
    oldest = manifest.files[MODEL_FILES[best]].oldest_onnxruntime or ""
    pixels = card.image_size**2 * card.channels
    kind = "RGB bytes, row by row" if _takes_pixels(card) else "normalised floats, plane by plane"
    return TEMPLATE.substitute(
        label=manifest.label,
        what=_what(manifest),
        files=_table(_file_rows(manifest)),
        input=_input(card),
        output=_output(card),
        python=python_snippet(card, MODEL_FILES[best]),
        cpp=cpp_snippet(card, MODEL_FILES[best]),
        oldest=oldest,
        raw=f"{pixels:,} {kind}",
        quantization=_quantization(manifest.quantization, manifest.fidelity),
        providers=_table(_provider_rows(manifest)),
        origin=_origin(manifest),
    )


def shipped(manifest: ArtifactManifest) -> Precision:
    """The form a device would take: int8 where there is one."""
    held = [p for p in PRECISIONS if MODEL_FILES[p] in manifest.files]
    return "int8" if "int8" in held else held[0]


def python_snippet(card: ModelCard, file: str) -> str:
    """A complete program that classifies one picture.

    Args:
        card: Of the model.
        file: Name of the model file beside it.
    """
    normalise = ""
    if not _takes_pixels(card):
        mean, std = list(card.mean or ()), list(card.std or ())
        normalise = NORMALISE.substitute(mean=mean, std=std)
    return PYTHON.substitute(
        size=card.image_size, file=file, normalise=normalise, answer=PYTHON_ANSWERS[card.output]
    )


def cpp_snippet(card: ModelCard, file: str) -> str:
    """The same in C++, for an image that is already of the right size."""
    size, channels = card.image_size, card.channels
    pixels = _takes_pixels(card)
    top_k = card.output == "top-k"
    name = "logits" if card.output == "logits" else "probabilities"
    answer = CPP_TOP_K if top_k else CPP_BEST.substitute(name=name, classes=card.classes)
    return CPP.substitute(
        type="uint8_t" if pixels else "float",
        elements=f"{size} * {size} * {channels}",
        shape=f"1, {size}, {size}, {channels}" if pixels else f"1, {channels}, {size}, {size}",
        outputs='"probabilities", "classes"' if top_k else f'"{name}"',
        count=2 if top_k else 1,
        file=file,
        answer=answer,
    )


def _takes_pixels(card: ModelCard) -> bool:
    return card.input_layout == "uint8-nhwc"


def _what(manifest: ArtifactManifest) -> str:
    card = manifest.card
    data = f"the folder {card.dataset}" if card.dataset_kind == "folder" else card.dataset
    return (
        f"{card.architecture} for {card.classes} classes of {data}, "
        f"{card.image_size}x{card.image_size} pixels; {card.parameters:,} parameters, "
        f"{card.macs:,} multiply-accumulates an image. `labels.txt` names the classes in order."
    )


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    rule = "|" + "---|" * len(rows[0])
    return "\n".join([lines[0], rule, *lines[1:]])


def _file_rows(manifest: ArtifactManifest) -> list[list[str]]:
    rows = [["file", "bytes", "top-1", "agrees with", "ONNX Runtime"]]
    for name, file in manifest.files.items():
        measured = manifest.measured(file.precision) if file.precision else None
        top1 = agreement = ""
        if measured is not None:
            share = manifest.top1(measured.precision)
            top1 = "" if share is None else f"{100 * share:.2f}%"
            agreement = f"{measured.reference} on {100 * measured.agreement:.2f}%"
        oldest = f"{file.oldest_onnxruntime} or newer" if file.oldest_onnxruntime else ""
        rows.append([f"`{name}`", f"{file.size_bytes:,}", top1, agreement, oldest])
    return rows


def _input(card: ModelCard) -> str:
    batch = "any number of images" if card.batch == "dynamic" else "one image"
    size, channels = card.image_size, card.channels
    if _takes_pixels(card):
        return (
            f"`image`: uint8 ({batch}, {size}, {size}, {channels}), RGB from 0 to 255 as a camera "
            "gives them; the normalisation is in the graph. Scale the shorter side of a picture "
            f"to {size} pixels (bilinear) and cut out the middle."
        )
    return (
        f"`image`: float32 ({batch}, {channels}, {size}, {size}), RGB from 0 to 1, minus "
        f"{list(card.mean or ())}, divided by {list(card.std or ())}."
    )


def _output(card: ModelCard) -> str:
    if card.output == "logits":
        return f"`logits`: float32 (images, {card.classes}); softmax makes probabilities of them."
    if card.output == "softmax":
        return f"`probabilities`: float32 (images, {card.classes})."
    shape = f"(images, {card.top_k})"
    return f"`probabilities`: float32 {shape}, best first; `classes`: int64 {shape}, their numbers."


def _quantization(found: Quantization | None, fidelity: Sequence[Fidelity]) -> str:
    if found is None:
        return ""
    if not found.usable:
        return f"\n## No int8\n\nThere is no int8 form: {found.reason}.\n"
    texts = {
        "portable": "Weights keep 7 bits, so that no CPU saturates: every convolution gives the "
        "same integers on x86 and ARM. Residual adds may differ by a step on a few images.",
        "vnni": "Weights keep 8 bits, for x86 with VNNI. On x86 without it, sums saturate and "
        "answers are wrong: open the session with `session.x64quantprecision` = `1` there.",
        "arm64": "Weights keep 8 bits, for arm64. On x86 without VNNI, sums saturate and answers "
        "are wrong: open the session with `session.x64quantprecision` = `1` there.",
    }
    lines = ["\n## int8", "", texts[found.target], ""]
    lines += [
        f"Against fp32 on the same {item.images} test images: {100 * item.drop:+.2f} points of "
        f"top-1 lost, {100 * item.agreement:.2f}% the same answer."
        for item in fidelity
        if item.precision == "int8" and item.drop is not None
    ]
    if found.kept_float:
        lines.append(f"Kept in float: {', '.join(found.kept_float)}.")
    return "\n".join(lines) + "\n"


def _provider_rows(manifest: ArtifactManifest) -> list[list[str]]:
    rows = [["form", "provider", "fits", "operators taken", "pieces"]]
    for fit in manifest.providers:
        taken = f"{fit.supported_nodes} of {fit.nodes}"
        rows.append([fit.precision, fit.provider, fit.verdict, taken, str(fit.partitions)])
    return rows


def _origin(manifest: ArtifactManifest) -> str:
    tools = ", ".join(f"{name} {version}" for name, version in manifest.tools.items())
    lines = [f"- run: {manifest.run}"] if manifest.run else []
    lines += [f"- {name}: sha256 {digest}" for name, digest in manifest.parents.items()]
    if manifest.calibration is not None:
        found = manifest.calibration
        lines.append(f"- int8 ranges: {found.images} training images, sha256 {found.sha256}")
    lines += [
        f"- made with {tools}",
        f"- licence of the weights: {manifest.licence}",
        f"- data: {manifest.data_note}",
    ]
    return "\n".join(lines)
