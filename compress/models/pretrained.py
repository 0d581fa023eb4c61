"""ImageNet weights of torchvision, fitted to a model with other classes or another stem."""

import sys
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError

import torch
from torch import nn
from torchvision.models import get_model_weights

from compress.errors import InputError, MachineError
from compress.files import sha256_file, write_error
from compress.models.foreign import read_state

IMAGENET = "imagenet"
"""The value of a model's option `weights`."""
RELEASE = "IMAGENET1K_V1"


def load_imagenet(model: nn.Module, name: str, *, fresh: tuple[str, ...]) -> None:
    """Fill a model with torchvision's ImageNet weights, in place.

    Args:
        model: A model whose parameters have torchvision's names and shapes.
        name: torchvision's name of the model.
        fresh: Prefixes of parameter names that keep their present values: the classifier, and the
            stem where it is another one.

    Raises:
        MachineError: As `imagenet_weights`.
        InputError: As `imagenet_weights`.
    """
    path, _ = imagenet_weights(name)
    published = read_state(path, entry=None)
    kept = {key: value for key, value in model.state_dict().items() if key.startswith(fresh)}
    taken = {key: value for key, value in published.items() if not key.startswith(fresh)}
    model.load_state_dict({**taken, **kept})


def imagenet_weights(name: str) -> tuple[Path, str]:
    """The file that torchvision published, and its sha256.

    It is taken from torch's hub folder (`$TORCH_HOME/hub/checkpoints`), else downloaded there, and
    is what its name says: the first digits of its sha256 stand there.

    Args:
        name: torchvision's name of the model.

    Raises:
        MachineError: The file is not here and cannot be downloaded.
        InputError: It is another than was published, or cannot be read or written.
    """
    url: str = get_model_weights(name)[RELEASE].url
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    digits = path.stem.rpartition("-")[2]
    if not path.exists():
        _download(url, path, digits)
    sha256 = sha256_file(path)
    if not sha256.startswith(digits):
        raise InputError(
            f"{path} is not what torchvision published (sha256 {sha256[:12]}…, expected {digits}…)",
            hint="delete it, and the same command downloads it again",
        )
    return path, sha256


def _download(url: str, path: Path, digits: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(
            url, str(path), hash_prefix=digits, progress=sys.stderr.isatty()
        )
    except (URLError, HTTPException, TimeoutError, ConnectionError) as error:
        raise MachineError(
            f"cannot download {url}: {getattr(error, 'reason', error)}",
            hint=f"put the file into {path.parent}, or leave weights=imagenet out",
        ) from error
    except OSError as error:
        raise write_error(path, error) from error
    except RuntimeError as error:
        raise InputError(
            f"what came from {url} is not what was published: {error}", hint="try again"
        ) from error
