"""A turn of a stack as one compiled function."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

#: The compiled function is called from C++, by the thread that trains, in which it is compiled too.
_OPTIONS: Final[Mapping[str, Any]] = MappingProxyType({"cpp_wrapper": True, "compile_threads": 1})
#: So many bytes a turn may write and find them again in the cache of a core: wider stacks are cut into blocks of runs.
BLOCK_BYTES: Final = 2**24
#: A product of matrices with a side of at most this is no work for a library of matrix products.
THIN: Final = 2

_Flat = Callable[..., tuple[Tensor, ...]]


def compiled(
    program: Callable[..., Any],
    given: tuple[Any, ...],
    note: Callable[[str], None],
    *,
    cut: bool = True,
    rounding: float = 1e-3,
) -> Callable[..., Any]:
    """``program``, compiled for arguments like ``given``; itself where that cannot be, and ``note`` hears why.

    It is traced to plain tensor operations first, gradients and all: compiling those asks nothing of the modules, whose
    guards would cost more at each call than a small layer.

    Args:
        program: of tensors that have the runs in their first dimension, but for the last one, which is that of all.
        given: its arguments, tensors in dictionaries.
        note: hears why nothing was compiled.
        cut: whether it may be called for some of the runs at a time.
        rounding: by so much of their norm results may differ; a wrong program is off by all of it.
    """
    names: list[str] = []

    def flat(*tensors: Tensor) -> tuple[Tensor, ...]:
        slope, values = program(*_nested(given, iter(tensors)))
        names[:] = list(values)
        return slope, *values.values()

    leaves = list(_leaves(given))
    try:
        with torch.random.fork_rng():
            fast = _Blocks(flat, leaves, cut)
            got = fast([leaf.clone() for leaf in leaves])
            wanted = flat(*(leaf.clone() for leaf in leaves))
    except Exception as error:  # no compiler, or something that it does not know
        logging.getLogger(__name__).debug("not compiled", exc_info=True)
        why = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]:.200}"
        note(f"the stack could not be compiled and goes on without, slower: {why}")
        return program
    if not all((a - b).norm() <= rounding * b.norm() + 1e-6 for a, b in zip(got, wanted, strict=True)):
        note("the stack goes on uncompiled, slower: its compiled program gives other gradients")
        return program

    def call(*arguments: Any) -> tuple[Tensor, dict[str, Tensor]]:
        slope, *values = fast(list(_leaves(arguments)))
        return slope, dict(zip(names, values, strict=True))

    return call


class _Blocks:
    """``flat``, compiled for blocks of about as many runs as leave what they write in the cache, one after the other.

    A block has two runs at least: a product of one matrix is computed in another way than those of several.
    """

    def __init__(self, flat: _Flat, leaves: Sequence[Tensor], cut: bool) -> None:
        runs, traced = len(leaves[0]), _traced(flat, leaves)
        self.count = min(max(1, round(_written(traced) / BLOCK_BYTES)), runs // 2) if cut else 1
        self.programs: dict[int, Callable[..., Sequence[Tensor]]] = {}
        for block in self._blocks(leaves):
            if (size := len(block[0])) not in self.programs:
                self.programs[size] = _compiled(traced if size == runs else _traced(flat, block), block)

    def __call__(self, leaves: Sequence[Tensor]) -> Sequence[Tensor]:
        if self.count == 1:
            return self.programs[len(leaves[0])](*leaves)
        made = [self.programs[len(block[0])](*block) for block in self._blocks(leaves)]
        return [torch.cat(pieces) for pieces in zip(*made, strict=True)]

    def _blocks(self, leaves: Sequence[Tensor]) -> Iterator[Sequence[Tensor]]:
        *mine, shared = leaves
        return ((*block, shared) for block in zip(*(t.tensor_split(self.count) for t in mine), strict=True))


def _traced(flat: _Flat, leaves: Sequence[Tensor]) -> torch.fx.GraphModule:
    return make_fx(flat, decomposition_table={torch.ops.aten.bmm.default: _bmm})(*(leaf.clone() for leaf in leaves))


def _written(traced: torch.fx.GraphModule) -> int:
    """Bytes of everything that is computed on the way."""
    made = (node.meta.get("val") for node in traced.graph.nodes if node.op == "call_function")
    return sum(t.nbytes for t in made if isinstance(t, Tensor))


def _compiled(traced: torch.fx.GraphModule, leaves: Sequence[Tensor]) -> Callable[..., Sequence[Tensor]]:
    from torch._inductor import standalone_compile

    # Within no_grad, since the gradient is part of what is compiled and there is none to be taken of it.
    given: list[Any] = [leaf.clone() for leaf in leaves]
    with torch.no_grad():
        return standalone_compile(
            traced, given, dynamic_shapes="from_example_inputs", options={"config_patches": dict(_OPTIONS)}
        )


def _bmm(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b`` by sums of products, compiled together with what surrounds them, where that is little work."""
    (rows, inner), columns = a.shape[1:], b.shape[2]
    if inner <= THIN:
        return sum((a[:, :, k : k + 1] * b[:, k : k + 1] for k in range(1, inner)), a[:, :, :1] * b[:, :1])
    if columns <= THIN:
        return torch.stack([(a * b[:, None, :, n]).sum(2) for n in range(columns)], 2)
    if rows <= THIN:
        return torch.stack([(a[:, m, :, None] * b).sum(1) for m in range(rows)], 1)
    return NotImplemented


def _leaves(tree: Any) -> Iterator[Tensor]:
    """The tensors of nested tuples and dictionaries, in order."""
    if isinstance(tree, Tensor):
        yield tree
    else:
        for each in tree.values() if isinstance(tree, Mapping) else tree:
            yield from _leaves(each)


def _nested(like: Any, leaves: Iterator[Tensor]) -> Any:
    if isinstance(like, Tensor):
        return next(leaves)
    if isinstance(like, Mapping):
        return {key: _nested(value, leaves) for key, value in like.items()}
    return tuple(_nested(value, leaves) for value in like)
