"""A step as a program of the device. Where there is none, a tape of the CPU's operations stands in for a CUDA graph."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, final

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves

from ganzoo.discriminator import Discriminator, Verdict
from ganzoo.engine.capture import Graphs, Play, Recorder
from ganzoo.engine.eager import Eager
from ganzoo.engine.stacked import Stacked
from ganzoo.game import Round
from ganzoo.recipe import Recipe, create_recipe
from ganzoo.registry import Entry
from ganzoo.terms import Term
from ganzoo.update import Optimizer
from ganzoo.zoo import SHAPE

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
TINY = {"batch_size": 16, "steps": 40, "evaluations": 1, "generator.hidden": 8, "discriminator.hidden": 8}
on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

#: What takes a number from the device to the host.
READS = ("_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "masked_select")


def tiny(name: str = "js-gan.ring", **more: Any) -> Recipe:
    return create_recipe(name, {**TINY, **more})


def lazy(recipe: Recipe) -> Recipe:
    """With a penalty at every third step, whose weight follows a schedule, and learning rates that do."""
    data = recipe.json()
    for number, kind in enumerate(("r1", "gradient-penalty")):
        term = {"kind": "penalty", "name": kind}
        weight = {"kind": "schedule", "name": "linear", "options": {"end": 0.1}} if number else 0.5
        data["turns"][0]["losses"].append({"term": term, "weight": weight, "every": 1 + 2 * number})
    data["players"]["generator"]["schedule"] = {"kind": "schedule", "name": "cosine"}
    return Recipe.parse(data).check()


def descending(recipe: Recipe) -> Recipe:
    """By another optimizer, whose plain form reads its learning rate from the host."""
    data = recipe.json()
    for player in data["players"].values():
        player["optimizer"] = {"kind": "optimizer", "name": "sgd", "options": {"lr": 0.01, "momentum": 0.5}}
    return Recipe.parse(data).check()


def engine(kind: Any, recipe: Recipe, *, device: torch.device = CPU, seed: int = 3, **options: Any) -> Any:
    train = recipe.dataset.build().part("train")
    return kind(recipe, train, (seed, seed + 1) if kind is Stacked else seed, device, **options)


def played(engine: Any, first: int, last: int) -> list[dict[str, Tensor]]:
    return [engine.step(step, observe=step % 5 == 4) for step in range(first, last)]


def state(engine: Any, step: int) -> dict[str, Tensor]:
    return {f"{run} {k}": v.clone() for run in range(len(engine.seeds)) for k, v in engine.tensors(run, step).items()}


def same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


# What stands in for a graph


@final
class Taping(TorchDispatchMode):
    """Notes each operation and the tensors that it was done on, as the device would; refuses what a device does."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[tuple[Callable[..., Any], Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in READS:
            raise RuntimeError("operation not permitted when stream is capturing")
        out = func(*args, **(kwargs or {}))
        if func.namespace == "aten":
            self.done.append((func, args, kwargs or {}, out))
        return out


@final
class Tape(Recorder):
    """Repeats operations, not Python: on the tensors that were there, with the numbers that were there."""

    def __init__(self) -> None:
        self.replays = 0

    def record(self, play: Play) -> tuple[Callable[[], None], dict[str, Tensor]]:
        with Taping() as tape:
            values = play()

        @torch.no_grad()
        def replay() -> None:
            self.replays += 1
            with _disable_current_modes():  # it is one call of the host, whatever is in it
                for func, args, kwargs, out in tape.done:
                    for kept, new in zip(tree_leaves(out), tree_leaves(func(*args, **kwargs)), strict=True):
                        if isinstance(kept, Tensor) and kept.data_ptr() != new.data_ptr():
                            kept.copy_(new)

        return replay, values


@final
class Broken(Recorder):
    def record(self, play: Play) -> tuple[Callable[[], None], dict[str, Tensor]]:
        raise RuntimeError("no graph\nbut a second line")


