"""ImageNet weights of torchvision, fitted to a model with other classes or another stem."""

import sys
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError

import torch
from torch import nn
from torchvision.models import get_model_weights

from compress.errors import InputError, MachineError
from compress.files import write_error
from compress.models.foreign import read_state

RELEASE = "IMAGENET1K_V1"


def load_imagenet(model: nn.Module, name: str, *, fresh: tuple[str, ...]) -> None:
    """Fill a model with torchvision's ImageNet weights, in place.

    The file is taken from torch's hub folder (`$TORCH_HOME/hub/checkpoints`), else downloaded there
    and checked against the hash in its name.

    Args:
        model: A model whose parameters have torchvision's names.
        name: torchvision's name of the model.
        fresh: Prefixes of parameter names that keep their present values: the classifier, and the
            stem where it is another one.

    Raises:
        MachineError: The weights are not here and cannot be downloaded.
        InputError: The file is corrupt, cannot be written, or does not fit the model.
    """
    url: str = get_model_weights(name)[RELEASE].url
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not path.exists():
        _download(url, path)
    published = read_state(path, entry=None)
    kept = {key: value for key, value in model.state_dict().items() if key.startswith(fresh)}
    taken = {key: value for key, value in published.items() if not key.startswith(fresh)}
    try:
        model.load_state_dict({**taken, **kept})
    except RuntimeError as error:
        raise InputError(
            f"the ImageNet weights {path.name} do not fit {name}",
            hint="they need width=1; leave weights=imagenet out for other widths",
        ) from error


def _download(url: str, path: Path) -> None:
    digits = path.stem.rpartition("-")[2]
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
