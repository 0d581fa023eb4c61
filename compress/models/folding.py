"""BatchNorm folded into the convolutions before it: the same answers with less work."""

import copy
from typing import Any

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class _LayerTracer(fx.Tracer):
    """Follows a forward pass down to convolutions and BatchNorms, subclasses of them included."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, nn.Conv2d | nn.BatchNorm2d) or super().is_leaf_module(
            m, module_qualified_name
        )


def fold_batchnorm(model: nn.Module) -> nn.Module:
    """A copy of a model for inference, each BatchNorm folded into the convolution it follows.

    Paths of modules stay, so that features can be tapped as before; a folded BatchNorm becomes an
    identity. The model itself is not touched.

    Args:
        model: One of the registry's, in any mode, without `Normalized` around it.

    Returns:
        A copy in evaluation mode whose parameters need no gradients.

    Raises:
        ValueError: A BatchNorm follows something else than one convolution.
    """
    folded = copy.deepcopy(model).eval()
    modules = dict(folded.named_modules())
    for convolution, norm in _pairs(folded, modules):
        fused: nn.Module = fuse_conv_bn_eval(modules[convolution], modules[norm])
        _replace(folded, convolution, fused)
        _replace(folded, norm, nn.Identity())
    left = [path for path, m in folded.named_modules() if isinstance(m, nn.BatchNorm2d)]
    if left:
        raise ValueError(f"BatchNorm at {left[0]} does not follow one convolution")
    return folded.requires_grad_(requires_grad=False)


def _pairs(model: nn.Module, modules: dict[str, nn.Module]) -> list[tuple[str, str]]:
    """Paths of convolutions and of the BatchNorms that alone use their output."""
    graph = _LayerTracer().trace(model)
    calls: dict[Any, int] = {}
    for node in graph.nodes:
        calls[node.target] = calls.get(node.target, 0) + 1
    pairs = []
    for node in graph.nodes:
        if node.op != "call_module" or not isinstance(modules[node.target], nn.BatchNorm2d):
            continue
        before = node.args[0]
        if (
            before.op == "call_module"
            and isinstance(modules[before.target], nn.Conv2d)
            and len(before.users) == 1
            and calls[before.target] == calls[node.target] == 1
        ):
            pairs.append((before.target, node.target))
    return pairs


def _replace(model: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, module)
