"""The manifest of an exported artifact: every file by content, and what was measured of it."""

from collections.abc import Iterable
from typing import ClassVar, Literal

from compress.records.document import Document, Part
from compress.records.model_card import ModelCard, Precision, Role, Target

FileKind = Literal["onnx", "ort", "labels", "golden", "readme"]


class ArtifactFile(Part):
    """One file of an artifact.

    Attributes:
        kind: What it is for.
        precision: Of a model file.
        sha256: Of the content, in hex.
        size_bytes: Its length.
        opset: Version of the standard operators of a model file, read back from it.
        ir_version: Of the ONNX format, read back from it.
        oldest_onnxruntime: The first release that reads it.
    """

    kind: FileKind
    precision: Precision | None = None
    sha256: str
    size_bytes: int
    opset: int | None = None
    ir_version: int | None = None
    oldest_onnxruntime: str | None = None


class Fidelity(Part):
    """How one form of a model answers compared with the form it was made from, image by image.

    Attributes:
        precision: The form.
        reference: What it is compared with: the torch model, or the fp32 graph.
        split: Where the images come from.
        images: How many.
        max_difference: Largest absolute difference of a logit.
        agreement: Share of images with the same top-1.
        top1: Share of images classified right; None without labels.
        reference_top1: The same for the reference.
        drop: reference_top1 minus top1.
        drop_low: Lower end of its 95% interval, paired over images.
        drop_high: Upper end.
        sqnr_db: Signal to quantization noise of the logits, in decibels.
        unsaturated: Whether it ran with this CPU's saturation switched off, as the target computes.
    """

    precision: Precision
    reference: Literal["torch", "fp32"]
    split: Literal["test", "validation"]
    images: int
    max_difference: float
    agreement: float
    top1: float | None = None
    reference_top1: float | None = None
    drop: float | None = None
    drop_low: float | None = None
    drop_high: float | None = None
    sqnr_db: float | None = None
    unsaturated: bool = False


class Calibration(Part):
    """The images the int8 scales were taken from.

    Attributes:
        method: How a range becomes a scale.
        split: Never test.
        images: How many.
        sha256: Over their pixels and labels.
    """

    method: Literal["minmax"] = "minmax"
    split: Literal["train"] = "train"
    images: int
    sha256: str


class LayerNoise(Part):
    """How much one layer's quantization disturbs the logits, alone.

    Attributes:
        layer: Name of the convolution or linear layer.
        sqnr_db: Of the logits when only this layer is quantized, in decibels.
    """

    layer: str
    sqnr_db: float


class Quantization(Part):
    """What was done to reach int8, and whether it is really there.

    Attributes:
        target: The CPUs it is for.
        weight_bits: 7 where full range would saturate somewhere, else 8.
        layers: Convolutions and linear layers of the graph.
        float_layers: Those computed in float in the optimized graph, by name.
        kept_float: Those left in float on purpose, most sensitive first.
        bound: Largest accuracy drop allowed, a fraction.
        validation: The measurement the choice was made with.
        noise: Per layer, most sensitive first, where it had to be measured.
        usable: Whether the int8 form is part of the artifact.
        reason: Why it is not.
    """

    target: Target
    weight_bits: int
    layers: int
    float_layers: tuple[str, ...] = ()
    kept_float: tuple[str, ...] = ()
    bound: float
    validation: Fidelity | None = None
    noise: tuple[LayerNoise, ...] = ()
    usable: bool = True
    reason: str | None = None


class ProviderFit(Part):
    """What ONNX Runtime's own tool says of a mobile accelerator for one form.

    Attributes:
        precision: The form.
        provider: "NNAPI", "CoreML NeuralNetwork" or "CoreML MLProgram".
        nodes: Operators of the graph.
        supported_nodes: Those the provider takes.
        partitions: Connected pieces it would run.
        verdict: "yes" when nearly all of it runs in one piece, "maybe", or "no".
        unsupported: Operator types that keep nodes off it.
    """

    precision: Precision
    provider: str
    nodes: int
    supported_nodes: int
    partitions: int
    verdict: Literal["yes", "maybe", "no"]
    unsupported: tuple[str, ...] = ()


OWN_KEYS = frozenset({"label", "card", "files"})
"""What tells an artifact's manifest, beside its schema, from other programs' of the same name."""


def of_an_artifact(keys: Iterable[str]) -> bool:
    """Whether a manifest with these keys is an artifact's, of any schema, whole or not."""
    found = frozenset(keys)
    return "schema" in found and not found.isdisjoint(OWN_KEYS)


class ArtifactManifest(Document):
    """What an artifact folder holds, where it came from, and what was measured.

    It holds no times, paths or machine names, so the same export gives the same bytes.

    Attributes:
        label: The model's name in tables.
        role: What it was in its run.
        run: Id of the run, or None for a weights file.
        card: Of the fp32 graph.
        files: Every file of the folder but this one, by name.
        parents: sha256 of what it was made from: weights, run, and the data's splits.
        calibration: The images int8 was calibrated with.
        fidelity: Of each form, on real images.
        quantization: How int8 was reached.
        providers: Fit for mobile accelerators.
        tools: Versions of the packages that made it.
        licence: Of the weights, as far as known.
        data_note: What is known of the data's origin and terms.
    """

    newest_schema: ClassVar[int] = 1

    label: str
    role: Role
    run: str | None = None
    card: ModelCard
    files: dict[str, ArtifactFile]
    parents: dict[str, str] = {}
    calibration: Calibration | None = None
    fidelity: tuple[Fidelity, ...] = ()
    quantization: Quantization | None = None
    providers: tuple[ProviderFit, ...] = ()
    tools: dict[str, str] = {}
    licence: str
    data_note: str

    def measured(self, precision: Precision) -> Fidelity | None:
        """The comparison of one form, if it was made."""
        return next((item for item in self.fidelity if item.precision == precision), None)

    def top1(self, precision: Precision) -> float | None:
        """A form's top-1 on the most images it was measured with; None without labels.

        fp32 is compared with torch on some images, and with int8 or fp16 on all.
        """
        if precision == "fp32":
            for item in self.fidelity:
                if item.reference == "fp32":
                    return item.reference_top1
        found = self.measured(precision)
        return found.top1 if found else None
