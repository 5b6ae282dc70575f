"""A turn of a stack as one compiled function."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

#: It is called with tensors of one kind only, so nothing has to be guarded; it compiles in the thread that trains.
_OPTIONS: Final[Mapping[str, Any]] = MappingProxyType(
    {"guard_filter_fn": torch.compiler.skip_all_guards_unsafe, "compile_threads": 1}
)


def compiled(program: Callable[..., Any], given: tuple[Any, ...], note: Callable[[str], None]) -> Callable[..., Any]:
    """``program``, compiled for arguments like ``given``; itself where that cannot be, and ``note`` hears why.

    It is traced to plain tensor operations first, gradients and all: compiling those asks nothing of the modules, whose
    guards would cost more at each call than a small layer.
    """
    names: list[str] = []

    def flat(*tensors: Tensor) -> tuple[Tensor, ...]:
        slope, values = program(*_nested(given, iter(tensors)))
        names[:] = list(values)
        return slope, *values.values()

    leaves = list(_leaves(given))
    try:
        with torch.random.fork_rng():
            traced = make_fx(flat)(*(leaf.clone() for leaf in leaves))
            fast = torch.compile(traced, dynamic=False, fullgraph=True, options=dict(_OPTIONS))
            got = fast(*(leaf.clone() for leaf in leaves))
            wanted = flat(*(leaf.clone() for leaf in leaves))
    except Exception as error:  # no compiler, or something that it does not know
        logging.getLogger(__name__).debug("not compiled", exc_info=True)
        note(f"not compiled: {type(error).__name__}: {str(error).strip().partition(chr(10))[0]:.200}")
        return program
    if not all(torch.allclose(a, b, rtol=1e-3, atol=1e-5) for a, b in zip(got, wanted, strict=True)):
        note("not compiled: the compiled program gives other gradients")
        return program

    def call(*arguments: Any) -> tuple[Tensor, dict[str, Tensor]]:
        slope, *values = fast(*_leaves(arguments))
        return slope, dict(zip(names, values, strict=True))

    return call


def _leaves(tree: Any) -> Any:
    """The tensors of nested tuples and dictionaries, in order."""
    if isinstance(tree, Tensor):
        yield tree
    else:
        for each in tree.values() if isinstance(tree, Mapping) else tree:
            yield from _leaves(each)


def _nested(like: Any, leaves: Any) -> Any:
    if isinstance(like, Tensor):
        return next(leaves)
    if isinstance(like, Mapping):
        return {key: _nested(value, leaves) for key, value in like.items()}
    return tuple(_nested(value, leaves) for value in like)
