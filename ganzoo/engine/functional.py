"""A network as a round calls it: with its own parameters, or as a function of others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

import torch
from torch import Tensor, nn
from torch.func import functional_call

_PREFIX: Final = "module."


class _As(nn.Module):
    """A method of ``module`` as a forward, the only method that `torch.func.functional_call` can reach."""

    def __init__(self, module: nn.Module, method: str) -> None:
        super().__init__()
        self.module, self.method = module, method

    def forward(self, *given: Any) -> Any:
        return getattr(self.module, self.method)(*given)


@final
class Functional:
    """``module`` with the parameters and buffers in ``params`` in place of its own; those that are not there stay."""

    def __init__(self, module: nn.Module, params: Mapping[str, Tensor] | None = None) -> None:
        self._module, self._params = module, dict(params or {})

    def __call__(self, x: Tensor, c: Tensor | None = None, *, params: Mapping[str, Tensor] | None = None) -> Any:
        if not self._params and not params:
            return self._module(x, c)
        return functional_call(self._module, {**self._params, **(params or {})}, (x, c))

    def log_prob(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        return self._call("log_prob", x, c)

    def prepare(self) -> None:
        """The network's own, on the buffers that it is called with."""
        with torch.no_grad():
            self._call("prepare")

    def parameters(self) -> dict[str, Tensor]:
        """Its parameters by name, those of ``params`` in place of its own."""
        return {name: self._params.get(name, own) for name, own in self._module.named_parameters()}

    def _call(self, method: str, *given: Any) -> Any:
        if not self._params:
            return getattr(self._module, method)(*given)
        params = {_PREFIX + name: value for name, value in self._params.items()}
        return functional_call(_As(self._module, method), params, given)
