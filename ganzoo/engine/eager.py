"""The plain engine: one run, ordinary modules, ordinary autograd."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ganzoo.dataset import Batch
from ganzoo.engine.sampler import Sampler
from ganzoo.game import Round, Turn
from ganzoo.generator import Generator
from ganzoo.recipe import Recipe
from ganzoo.registry import build
from ganzoo.seeds import derive
from ganzoo.update import Optimizer, Schedule


class Plain:
    """A player's module as a round reaches it."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __call__(self, x: Tensor, c: Tensor | None = None, *, params: Mapping[str, Tensor] | None = None) -> Any:
        if params is not None:
            return torch.func.functional_call(self.module, dict(params), (x, c))
        return self.module(x, c)

    def log_prob(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        return self.module.log_prob(x, c)  # pyright: ignore[reportCallIssue]


class Eager:
    """The players of one run and how they move.

    Args:
        recipe: what is played.
        train: the samples of the train part.
        seed: of this run; initial weights, data order and noise each have a stream of their own.
        device: where everything lives.
    """

    def __init__(self, recipe: Recipe, train: Batch, seed: int, device: torch.device) -> None:
        self.recipe, self.device = recipe, device
        self.turns = [turn.built() for turn in recipe.turns]
        # Terms and layers may use torch's global random state: it belongs to the run, like every other stream.
        torch.manual_seed(derive(seed, "global"))
        self.networks = {name: _initialised(recipe, name, seed) for name in recipe.players}
        self.generators = {n: g for n, g in self.networks.items() if isinstance(g, Generator)}
        for name, generator in self.generators.items():
            generator.initialise(train.x, torch.Generator().manual_seed(derive(seed, f"initialise {name}")))
        for network in self.networks.values():
            network.to(device)
        self.ema = {name: copy.deepcopy(g).eval().requires_grad_(False) for name, g in self.generators.items()}
        self.sampler = Sampler(train.to(device), recipe.batch_size, derive(seed, "data"))
        self.rng = torch.Generator(device).manual_seed(derive(seed, "noise"))
        self._parameters: dict[str, list[Tensor]] = {
            name: list(network.parameters()) for name, network in self.networks.items()
        }
        self.optimizers = {name: self._optimizer(name) for name in recipe.players}
        self._rates = {name: optimizer.param_groups[0]["lr"] for name, optimizer in self.optimizers.items()}
        self._schedules: dict[str, Schedule | None] = {n: build(p.schedule) for n, p in recipe.players.items()}
        self._callable = {name: Plain(network) for name, network in self.networks.items()}
        # Walking a module tree costs as much as a small layer, so what every step needs is listed once.
        self._averages: dict[str, list[Tensor]] = {
            name: list(average.parameters()) for name, average in self.ema.items()
        }
        self._buffers = [
            pair
            for n, average in self.ema.items()
            for pair in zip(average.buffers(), self.networks[n].buffers(), strict=True)
        ]
        self._draws = {id(turn): turn.draws() for turn in self.turns}
        self._moving = ""

    def _optimizer(self, name: str) -> torch.optim.Optimizer:
        optimizer: Optimizer = self.recipe.players[name].optimizer.build()
        return optimizer.make(self._parameters[name])

    def step(self, step: int, *, observe: bool = False) -> dict[str, Tensor]:
        """One pass over all turns. Returns each term's value by ``player/term``, on the device, unread.

        With ``observe``, what terms report besides (the estimate of a divergence, say) is among them.
        """
        seen: dict[str, Tensor] = {}
        for turn in self.turns:
            for _ in range(turn.repeats):
                seen.update(self._descend(turn, step, observe))
                if not self.recipe.simultaneous:
                    self._update(turn, step)
        if self.recipe.simultaneous:
            for turn in self.turns:
                self._update(turn, step)
        self._average(step)
        return seen

    def _descend(self, turn: Turn, step: int, observe: bool) -> dict[str, Tensor]:
        """The gradient of the turn's losses in its player's parameters, left in their ``grad``."""
        real = self.sampler.next()
        n = self.recipe.batch_size
        sources = {name: g.source(n, self.rng, real) for name, g in self.generators.items()}
        draws = {name: draw(real.x, self.rng) for name, draw in self._draws[id(turn)].items()}
        self._focus(turn.player)
        with Round(self._callable, real, sources, draws, step, self.recipe.steps) as round:
            loss, values = turn.losses(round)
            seen = {f"{turn.player}/{label}": value.detach() for label, value in values.items()}
            if observe:
                seen.update(_observations(turn, round))
        for parameter in self._parameters[turn.player]:
            parameter.grad = None
        loss.backward()
        return seen

    def _focus(self, player: str) -> None:
        """Only the parameters of whose turn it is ask for gradients."""
        if player == self._moving:
            return
        self._moving = player
        for name, parameters in self._parameters.items():
            for parameter in parameters:
                parameter.requires_grad_(name == player)

    def _update(self, turn: Turn, step: int) -> None:
        optimizer = self.optimizers[turn.player]
        if (schedule := self._schedules[turn.player]) is not None:
            for group in optimizer.param_groups:
                group["lr"] = self._rates[turn.player] * schedule(step, self.recipe.steps)
        optimizer.step()
        if turn.project is not None:
            with torch.no_grad():
                turn.project(self._parameters[turn.player])

    def _average(self, step: int) -> None:
        """Move the averages, faster in the first steps so that they forget the initial weights."""
        decay = min(self.recipe.ema, (1 + step) / (10 + step))
        average = get_ema_multi_avg_fn(decay)
        for name, kept in self._averages.items():
            average(kept, self._parameters[name], step)
        with torch.no_grad():
            for kept, current in self._buffers:
                kept.copy_(current)

    def finite(self) -> bool:
        """Whether every parameter is. Waits for the device."""
        with torch.no_grad():
            return all(bool(p.isfinite().all()) for parameters in self._parameters.values() for p in parameters)

    def tensors(self) -> dict[str, Tensor]:
        """All state that is tensors, by name."""
        state = {f"network.{n}.{k}": v for n, net in self.networks.items() for k, v in net.state_dict().items()}
        state |= {f"ema.{n}.{k}": v for n, net in self.ema.items() for k, v in net.state_dict().items()}
        for name, optimizer in self.optimizers.items():
            for index, slots in optimizer.state_dict()["state"].items():
                state |= {f"optimizer.{name}.{index}.{k}": v for k, v in slots.items() if isinstance(v, Tensor)}
        state["rng.noise"] = self.rng.get_state()
        state["rng.global"] = torch.get_rng_state()
        if self.device.type == "cuda":
            state["rng.cuda"] = torch.cuda.get_rng_state(self.device)
        return state

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Become what `tensors` said."""
        for group, networks in (("network", self.networks), ("ema", self.ema)):
            for name, network in networks.items():
                network.load_state_dict(_under(tensors, f"{group}.{name}."))
        for name, optimizer in self.optimizers.items():
            slots: dict[int, dict[str, Tensor]] = {}
            for key, value in _under(tensors, f"optimizer.{name}.").items():
                index, _, slot = key.partition(".")
                slots.setdefault(int(index), {})[slot] = value
            optimizer.load_state_dict({**optimizer.state_dict(), "state": slots})
        self.rng.set_state(tensors["rng.noise"])
        torch.set_rng_state(tensors["rng.global"])
        if "rng.cuda" in tensors and self.device.type == "cuda":
            torch.cuda.set_rng_state(tensors["rng.cuda"], self.device)


def _initialised(recipe: Recipe, player: str, seed: int) -> nn.Module:
    """A network with its initial weights, made on the CPU: the same on every device, whatever the other players are."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, f"weights {player}"))
        return recipe.players[player].network.build()


def _observations(turn: Turn, round: Round) -> dict[str, Tensor]:
    with torch.no_grad():
        reports = [weighted.term.observe(round) for weighted in turn.losses if hasattr(weighted.term, "observe")]
    return {name: value for report in reports for name, value in report.items()}


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
