"""The result of classifying pictures."""

from compress.records.predict import Guess, Prediction, PredictRecord, Unreadable
from tests.fake_run import ENVIRONMENT


def record() -> PredictRecord:
    return PredictRecord(
        artifact="e/model.onnx",
        label="m",
        precision="int8",
        predictions=(
            Prediction(
                image="a [b].png",
                guesses=(Guess(label="cat", probability=0.75), Guess(label="dog", probability=0.2)),
            ),
        ),
        unreadable=(Unreadable(image="c.png", reason="cut short"),),
        environment=ENVIRONMENT,
    )


def test_it_comes_back_from_its_json() -> None:
    assert PredictRecord.model_validate_json(record().to_json()) == record()