@final
class Idle(Recorder):
    """A graph that does nothing."""

    def record(self, play: Play) -> tuple[Callable[[], None], dict[str, Tensor]]:
        return lambda: None, play()


ENGINES = pytest.mark.parametrize("kind", [Eager, Stacked])
RECIPES = pytest.mark.parametrize(
    "recipe",
    [
        pytest.param(tiny, id="plain"),
        pytest.param(lambda: lazy(tiny(k=2)), id="lazy"),
        pytest.param(lambda: replace(tiny(), simultaneous=True), id="simultaneous"),
        pytest.param(lambda: descending(lazy(tiny())), id="sgd"),
        pytest.param(lambda: tiny(precision="bfloat16", k=2), id="bfloat16"),
        pytest.param(lambda: create_recipe("mle-gmm.ring", {"batch_size": 16, "steps": 40}), id="mle"),
    ],
)


@ENGINES
@RECIPES
def test_a_repeated_step_is_the_plain_one_bit_by_bit(kind, recipe):
    tape = Tape()
    captured, plain = (engine(kind, recipe(), recorder=recorder) for recorder in (tape, Broken()))
    got, wanted = played(captured, 0, 35), played(plain, 0, 35)
    assert captured.take_notes() == []
    assert tape.replays > 10
    assert all(same(a, b) for a, b in zip(got, wanted, strict=True)), "values were read where others are now"
    assert same(state(captured, 35), state(plain, 35))
    assert plain.take_notes() == ["steps are not captured as a graph: RuntimeError: no graph"]


@ENGINES
@RECIPES
def test_controls_on_the_device_are_those_of_the_host_but_for_rounding(kind, recipe):
    captured, plain = engine(kind, recipe(), recorder=Tape()), engine(kind, recipe())
    for a, b in zip(played(captured, 0, 12), played(plain, 0, 12), strict=True):
        assert a.keys() == b.keys()
        for key in a:
            torch.testing.assert_close(a[key], b[key], rtol=1e-4, atol=1e-5)
    for key, value in state(plain, 12).items():
        if value.is_floating_point():
            torch.testing.assert_close(state(captured, 12)[key], value, rtol=1e-3, atol=1e-4)


@ENGINES
def test_a_captured_run_goes_on_where_it_stopped(kind):
    recipe = lazy(tiny(k=2))
    whole = engine(kind, recipe, recorder=Tape())
    played(whole, 0, 17)
    middle = state(whole, 17)
    played(whole, 17, 30)
    for first in (Tape(), None):  # one that was captured already must forget the state that it had
        again = engine(kind, recipe, recorder=first or Tape())
        if first:
            played(again, 0, 12)
        for run in range(len(again.seeds)):
            again.load(run, 17, {k.partition(" ")[2]: v.clone() for k, v in middle.items() if k.startswith(str(run))})
        played(again, 17, 30)
        assert same(state(again, 30), state(whole, 30))
        assert again.take_notes() == []


def test_a_run_of_a_captured_stack_that_is_frozen_stays():
    recipe = tiny()
    captured, plain = (engine(Stacked, recipe, recorder=recorder) for recorder in (Tape(), Broken()))
    for each in (captured, plain):
        played(each, 0, 10)
        held = {key: value.clone() for key, value in each.tensors(0, 10).items()}
        each.stacks["generator"].flat[0] = math.nan
        played(each, 10, 12)
        assert each.finite() == [False, True]
        each.freeze(0, 10, held)
        played(each, 12, 20)
        now = each.tensors(0, 20)
        assert all(torch.equal(now[key], held[key]) for key in held if key.startswith(("network", "ema")))
    assert same(state(captured, 20), state(plain, 20))
    assert captured.take_notes() == []


