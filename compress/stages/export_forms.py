"""Makes the forms of one model (fp32, fp16, int8) and proves each on real images."""

from dataclasses import dataclass, field

import numpy as np
from onnx import ModelProto

from compress import evaluate, runtime
from compress.config.export import ExportConfig
from compress.data.images import ImageSet, Splits, stratify
from compress.errors import ConfigError, InputError, UnusableError
from compress.graph import half, parity, quantize
from compress.graph.providers import provider_fit
from compress.graph.write import add_head, bytes_moved, layers, seal, write_graph
from compress.progress import Progress
from compress.records.artifact import Calibration, Fidelity, ProviderFit, Quantization
from compress.records.model_card import ModelCard, Precision
from compress.stages import export_fidelity as measuring
from compress.stages.export_bound import Outcome, quantize_within
from compress.stages.export_sources import Source

CALIBRATION_SEED = 0


@dataclass
class Forms:
    """What was made of one model.

    Attributes:
        files: Sealed graphs by precision.
        cards: Their cards.
        fidelity: How each answers.
        providers: How each fits mobile accelerators.
        calibration: The images of int8.
        quantization: How int8 was reached.
        problems: Why a form that was asked for is not there.
    """

    files: dict[Precision, bytes] = field(default_factory=dict)
    cards: dict[Precision, ModelCard] = field(default_factory=dict)
    fidelity: list[Fidelity] = field(default_factory=list)
    providers: list[ProviderFit] = field(default_factory=list)
    calibration: Calibration | None = None
    quantization: Quantization | None = None
    problems: list[str] = field(default_factory=list)


