"""The plain engine: one run, ordinary modules, ordinary autograd."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ganzoo.dataset import Batch
from ganzoo.engine.functional import Functional
from ganzoo.engine.sampler import Sampler
from ganzoo.errors import PluginError
from ganzoo.game import Round, Turn
from ganzoo.generator import Generator
from ganzoo.part import build
from ganzoo.recipe import Recipe
from ganzoo.seeds import derive
from ganzoo.update import Optimizer, Schedule


@final
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
            name: [p for p in network.parameters() if p.requires_grad] for name, network in self.networks.items()
        }
        self.optimizers = {name: self._optimizer(name) for name in recipe.players}
        self._rates = {
            name: [group.get("lr", 0.0) for group in optimizer.param_groups]
            for name, optimizer in self.optimizers.items()
        }
        self._schedules: dict[str, Schedule | None] = {n: build(p.schedule) for n, p in recipe.players.items()}
        self._callable = {name: Functional(network) for name, network in self.networks.items()}
        # Walking a module tree costs as much as a small layer, so what every step needs is listed once.
        self._averages: list[tuple[list[Tensor], list[Tensor]]] = [
            (list(average.parameters()), list(self.networks[name].parameters())) for name, average in self.ema.items()
        ]
        self._buffers = [
            pair
            for n, average in self.ema.items()
            for pair in zip(average.buffers(), self.networks[n].buffers(), strict=True)
        ]
        self._draws = [turn.draws() for turn in self.turns]
        players = [turn.player for turn in self.turns]
        self._names = [f"{p}-{players[:i].count(p) + 1}" if p in players[:i] else p for i, p in enumerate(players)]
        self._moving = ""

    def _optimizer(self, name: str) -> torch.optim.Optimizer:
        optimizer: Optimizer = self.recipe.players[name].optimizer.build()
        return optimizer.make(self._parameters[name])

    def step(self, step: int, *, observe: bool = False) -> dict[str, Tensor]:
        """One pass over all turns. Returns each term's value by ``player/term``, on the device, unread.

        With ``observe``, what terms report besides (the estimate of a divergence, say) is among them.
        """
        seen: dict[str, Tensor] = {}
        for index, turn in enumerate(self.turns):
            for _ in range(turn.repeats):
                seen.update(self._descend(index, step, observe))
                if not self.recipe.simultaneous:
                    self._update(turn, step)
        if self.recipe.simultaneous:
            for turn in self.turns:
                self._update(turn, step)
        self._average(step)
        return seen

    def _descend(self, index: int, step: int, observe: bool) -> dict[str, Tensor]:
        """The gradient of a turn's losses in its player's parameters, left in their ``grad``."""
        turn = self.turns[index]
        real = self.sampler.next()
        n = self.recipe.batch_size
        sources = {name: g.source(n, self.rng, real) for name, g in self.generators.items()}
        draws = {name: draw(real.x, self.rng) for name, draw in self._draws[index].items()}
        self._focus(turn.player)
        self._callable[turn.player].prepare()
        with Round(self._callable, real, sources, draws, step, self.recipe.steps) as round:
            loss, values = turn.losses(round)
            seen = {f"{self._names[index]}/{label}": value.detach() for label, value in values.items()}
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
            factor = schedule(step, self.recipe.steps)
            for group, rate in zip(optimizer.param_groups, self._rates[turn.player], strict=True):
                group["lr"] = rate * factor
        optimizer.step()
        if turn.project is not None:
            with torch.no_grad():
                turn.project(self._parameters[turn.player])

    def _average(self, step: int) -> None:
        """Move the averages, faster in the first steps so that they forget the initial weights."""
        decay = min(self.recipe.ema, (1 + step) / (10 + step))
        average = get_ema_multi_avg_fn(decay)
        for kept, current in self._averages:
            average(kept, current, step)
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
                state |= {
                    f"optimizer.{name}.{index}.{slot}": _kept(name, v) for slot, v in slots.items() if v is not None
                }
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
            slots: dict[int, dict[str, Any]] = {}
            for key, value in _under(tensors, f"optimizer.{name}.").items():
                index, _, slot = key.partition(".")
                number = value.dtype in (torch.int64, torch.float64) and value.ndim == 0
                slots.setdefault(int(index), {})[slot] = value.item() if number else value
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


def _kept(optimizer: str, value: Any) -> Tensor:
    """Optimiser state as a checkpoint holds it: numbers are 0-dimensional in 64 bits, which torch's own never are."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, (int, float)):
        return torch.tensor(value, dtype=torch.int64 if isinstance(value, int) else torch.float64)
    raise PluginError(f"the optimizer of {optimizer} keeps a {type(value).__name__}, which no checkpoint can hold")


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