class Noisy(Discriminator):
    """It has statistics, and draws from torch's own random state."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(math.prod(shape), 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 1))

    def forward(self, x: Tensor, c: Tensor | None = None) -> Verdict:
        return Verdict(self.body(x.flatten(1)).squeeze(1))


def test_statistics_and_torchs_own_random_state_go_on_in_a_captured_run(adopt):
    adopt("discriminator", Entry("odd", f"{__name__}:Noisy", "odd", (SHAPE,)))
    recipe = create_recipe("js-gan.ring", {"batch_size": 16, "steps": 40, "discriminator": "odd"})
    ended = []
    for recorder in (Tape(), Broken()):
        made = engine(Eager, recipe, recorder=recorder)  # it sets torch's own random state
        played(made, 0, 30)
        ended.append(state(made, 30))
    captured, plain = ended
    assert same(captured, plain)
    assert captured["0 network.discriminator.body.1.num_batches_tracked"] == 3 * 30
    assert not torch.equal(captured["0 rng.global"], state(engine(Eager, recipe), 0)["0 rng.global"])


# Nothing waits for the device


@final
class Counting(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.counts = Counter[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


@ENGINES
@RECIPES
@pytest.mark.parametrize("recorder", [None, Broken])
def test_no_step_takes_a_number_from_the_device(kind, recipe, recorder):
    made = engine(kind, recipe(), recorder=recorder and recorder())
    played(made, 0, 2)
    with Counting() as counting:
        played(made, 2, 40)
    assert counting.counts, "nothing was counted"
    assert not {key: counting.counts[key] for key in READS if counting.counts[key]}


@ENGINES
@RECIPES
def test_between_chunks_the_host_of_a_captured_step_copies_its_rows_and_nothing_else(kind, recipe):
    made = engine(kind, recipe(), recorder=Tape())
    played(made, 0, 33)  # every kind of step was recorded
    assert made.streams[0].begins(32)
    with Counting() as counting:
        played(made, 33, 40)
    assert set(counting.counts) <= {"slice", "select", "empty_like", "_foreach_copy_"}
    assert counting.counts["_foreach_copy_"] == 2 * 7, "the rows, and the values"


@pytest.mark.parametrize("precision", ["tf32", "float32", "bfloat16"])
def test_torchs_switches_of_single_precision_agree_with_the_recipe_and_each_other(precision):
    engine(Eager, tiny(precision=precision))
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    lower = precision == "tf32"
    assert {matmul.fp32_precision, cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision} == {"tf32" if lower else "ieee"}
    assert (matmul.allow_tf32, cudnn.allow_tf32) == (lower, lower), "they contradict each other"
    with cudnn.flags(enabled=False):  # what code that needs a second derivative of a recurrent layer does
        pass


# What no graph can hold


class Counted(Discriminator):
    """Its buffer is another tensor after each pass."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layer = nn.Linear(math.prod(shape), 1)
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, x: Tensor, c: Tensor | None = None) -> Verdict:
        self.passes = self.passes + 1
        return Verdict(self.layer(x.flatten(1)).squeeze(1))