class FormMaker:
    """Makes and measures the forms of one model.

    Args:
        source: The model.
        splits: Its images.
        config: What was asked for.
        progress: Told what happens.

    Raises:
        ConfigError: More top-k classes than there are, or too few images to calibrate.
        InputError: Images of one class only.
    """

    def __init__(
        self, source: Source, splits: Splits, config: ExportConfig, progress: Progress
    ) -> None:
        self.source, self.splits, self.config, self.progress = source, splits, config, progress
        if config.output == "top-k" and config.top_k > splits.classes:
            raise ConfigError(f"--top-k {config.top_k} is above the {splits.classes} classes")
        self.unsaturated = runtime.lacks_arithmetic(config.target)
        macs = source.macs(splits.image_size, splits.train.channels)
        self.card = self._card(macs)
        count = measuring.affordable(macs, measuring.TEST_MACS, least=measuring.PARITY_IMAGES)
        self.test = measuring.evenly(splits.test, count)
        held_out = splits.validation if splits.validation.count else splits.train
        count = measuring.affordable(macs, measuring.VALIDATION_MACS, least=500)
        self.validation = measuring.evenly(held_out, count)
        self.forms = Forms()
        self.calibration: ImageSet | None = None
        if "int8" in config.precision:
            self.calibration = calibration_images(
                splits.train,
                config.calibration_images,
                typed="calibration_images" in config.model_fields_set,
            )

    def make(self) -> Forms:
        """Every form that was asked for.

        Raises:
            UnusableError: The fp32 graph does not compute what torch computes.
        """
        splits, card = self.splits, self.card
        self.progress.start(f"writing {self.source.label}", total=1, unit="graph")
        graph = write_graph(
            self.source.classifier(card.input_layout),
            layout=card.input_layout,
            image_size=splits.image_size,
            channels=card.channels,
            batch=card.batch,
        )
        self.progress.finish()
        sealed = seal(graph, _with_bytes(card, graph, "fp32"))
        logits = measuring.answers(sealed, card, self.test, progress=self.progress)
        self._prove_fp32(logits)
        self._ship("fp32", graph, _with_bytes(card, graph, "fp32"))
        if "fp16" in self.config.precision:
            self._add_fp16(graph, logits)
        if self.calibration is not None:
            self._add_int8(graph, self.calibration, sealed, logits)
        return self.forms

    def _card(self, macs: int) -> ModelCard:
        source, splits, config = self.source, self.splits, self.config
        header = source.headers[0]
        return ModelCard(
            name=source.label,
            role=source.role,
            architecture=source.architecture,
            options=dict(header.options) if len(source.headers) == 1 else {},
            dataset=splits.name,
            dataset_kind=source.data_kind,
            dataset_sha256=splits.test.sha256,
            class_names=splits.class_names,
            image_size=splits.image_size,
            channels=splits.train.channels,
            mean=header.mean,
            std=header.std,
            input_layout=config.input,
            batch=config.batch,
            parameters=source.parameters,
            macs=macs,
            weights_sha256=source.weights_sha256,
        )

    def _prove_fp32(self, logits: measuring.Logits) -> None:
        """Compare the graph with torch, the judge of everything that follows."""
        rows = measuring.spread(self.test.count, measuring.PARITY_IMAGES)
        images = self.test.subset(rows)
        self.progress.start(f"torch beside {self.source.label}", total=1, unit="set")
        reference = parity.torch_logits(self.source.classifier("uint8-nhwc"), images.images[:])
        self.progress.finish()
        found = parity.compare(reference, logits[rows], source=self.source.label)
        self.forms.fidelity.append(
            measuring.fidelity(
                "fp32",
                reference=reference,
                given=logits[rows],
                labels=images.labels,
                against="torch",
                split="test",
            )
        )
        self.progress.note(
            f"{self.source.label}: fp32 equals torch on {found.images} test images "
            f"(largest difference {found.max_difference:.1e})"
        )

    def _ship(self, precision: Precision, graph: ModelProto, card: ModelCard) -> None:
        """Add the head that was asked for, check it, and keep the form."""
        config = self.config
        headed = add_head(graph, config.output, classes=self.splits.classes, top_k=config.top_k)
        top_k = config.top_k if config.output == "top-k" else None
        final = card.model_copy(update={"output": config.output, "top_k": top_k})
        data = seal(headed, final)
        if config.output != "logits":
            self._prove_head(seal(graph, card), card, data, final)
        self.forms.files[precision] = data
        self.forms.cards[precision] = final
        self.forms.providers += provider_fit(headed, precision)

    def _prove_head(
        self, plain: bytes, plain_card: ModelCard, data: bytes, card: ModelCard
    ) -> None:
        """The head must rank classes as the logits do."""
        images = measuring.evenly(self.test, measuring.NOISE_IMAGES).images[:]
        session = runtime.open_session(plain, unsaturated=self.unsaturated)
        logits = runtime.logits(session, plain_card, images)
        session = runtime.open_session(data, unsaturated=self.unsaturated)
        scores = runtime.logits(session, card, images)
        best = scores.argmax(axis=1)
        rows = np.arange(len(images))
        wanted = evaluate.log_softmax(logits)
        apart = float(np.abs(wanted[rows, best] - scores[rows, best]).max())
        if not (logits[rows, best] == logits.max(axis=1)).all() or apart > 1e-3:
            raise UnusableError(f"{card.name}: {card.output} does not follow from the logits")

    def _add_fp16(self, graph: ModelProto, reference: measuring.Logits) -> None:
        card = self.card.model_copy(update={"precision": "fp16"})
        converted = half.to_float16(graph)
        try:
            given = measuring.answers(seal(converted, card), card, self.test)
        except UnusableError as error:
            self.forms.problems.append(f"fp16 left out: {error.message}")
            return
        found = self._against_fp32("fp16", reference, given)
        if _certainly_above(found, self.config.max_quant_drop):
            self.forms.problems.append(f"fp16 left out: {_lost(found)}")
            return
        self.forms.fidelity.append(found)
        self._ship("fp16", converted, _with_bytes(card, graph, "fp16"))

    def _add_int8(
        self, graph: ModelProto, images: ImageSet, sealed: bytes, reference: measuring.Logits
    ) -> None:
        config, forms = self.config, self.forms
        calibrated = self._calibrate(graph, images)
        outcome = self._bounded(calibrated, sealed)
        forms.quantization = Quantization(
            target=config.target,
            weight_bits=quantize.WEIGHT_BITS[config.target],
            layers=len(layers(graph)),
            kept_float=outcome.kept,
            bound=config.max_quant_drop,
            validation=outcome.validation,
            noise=outcome.noise,
        )
        if outcome.model is None:
            self._refuse(
                f"{_lost(outcome.validation)} even with half of its layers in float",
                f"most sensitive: {', '.join(_noisy(outcome))}",
            )
            return
        card = self._int8_card(graph, outcome)
        data = seal(outcome.model, card)
        left, _ = quantize.float_layers(data)
        forms.quantization = forms.quantization.model_copy(update={"float_layers": tuple(left)})
        if sorted(left) != sorted(outcome.kept):
            unexpected = sorted(set(left) - set(outcome.kept)) or left
            self._refuse(
                f"{len(left)} layers stay in float on this CPU, {len(outcome.kept)} were meant to",
                ", ".join(unexpected),
            )
            return
        given = measuring.answers(
            data, card, self.test, unsaturated=self.unsaturated, progress=self.progress
        )
        found = self._against_fp32("int8", reference, given, unsaturated=self.unsaturated)
        forms.fidelity.append(found)
        if _certainly_above(found, config.max_quant_drop):
            self._refuse(_lost(found), "the validation images did not show it")
            return
        self._say_int8(found, outcome)
        self._ship("int8", outcome.model, card)

    def _calibrate(self, graph: ModelProto, images: ImageSet) -> quantize.Calibrated:
        """Measure ranges on training images drawn evenly from the classes."""
        self.forms.calibration = Calibration(images=images.count, sha256=images.sha256)
        self.progress.start("calibrating", total=1, unit="set")
        calibrated = quantize.calibrate(graph, runtime.prepare(images.images[:], self.card))
        self.progress.finish()
        return calibrated

    def _bounded(self, calibrated: quantize.Calibrated, sealed: bytes) -> Outcome:
        validation = self.validation
        reference = measuring.answers(sealed, self.card, validation, progress=self.progress)
        few = measuring.evenly(validation, measuring.NOISE_IMAGES)
        few_reference = measuring.answers(sealed, self.card, few)
        card = self.card.model_copy(update={"precision": "int8", "target": self.config.target})

        def given(model: ModelProto, images: ImageSet) -> measuring.Logits:
            return measuring.answers(seal(model, card), card, images, unsaturated=self.unsaturated)

        def measure(model: ModelProto) -> Fidelity:
            return measuring.fidelity(
                "int8",
                reference=reference,
                given=given(model, validation),
                labels=validation.labels,
                against="fp32",
                split="validation",
                unsaturated=self.unsaturated,
            )

        def noise(model: ModelProto) -> float:
            found = evaluate.sqnr_db(few_reference, given(model, few))
            return min(measuring.LOUDEST_DB, found)

        return quantize_within(
            calibrated,
            target=self.config.target,
            bound=self.config.max_quant_drop,
            measure=measure,
            noise=noise,
            progress=self.progress,
        )

    def _int8_card(self, graph: ModelProto, outcome: Outcome) -> ModelCard:
        if outcome.model is None:
            raise ValueError("no int8 graph to describe")
        return _with_bytes(self.card, graph, "int8").model_copy(
            update={
                "precision": "int8",
                "target": self.config.target,
                "quantized_adds": quantize.quantized_adds(outcome.model),
                "kept_float": len(outcome.kept),
                "logit_step": quantize.logit_step(outcome.model),
            }
        )

    def _against_fp32(
        self,
        precision: Precision,
        reference: measuring.Logits,
        given: measuring.Logits,
        *,
        unsaturated: bool = False,
    ) -> Fidelity:
        return measuring.fidelity(
            precision,
            reference=reference,
            given=given,
            labels=self.test.labels,
            against="fp32",
            split="test",
            unsaturated=unsaturated,
        )

    def _refuse(self, reason: str, detail: str) -> None:
        """Leave int8 out and say why; fp32 stays."""
        if self.forms.quantization is not None:
            self.forms.quantization = self.forms.quantization.model_copy(
                update={"usable": False, "reason": f"{reason}; {detail}"}
            )
        self.forms.problems.append(f"int8 left out: {reason} ({detail})")

    def _say_int8(self, found: Fidelity, outcome: Outcome) -> None:
        kept = f", {', '.join(outcome.kept)} kept in float" if outcome.kept else ""
        self.progress.note(
            f"{self.source.label}: int8 for {self.config.target} agrees with fp32 on "
            f"{found.agreement:.2%} of {found.images} test images{kept}"
        )
        if found.drop is not None and found.drop > self.config.max_quant_drop:
            self.progress.note(
                f"{self.source.label}: {_lost(found)}; the validation images stayed within "
                f"{100 * self.config.max_quant_drop:.2f}, and chance alone can do this"
            )
        if self.unsaturated:
            self.progress.note(
                f"this CPU has no VNNI: {self.config.target} int8 ran without saturation, as its "
                "target computes; its latency is not measured here"
            )


