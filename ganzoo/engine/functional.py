"""A network as a round calls it: with its own parameters, or as a function of others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

from torch import Tensor, nn
from torch.func import functional_call

_PREFIX: Final = "module."


class _LogProb(nn.Module):
    """``log_prob`` as a forward, the only method that `torch.func.functional_call` can reach."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        return self.module.log_prob(x, c)


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
        if not self._params:
            return self._module.log_prob(x, c)  # pyright: ignore[reportCallIssue]
        params = {_PREFIX + name: value for name, value in self._params.items()}
        return functional_call(_LogProb(self._module), params, (x, c))