class Peeking(Discriminator):
    """It looks at numbers."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layer = nn.Linear(math.prod(shape), 1)

    def forward(self, x: Tensor, c: Tensor | None = None) -> Verdict:
        score = self.layer(x.flatten(1)).squeeze(1)
        return Verdict(-score if not x.is_meta and bool(score.sum() > 1e9) else score)


@final
@dataclass(frozen=True)
class Factored(Optimizer):
    def make(self, parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.Adafactor(parameters)


@final
class Clocked(Term):
    label = "clocked"

    def __call__(self, round: Round) -> Tensor:
        return round.fake_verdict().score.mean() * (1 + round.step)


def with_a(discriminator: str) -> Callable[[Any], Recipe]:
    def recipe(adopt: Any) -> Recipe:
        adopt("discriminator", Entry("odd", f"{__name__}:{discriminator}", "odd", (SHAPE,)))
        return create_recipe("js-gan.ring", {"batch_size": 16, "steps": 40, "discriminator": "odd"})

    return recipe


def factored(adopt: Any) -> Recipe:
    adopt("optimizer", Entry("factored", f"{__name__}:Factored", "factored"))
    data = tiny().json()
    data["players"]["generator"]["optimizer"] = {"kind": "optimizer", "name": "factored"}
    return Recipe.parse(data).check()


def clocked(adopt: Any) -> Recipe:
    recipe = tiny()
    return replace(recipe, turns=(*recipe.turns[:1], replace(recipe.turns[1], losses=Clocked())))


@pytest.mark.parametrize(
    ("recipe", "recorder", "why"),
    [
        (with_a("Counted"), Tape(), "discriminator.passes is replaced at each step"),
        (with_a("Peeking"), Tape(), "RuntimeError: operation not permitted"),
        (factored, Tape(), "the Adafactor of generator has no form for that"),
        (clocked, Tape(), "a term of the turn of generator reads the number of the step"),
        (lambda adopt: tiny(), Idle(), "becomes another"),
    ],
    ids=["buffer", "peeking", "optimizer", "clock", "idle"],
)
def test_what_no_graph_can_hold_is_done_plainly_and_says_why(recipe, recorder, why, adopt):
    recipe = recipe(adopt)
    made, plain = engine(Eager, recipe, recorder=recorder), engine(Eager, recipe, recorder=Broken())
    got, wanted = played(made, 0, 12), played(plain, 0, 12)
    (note,) = made.take_notes()
    assert note.startswith("steps are not captured as a graph: ")
    assert why in note
    assert all(same(a, b) for a, b in zip(got, wanted, strict=True)), "the attempt left something"
    assert same(state(made, 12), state(plain, 12))


# Where there is a GPU


@contextmanager
def strict() -> Iterator[None]:
    """What waits for the device raises."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@on_a_gpu
@ENGINES
@RECIPES
def test_on_a_gpu_a_graph_is_the_plain_step_bit_by_bit_and_nothing_waits(kind, recipe):
    captured, plain = engine(kind, recipe(), device=CUDA), engine(kind, recipe(), device=CUDA, recorder=Broken())
    got = played(captured, 0, 16)
    with strict():
        got += played(captured, 16, 20)
    got += played(captured, 20, 35)
    wanted = played(plain, 0, 35)
    assert captured.take_notes() == []
    assert isinstance(captured._captured.recorder, Graphs)
    assert sum(recorded is not None for recorded in captured._captured._recorded.values()) >= 2
    for a, b in zip(got, wanted, strict=True):
        for key in a:
            torch.testing.assert_close(a[key], b[key])
    assert same(state(captured, 35), state(plain, 35))


@on_a_gpu
@ENGINES
def test_on_a_gpu_a_captured_run_goes_on_where_it_stopped(kind):
    recipe = lazy(tiny(k=2))
    whole = engine(kind, recipe, device=CUDA)
    played(whole, 0, 17)
    middle = {k: v.cpu() for k, v in state(whole, 17).items()}
    played(whole, 17, 30)
    again = engine(kind, recipe, device=CUDA)
    for run in range(len(again.seeds)):
        again.load(run, 17, {k.partition(" ")[2]: v for k, v in middle.items() if k.startswith(str(run))})
    played(again, 17, 30)
    assert same(state(again, 30), state(whole, 30))
    assert again.take_notes() == []


@on_a_gpu
def test_on_a_gpu_stacked_runs_are_the_runs_that_they_are_alone():
    recipe = lazy(tiny(k=2))
    train = recipe.dataset.build().part("train")
    stack = Stacked(recipe, train, range(4), CUDA)
    alone = [Eager(recipe, train, seed, CUDA) for seed in range(4)]
    for step in range(8):
        got, wanted = stack.step(step), [each.step(step) for each in alone]
        for key, values in got.items():
            for value, each in zip(values, wanted, strict=True):
                torch.testing.assert_close(value, each[key], rtol=1e-4, atol=1e-5)