def calibration_images(train: ImageSet, count: int, *, typed: bool) -> ImageSet:
    """Training images for the int8 ranges, every class giving its share.

    Args:
        train: The training images.
        count: How many of them.
        typed: Whether somebody asked for so many; the default is all where there are fewer.

    Raises:
        ConfigError: More than there are, or too few for two classes.
        InputError: They are all of one class.
    """
    if count > train.count and typed:
        raise ConfigError(
            f"--calibration-images {count} is above the {train.count} training images",
            hint="leave it out to take all of them",
        )
    count = min(count, train.count)
    _, rows = stratify(train.known_labels, count, CALIBRATION_SEED)
    chosen = train.subset(rows, name="calibration")
    if len(np.unique(chosen.known_labels)) < 2:
        message = f"the {count} calibration images are all of one class"
        if count < train.count:
            raise ConfigError(message, hint="raise --calibration-images")
        raise InputError(message, hint="give training images of every class")
    return chosen


def _with_bytes(card: ModelCard, graph: ModelProto, precision: Precision) -> ModelCard:
    weights, activations = bytes_moved(graph, precision)
    return card.model_copy(update={"weight_bytes": weights, "activation_bytes": activations})


def _certainly_above(found: Fidelity, bound: float) -> bool:
    return found.drop_low is not None and found.drop_low > bound


def _lost(found: Fidelity) -> str:
    lost = 1 - found.agreement if found.drop is None else found.drop
    low, high = found.drop_low, found.drop_high
    between = "" if low is None or high is None else f" ({100 * low:.2f} to {100 * high:.2f})"
    return (
        f"{found.precision} loses {100 * lost:.2f} points{between} of top-1 on {found.images} "
        f"{found.split} images"
    )


def _noisy(outcome: Outcome, count: int = 5) -> list[str]:
    return [f"{item.layer} {item.sqnr_db:.1f} dB" for item in outcome.noise[:count]]
