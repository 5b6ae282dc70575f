"""R seeds of one recipe as one program: parameters stacked, a turn vmapped, losses summed, one backward."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast, final

import torch
from torch import Tensor, nn
from torch.func import vmap

from ganzoo.dataset import Batch
from ganzoo.discriminator import Discriminator
from ganzoo.engine.base import Seen, initialised, kept, under, unkept
from ganzoo.engine.capture import Recorder
from ganzoo.engine.compiled import compiled
from ganzoo.engine.eager import observations
from ganzoo.engine.functional import Functional
from ganzoo.engine.rounds import opened, rounded
from ganzoo.engine.sampler import resident
from ganzoo.engine.stack import ALIGNED, Stack
from ganzoo.engine.steps import Number, Steps
from ganzoo.engine.stream import Feed, Stream
from ganzoo.game import Round
from ganzoo.generator import Generator
from ganzoo.recipe import Recipe

STACK: Final = "stack"
COMPILED: Final = "compiled stack"

#: ``(parameters (R, P) by player, buffers by player, feed, strengths (k,))`` to the gradient and the terms' values.
Gradient = Callable[[dict[str, Tensor], dict[str, dict[str, Tensor]], Feed, Tensor], tuple[Tensor, dict[str, Tensor]]]


@final
class Stacked(Steps):
    """The runs with these seeds as one program.

    On the CPU, a run's bits do not depend on how many others there are. A batched product of two matrices or more
    computes each in the same way, and one of a single matrix does not; and what is left over at the end of a loop over
    vectors is rounded in another way than the rest. So there are always some more at the end there, that nobody looks
    at: one, or as many as have `ALIGNED` samples.

    Args:
        recipe: what is played; its networks must be stackable, its terms free of randomness of their own.
        train: the samples of the train part.
        seeds: of the runs.
        device: where everything lives.
        recorder: makes programs of steps; by default the device's own, where it has one.
        compile: whether the gradient of a turn is compiled, at its first step.
    """

    def __init__(
        self,
        recipe: Recipe,
        train: Batch,
        seeds: Sequence[int],
        device: torch.device,
        *,
        recorder: Recorder | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__(recipe, device, recorder)
        self.seeds, self.compile = tuple(seeds), compile
        self._even = len(seeds) * recipe.batch_size % ALIGNED == 0 and len(seeds) > 1
        others = 0 if self._even or device.type != "cpu" else math.ceil(ALIGNED / recipe.batch_size)
        self._places = (*self.seeds, *self.seeds[-1:] * others)
        self.modules: dict[str, nn.Module] = {}
        self.stacks: dict[str, Stack] = {}
        dataset = recipe.dataset.build()
        seen = Seen(dataset, train)
        for name in recipe.players:
            networks = [initialised(recipe, name, seed, seen) for seed in self._places]
            self.modules[name] = networks[0].to(device)
            self.stacks[name] = Stack(networks, device)
        generators = {n: g for n, g in self.modules.items() if isinstance(g, Generator)}
        self.ema = {name: self.stacks[name].clone() for name in generators}
        self._shown = {name: copy.deepcopy(g).eval().requires_grad_(False) for name, g in generators.items()}
        train = resident(train, device)
        self.streams = [
            Stream(recipe, self.turns, generators, train, seed, device, dataset.decoded) for seed in self._places
        ]
        self.optimizers = {name: self._optimizer(name, self._trained(name)) for name in recipe.players}
        self._gradients: dict[tuple[int, tuple[int, ...]], Gradient] = {}
        self._weights: dict[int, tuple[tuple[float, ...], Tensor]] = {}
        self._frozen: dict[int, list[Tensor]] = {}
        self._prepared(self.modules, self.streams[0].of_seed(0).chunk(0))

    @property
    def name(self) -> str:
        return COMPILED if self.compile else STACK

    # A step -----------------------------------------------------------------------------------------------------------

    def step(self, step: int, *, observe: bool = False) -> dict[str, Tensor]:
        seen = super().step(step, observe=observe)
        for run, held in self._frozen.items():
            for t, then in zip(self._state(), held, strict=True):
                t[run] = then
        return {name: value[: len(self.seeds)] for name, value in seen.items()}

    def rehearse(self) -> None:
        """Carry out every turn once, moving nothing; what cannot be stacked raises."""
        chunk = _stacked([stream.of_seed(0).chunk(0) for stream in self.streams])
        for index, feed in enumerate(chunk):
            row = {key: t[0] for key, t in feed.items()}
            due = self.turns[index].losses.due(0)
            buffers = {name: {key: t.clone() for key, t in held.items()} for name, held in self._buffers.items()}
            self._prepare(self.turns[index].player)
            self._program(index, due, 0)(self._parameters, buffers, row, self._as_tensor(index, [1.0] * len(due)))
            self._observe(index, row, 0)

    def _drawn(self, step: int) -> list[Feed]:
        return _stacked([stream.chunk(step) for stream in self.streams])

    @property
    def _parameters(self) -> dict[str, Tensor]:
        return {name: stack.flat for name, stack in self.stacks.items()}

    @property
    def _buffers(self) -> dict[str, dict[str, Tensor]]:
        return {name: stack.buffers for name, stack in self.stacks.items()}

    def _descend(
        self, index: int, feed: Feed, due: tuple[int, ...], strengths: Sequence[Number], step: int, observe: bool
    ) -> dict[str, Tensor]:
        turn = self.turns[index]
        self._prepare(turn.player)
        given = (self._parameters, self._buffers, feed, self._as_tensor(index, strengths))
        observed = self._observe(index, feed, step) if observe else {}
        self.stacks[turn.player].flat.grad, values = self._gradient(index, due, step, given)(*given)
        return {f"{self._labels[index]}/{label}": value for label, value in values.items()} | observed

    def _as_tensor(self, index: int, strengths: Sequence[Number]) -> Tensor:
        """Since the program of a turn is the same whatever they are; made anew where they change."""
        if isinstance(strengths[0], Tensor):
            return torch.stack([*strengths])  # pyright: ignore[reportArgumentType, reportCallIssue]
        values = cast("tuple[float, ...]", tuple(strengths))
        if (held := self._weights.get(index)) is None or held[0] != values:
            held = self._weights[index] = values, torch.tensor(values, device=self.device)
        return held[1]

    def _gradient(self, index: int, due: tuple[int, ...], step: int, given: tuple[Any, ...]) -> Gradient:
        """The program of a turn with the terms that are due."""
        if self._probes[index].timed:  # a term reads the step: every step is another program
            return self._program(index, due, step)
        if (index, due) not in self._gradients:
            program = self._program(index, due, step)
            if self.compile:
                fast = compiled(program, given, self._notes.append, cut=self._even, rounding=0.1 if self._low else 1e-3)
                if fast is program:  # then nothing is, so that the engine is what its name says
                    self.compile = False
                    self._gradients.clear()
                program = fast
            self._gradients[index, due] = program
        return self._gradients[index, due]

    def _program(self, index: int, due: tuple[int, ...], step: int) -> Gradient:
        turn = self.turns[index]

        def gradient(
            parameters: dict[str, Tensor], buffers: dict[str, dict[str, Tensor]], feed: Feed, strengths: Tensor
        ) -> tuple[Tensor, dict[str, Tensor]]:
            def one(
                parameters: dict[str, Tensor], buffers: dict[str, dict[str, Tensor]], feed: Feed
            ) -> tuple[Tensor, dict[str, Tensor]]:
                with self._opened(index, step, parameters, buffers, feed) as round:
                    return turn.losses(round, due, strengths.unbind())

            own = parameters[turn.player].detach().requires_grad_()
            loss, values = vmap(one, randomness="error")({**parameters, turn.player: own}, buffers, feed)
            (slope,) = torch.autograd.grad(loss.sum(), own)
            return slope, {label: value.detach() for label, value in values.items()}

        return gradient

    def _opened(
        self,
        index: int,
        step: int,
        parameters: Mapping[str, Tensor],
        buffers: Mapping[str, Mapping[str, Tensor]],
        feed: Feed,
    ) -> Round:
        """The round of one run."""
        networks, low = self._functions(parameters, buffers), None
        if self._low:
            halved = self._functions({name: p.bfloat16() for name, p in parameters.items()}, buffers)
            low = {name: rounded(network) for name, network in halved.items()}
        return opened(networks, feed, step, self.recipe.steps, self._probes[index].pairs, low)

    def _functions(self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Mapping[str, Tensor]]) -> Any:
        """Each player's network as a function of one run's parameters ``(P,)`` and buffers."""
        return {
            name: Functional(module, {**self.stacks[name].named(parameters[name]), **buffers[name]})
            for name, module in self.modules.items()
        }

    @torch.no_grad()
    def _observe(self, index: int, feed: Feed, step: int) -> dict[str, Tensor]:
        """What terms report besides their values; on copies of the buffers, since nothing may come of having looked."""
        turn = self.turns[index]
        buffers = {name: {key: t.clone() for key, t in held.items()} for name, held in self._buffers.items()}

        def one(parameters: dict[str, Tensor], buffers: dict[str, dict[str, Tensor]], feed: Feed) -> dict[str, Tensor]:
            with self._opened(index, step, parameters, buffers, feed) as round:
                return observations(turn, round)

        return vmap(one, randomness="error")(self._parameters, buffers, feed)

    @torch.no_grad()
    def _prepare(self, player: str) -> None:
        module, stack = self.modules[player], self.stacks[player]
        if type(module).prepare in (Generator.prepare, Discriminator.prepare):  # pyright: ignore[reportAttributeAccessIssue]
            return

        def one(parameters: Tensor, buffers: dict[str, Tensor]) -> Tensor:
            Functional(module, {**stack.named(parameters), **buffers}).prepare()
            return parameters[0]

        vmap(one)(stack.flat, stack.buffers)

    @torch.no_grad()
    def _average(self, weight: Number) -> None:
        for name, average in self.ema.items():
            average.flat.lerp_(self.stacks[name].flat, weight)
            for key, buffer in average.buffers.items():
                buffer.copy_(self.stacks[name].buffers[key])

    def _trained(self, player: str) -> list[Tensor]:
        return [self.stacks[player].flat]

    def _everything(self) -> dict[str, Tensor]:
        stacks = {**self.stacks, **{f"average {name}": average for name, average in self.ema.items()}}
        held = {f"{name}.{key}": t for name, stack in stacks.items() for key, t in stack.buffers.items()}
        rest = {  # what modules hold themselves
            f"{name}'s own {key}": t
            for name, module in self.modules.items()
            for key, t in module.named_buffers()
            if key not in self.stacks[name].buffers
        }
        return {**{name: stack.flat for name, stack in stacks.items()}, **held, **rest, **self._slots()}

    # One of the runs --------------------------------------------------------------------------------------------------

    def finite(self) -> list[bool]:
        flags = [stack.flat.isfinite().all(1) for stack in self.stacks.values()]
        return torch.stack(flags).all(0)[: len(self.seeds)].tolist()

    def freeze(self, run: int, step: int, tensors: Mapping[str, Tensor]) -> None:
        self._load(run, tensors, alone=False)
        self._frozen[run] = [t[run].clone() for t in self._state()]

    def _state(self) -> list[Tensor]:
        """All that a step changes, with the runs in the first dimension."""
        stacks = [*self.stacks.values(), *self.ema.values()]
        slots = [self._slots_of(name).values() for name in self.optimizers]
        return [
            *(t for stack in stacks for t in (stack.flat, *stack.buffers.values())),
            *(value for held in slots for value in held if self._by_run(value)),
        ]

    def _slots_of(self, name: str) -> dict[str, Any]:
        return self.optimizers[name].state[self.stacks[name].flat]

    def _counts_there(self, name: str) -> bool:
        """Whether an optimizer counts its steps on the device."""
        return any(group.get("capturable") or group.get("fused") for group in self.optimizers[name].param_groups)

    def _by_run(self, value: Any) -> bool:
        return isinstance(value, Tensor) and value.ndim == 2

    def generator(self, run: int) -> Generator:
        name = self.recipe.model
        self._shown[name].load_state_dict(self.ema[name].state(run))
        return self._shown[name]

    def network(self, run: int, player: str) -> nn.Module:
        network = copy.deepcopy(self.modules[player])
        network.load_state_dict(self.stacks[player].state(run))
        return network

    def tensors(self, run: int, step: int) -> dict[str, Tensor]:
        state = {f"network.{n}.{k}": v for n, stack in self.stacks.items() for k, v in stack.state(run).items()}
        state |= {f"ema.{n}.{k}": v for n, stack in self.ema.items() for k, v in stack.state(run).items()}
        for name, stack in self.stacks.items():
            for slot, value in self._slots_of(name).items():
                each = stack.pieces(value[run]) if self._by_run(value) else [value] * len(stack.sizes)
                state |= {
                    f"optimizer.{name}.{i}.{slot}": kept(name, v).clone() for i, v in enumerate(each) if v is not None
                }
        state["rng.noise"] = self.streams[run].state(step)
        return state

    def load(self, run: int, step: int, tensors: Mapping[str, Tensor]) -> None:
        more = range(len(self.seeds), len(self._places)) if run == len(self.seeds) - 1 else ()
        for slot in (run, *more):  # those that nobody looks at are like the last one
            self._load(slot, tensors, alone=True)
            self.streams[slot].load(tensors["rng.noise"])
        self._restarted()

    def _load(self, run: int, tensors: Mapping[str, Tensor], *, alone: bool) -> None:
        for group, stacks in (("network", self.stacks), ("ema", self.ema)):
            for name, stack in stacks.items():
                stack.load(run, under(tensors, f"{group}.{name}."))
        for name in self.optimizers:
            self._load_optimizer(name, run, under(tensors, f"optimizer.{name}."), alone)

    def _load_optimizer(self, name: str, run: int, tensors: Mapping[str, Tensor], alone: bool) -> None:
        stack = self.stacks[name]
        held = self._slots_of(name)
        for slot in dict.fromkeys(key.partition(".")[2] for key in tensors):
            pieces = [tensors[f"{i}.{slot}"] for i in range(len(stack.sizes))]
            if pieces[0].numel() == stack.sizes[0] and pieces[0].ndim:
                rows = held.setdefault(slot, torch.zeros_like(stack.flat))
                rows[run, : sum(stack.sizes)] = torch.cat([piece.flatten() for piece in pieces]).to(rows)
            elif alone:  # a count of steps, which is everybody's
                held[slot] = unkept(pieces[0].clone())
                if isinstance(held[slot], Tensor) and self._counts_there(name):
                    held[slot] = held[slot].to(self.device)


def _stacked(chunks: Sequence[Sequence[Feed]]) -> list[Feed]:
    """Of each turn, ``(rows, R, n, …)`` from ``(rows, n, …)`` of each run."""
    turns = cast("list[tuple[Feed, ...]]", list(zip(*chunks, strict=True)))
    return [{key: torch.stack([feed[key] for feed in feeds], 1) for key in feeds[0]} for feeds in turns]
