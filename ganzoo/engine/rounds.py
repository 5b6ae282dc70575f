"""From what a run draws to the round that its terms see, and what an engine wants to know of a turn beforehand."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ganzoo.dataset import Batch
from ganzoo.discriminator import Verdict
from ganzoo.engine.functional import Functional
from ganzoo.engine.stream import Feed
from ganzoo.game import Network, Round, Turn
from ganzoo.penalties import BATCH_STATISTICS
from ganzoo.recipe import Recipe

#: A network as it is called for what terms share.
Forward = Callable[[Tensor, Tensor | None], Any]


@dataclass(frozen=True)
class Probe:
    """``pairs``: of which discriminator and generator both verdicts are read, and may be computed in one pass.
    ``timed``: whether a term reads the step, so that no one program serves all steps."""

    pairs: frozenset[tuple[str, str]]
    timed: bool


def opened(
    networks: Mapping[str, Network],
    feed: Feed,
    step: int,
    steps: int,
    pairs: Collection[tuple[str, str]] = (),
    rounded: Mapping[str, Forward] | None = None,
) -> Round:
    """A round on one row of a chunk."""
    sources = {key[2:]: (z, feed.get(f"c {key[2:]}")) for key, z in feed.items() if key.startswith("z ")}
    draws = {key[5:]: draw for key, draw in feed.items() if key.startswith("draw ")}
    return Round(networks, Batch(feed["x"], feed.get("label")), sources, draws, step, steps, pairs, rounded)


def set_tf32(recipe: Recipe) -> None:
    """Set what the process does with matrices in single precision.

    On CUDA devices that is single precision, in convolutions too, unless the recipe's precision is ``tf32``. torch has
    two sets of switches for it, and refuses to say how they are set where they contradict each other.
    """
    exact = recipe.precision != "tf32"
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    matmul.allow_tf32 = cudnn.allow_tf32 = not exact  # pyright: ignore[reportAttributeAccessIssue]
    matmul.fp32_precision = cudnn.conv.fp32_precision = cudnn.rnn.fp32_precision = "ieee" if exact else "tf32"  # pyright: ignore


def autocast(network: Network, device: torch.device) -> Forward:
    """``network`` in bfloat16, layer by layer where that is safe."""

    def forward(x: Tensor, c: Tensor | None) -> Any:
        with torch.autocast(device.type, torch.bfloat16):
            return network(x, c)

    return forward


def rounded(network: Network) -> Forward:
    """``network``, whose parameters are in bfloat16, on samples in bfloat16: `torch.func.vmap` hides from autocast what
    it should lower."""
    return lambda x, c: network(x.bfloat16(), c)


def probe(turn: Turn, networks: Mapping[str, nn.Module], feed: Feed) -> Probe:
    """Play one round with every term, on copies, and look what it asks for."""
    functions = {name: Functional(copy.deepcopy(network)) for name, network in networks.items()}
    everything = range(len(turn.losses.terms))
    with torch.random.fork_rng(), opened(functions, feed, 0, 1) as round:
        turn.losses(round, everything, [1.0] * len(everything))
        asked = round.asked
        wanted = [(key[1], key[2]) for key in asked if key[0] == "fake" and len(key) == 3 and ("real", key[1]) in asked]
        pairs = frozenset(pair for pair in wanted[:1] if _separable(networks[pair[0]], round, *pair))
        return Probe(pairs, round.timed)


@torch.no_grad()
def _separable(network: nn.Module, round: Round, discriminator: str, generator: str) -> bool:
    """Whether it judges samples of one batch as it does those of two."""
    if any(isinstance(module, BATCH_STATISTICS) for module in network.modules()):
        return False
    real, fake = round.real, round.fake(generator)
    c = None if real.label is None or fake.label is None else torch.cat([real.label, fake.label])
    try:
        both: Verdict = copy.deepcopy(network)(torch.cat([real.x, fake.x]), c)
    except Exception:  # a plugin's network may raise anything where a batch is not as large as it knows
        return False
    apart = zip(round.real_verdict(discriminator), round.fake_verdict(discriminator, generator), strict=True)
    return all(
        one is None or other is None or _close(got, torch.cat([one, other]))
        for got, (one, other) in zip(both, apart, strict=True)
    )


def _close(a: Tensor | None, b: Tensor) -> bool:
    return a is not None and a.shape == b.shape and bool((a - b).abs().max() <= 1e-4 * (1 + b.abs().max()))
