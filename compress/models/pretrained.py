"""ImageNet weights of torchvision, fitted to a model with other classes or another stem."""

import pickle
import sys
from urllib.error import URLError

from torch import nn
from torchvision.models import get_model_weights

from compress.errors import InputError, MachineError

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
        InputError: The file is corrupt or does not fit the model.
    """
    weights = get_model_weights(name)[RELEASE]
    file = weights.url.rpartition("/")[2]
    try:
        published = weights.get_state_dict(
            progress=sys.stderr.isatty(), check_hash=True, weights_only=True
        )
    except (URLError, TimeoutError, ConnectionError) as error:
        raise MachineError(
            f"cannot download the ImageNet weights of {name}: {getattr(error, 'reason', error)}",
            hint=f"put {file} into $TORCH_HOME/hub/checkpoints, or leave weights=imagenet out",
        ) from error
    except OSError as error:
        raise InputError(f"cannot store {file}: {error.strerror or error}") from error
    except (RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise InputError(
            f"the ImageNet weights {file} are corrupt",
            hint="delete the file in torch's hub folder and try again",
        ) from error
    own = model.state_dict()
    kept = {key: value for key, value in own.items() if key.startswith(fresh)}
    taken = {key: value for key, value in published.items() if not key.startswith(fresh)}
    try:
        model.load_state_dict({**taken, **kept})
    except RuntimeError as error:
        raise InputError(
            f"the ImageNet weights {file} do not fit {name}",
            hint="they need width=1 and torchvision's own layers",
        ) from error
