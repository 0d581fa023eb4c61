import pytest

from compress.config import recipes
from compress.config.bench import BenchConfig
from compress.config.specs import Reference
from compress.errors import ConfigError


def build(**options: object) -> BenchConfig:
    return recipes.build(BenchConfig, options)


def test_a_target_is_enough() -> None:
    config = build(targets=["exported/a", "b.onnx:normalization=imagenet"])
    assert config.targets == (
        Reference(target="exported/a"),
        Reference(target="b.onnx", options={"normalization": "imagenet"}),
    )
    assert (config.threads, config.max_seconds, config.limit) == (1, None, None)


def test_candidates_are_enough() -> None:
    config = build(student=["tiny=mobilenet_v2:width=0.5"])
    assert config.student[0].label == "tiny"
    assert config.student[0].model.options == {"width": 0.5}


def test_nothing_to_measure_is_refused_with_what_to_name() -> None:
    with pytest.raises(ConfigError, match="nothing to measure"):
        build()


@pytest.mark.parametrize(
    ("option", "value"),
    [("threads", 0), ("max_seconds", 0), ("limit", 0), ("max_size_kib", -1)],
)
def test_numbers_out_of_bounds_are_refused_with_option_and_value(option: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"--{option.replace('_', '-')} {value}"):
        build(targets=["a"], **{option: value})


@pytest.mark.parametrize("host", ["", "-oProxyCommand=evil", "two words"])
def test_a_host_that_ssh_would_take_for_an_option_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="--on"):
        build(targets=["a"], on=host)
