"""Terms, penalties, updates, methods and recipes against their contracts."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Mapping
from typing import Final

import torch
from torch import Tensor, nn

from ganzoo.dataset import Batch, Dataset
from ganzoo.errors import DataError, IncompatibleError
from ganzoo.game import Draw, Round, Turn
from ganzoo.penalties import Penalty
from ganzoo.plugins import registry
from ganzoo.recipe import BUDGET, Method, Recipe, create_recipe
from ganzoo.terms import Term
from ganzoo.testing.common import (
    BATCH,
    REPLICAS,
    SMALL,
    STEEP,
    Make,
    Replica,
    attempt,
    check_dataclass,
    check_pure,
    check_replicas,
    expect,
    finite,
    random_batch,
    rng,
)
from ganzoo.update import Optimizer, Projection, Schedule

STEPS: Final = 1_000
#: Parameters of a recipe that is checked unasked: its rounds hold them a dozen times over, in float64.
LARGEST: Final = 50_000_000


def check_term(term: Term, networks: Mapping[str, Make] | None = None, *, name: str = "") -> None:
    """A scalar of the round, the same for R replicas under `torch.func.vmap` as in R rounds, gradients included.

    ``networks`` makes the players that the term asks for; by default a small generator with a density and a small
    discriminator with logits, both in two dimensions and reading the label.
    """
    name = name or f"term {type(term).__name__}"
    expect(isinstance(term, Term), f"{name}: {type(term).__name__} is no ganzoo.Term")
    check_dataclass(term, name)
    expect(isinstance(term.label, str) and bool(term.label), f"{name}: label must name it in logs")
    expect(all(isinstance(d, Draw) for d in term.draws.values()), f"{name}: draws must map names to ganzoo.Draw")
    make = networks or SMALL
    with attempt(f"{name}: check"):
        term.check({player: each() for player, each in make.items()})
    batches = [_batch(make, seed) for seed in range(REPLICAS)]
    _check_round(term, make, batches[0], name)
    check_replicas(name, term, make, batches, term.draws)


def _batch(make: Mapping[str, Make], seed: int) -> Batch:
    shapes = [getattr(each(), "shape", None) for each in make.values()]
    return random_batch(seed, next((tuple(s) for s in shapes if s), (2,)))


def _check_round(term: Term, make: Mapping[str, Make], real: Batch, name: str) -> None:
    replica = Replica.of(make, real, term.draws, 0)
    before = [p.detach().clone() for p in replica.parameters()]
    value: Tensor = check_pure(f"{name}: in one plain round", lambda: replica.play(term).detach())
    expect(value.shape == (), f"{name}: has shape {tuple(value.shape)}, the contract is a scalar ()")
    _, gradients = replica.plain(term)
    expect(finite(value, *gradients), f"{name}: its value or a parameter's gradient is not finite")
    expect(any(bool(g.any()) for g in gradients), f"{name}: no parameter of any player gets a gradient from it")
    kept = all(torch.equal(p, q) for p, q in zip(replica.parameters(), before, strict=True))
    expect(kept, f"{name}: changes parameters; that is the optimiser's work")
    _check_closed(term, replica, name)
    for key, seen in _observed(term, replica, name).items():
        expect(
            isinstance(seen, Tensor) and seen.shape == (),
            f"{name}: observe gives {key} = {seen!r:.40}, the contract is a scalar",
        )


def _check_closed(term: Term, replica: Replica, name: str) -> None:
    with Round({}, replica.real, {}) as round:
        pass
    try:
        term(round)
    except (RuntimeError, KeyError):
        return
    expect(False, f"{name}: gives a value for a round that is over; it must keep nothing from one round for another")


def _observed(term: Term, replica: Replica, name: str) -> dict[str, Tensor]:
    seen: dict[str, Tensor] = {}

    def observe(round: Round) -> Tensor:
        with torch.no_grad():
            seen.update(term.observe(round))
        return torch.zeros(())

    with attempt(f"{name}: observe"):
        replica.play(observe)
    return seen


def check_penalty(penalty: Penalty, networks: Mapping[str, Make] | None = None, *, name: str = "") -> None:
    """A term that holds the discriminator back: its gradient reaches it, and stays finite on a constant one."""
    name = name or f"penalty {type(penalty).__name__}"
    expect(isinstance(penalty, Penalty), f"{name}: {type(penalty).__name__} is no ganzoo.Penalty")
    make = networks or STEEP
    replica = Replica.of(make, _batch(make, 0), penalty.draws, 0)
    player = penalty.discriminator
    with attempt(f"{name}: player {player!r}"):
        discriminator = replica.networks[player]
    with attempt(f"{name}: in one plain round it"):
        value, gradients = replica.plain(penalty)
    of = {id(p): g for p, g in zip(replica.parameters(), gradients, strict=True)}
    reached = any(bool(of[id(p)].any()) for p in discriminator.parameters())
    expect(
        reached and bool(value != 0),
        f"{name}: its value or its gradient in the discriminator is zero; it must compute its verdict afresh "
        "(round.discriminate inside ganzoo.input_gradient), a cached one has no gradient in x",
    )
    check_term(penalty, make, name=name)
    with torch.no_grad():
        for parameter in discriminator.parameters():
            parameter.zero_()
    value, gradients = replica.plain(penalty)
    expect(finite(value, *gradients), f"{name}: on a constant discriminator its value or gradient is not finite")


def check_schedule(schedule: Schedule, *, name: str = "") -> None:
    """A finite float at every step of a run of any length, a function of the time alone."""
    name = name or f"schedule {type(schedule).__name__}"
    expect(isinstance(schedule, Schedule), f"{name}: {type(schedule).__name__} is no ganzoo.Schedule")
    check_dataclass(schedule, name)
    for steps in (1, 2, STEPS):
        for step in range(0, steps, max(1, steps // 10)):
            with attempt(f"{name}: at step {step} of {steps}"):
                factor, again = schedule(step, steps), schedule(step, steps)
            good = isinstance(factor, (int, float)) and math.isfinite(factor)
            expect(good, f"{name}: at step {step} of {steps} it is {factor!r}, the contract is a finite float")
            expect(
                factor == again,
                f"{name}: at step {step} of {steps} it is {factor}, then {again}; it must have no state",
            )


def check_optimizer(optimizer: Optimizer, *, name: str = "") -> None:
    """Elementwise, so that replicas can share one; with a learning rate; exactly resumable; lowers a parabola."""
    name = name or f"optimizer {type(optimizer).__name__}"
    expect(isinstance(optimizer, Optimizer), f"{name}: {type(optimizer).__name__} is no ganzoo.Optimizer")
    check_dataclass(optimizer, name)
    start = torch.randn(REPLICAS, 5, generator=rng(0))
    target = torch.randn(REPLICAS, 5, generator=rng(1))
    with attempt(f"{name}: make"):
        made = optimizer.make([start.clone().requires_grad_()])
    expect(
        isinstance(made, torch.optim.Optimizer),
        f"{name}: make returned {type(made).__name__}, no torch.optim.Optimizer",
    )
    expect(
        all("lr" in g for g in made.param_groups), f"{name}: its parameter groups have no lr, which schedules multiply"
    )
    stacked = _descend(optimizer, start, target, name)
    separate = torch.stack([_descend(optimizer, s, t, name) for s, t in zip(start, target, strict=True)])
    expect(
        torch.allclose(stacked, separate, atol=1e-6),
        f"{name}: is not elementwise: stacked replicas move as separate ones do not",
    )
    better = (stacked - target).square().sum() < (start - target).square().sum()
    expect(better, f"{name}: twenty steps on a parabola do not lower it")
    resumed = _descend(optimizer, start, target, name, resume=True)
    expect(torch.equal(stacked, resumed), f"{name}: state_dict and load_state_dict in the middle change what follows")


def _descend(optimizer: Optimizer, start: Tensor, target: Tensor, name: str, resume: bool = False) -> Tensor:
    x = start.clone().requires_grad_()
    with attempt(f"{name}: a step"):
        made = optimizer.make([x])
        for step in range(20):
            if resume and step == 10:
                state = copy.deepcopy(made.state_dict())
                made = optimizer.make([x])
                made.load_state_dict(state)
            made.zero_grad()
            (x - target).square().sum().backward()
            made.step()
    return x.detach()


def check_projection(projection: Projection, *, name: str = "") -> None:
    """Changes parameters in place, keeps them finite, and keeps their shapes."""
    name = name or f"projection {type(projection).__name__}"
    expect(isinstance(projection, Projection), f"{name}: {type(projection).__name__} is no ganzoo.Projection")
    check_dataclass(projection, name)
    parameters = [
        nn.Parameter(3 * torch.randn(4, 3, generator=rng(0))),
        nn.Parameter(3 * torch.randn(4, generator=rng(1))),
    ]
    with torch.no_grad(), attempt(f"{name}: a call"):
        shapes = [p.shape for p in parameters]
        projection(iter(parameters))
    expect(
        [p.shape for p in parameters] == shapes and finite(*parameters),
        f"{name}: parameters lost their shape or are not finite",
    )
    alone = [3 * torch.randn(4, 3, generator=rng(seed)) for seed in range(REPLICAS)]
    together = torch.stack([each.flatten() for each in alone])
    with torch.no_grad(), attempt(f"{name}: a call on stacked replicas"):
        projection([together])
        for each in alone:
            projection([each])
    expect(
        torch.equal(together, torch.stack([each.flatten() for each in alone])),
        f"{name}: on stacked replicas it gives something else; it must be elementwise",
    )


def check_method(method: Method, *, name: str = "") -> None:
    """Players and turns that fit each other, made of registered parts, and a budget within its bounds."""
    name = name or "method"
    expect(isinstance(method, Method), f"{name}: made {type(method).__name__}, the contract is a ganzoo.Method")
    expect(bool(method.players) and bool(method.turns), f"{name}: needs at least one player and one turn")
    expect("generator" in {p.network.kind for p in method.players.values()}, f"{name}: no player is a generator")
    for player, each in method.players.items():
        kinds = each.network.kind, each.optimizer.kind, each.schedule.kind if each.schedule else "schedule"
        right = kinds[0] in ("generator", "discriminator") and kinds[1:] == ("optimizer", "schedule")
        expect(
            right, f"{name}: player {player} is made of {kinds}, the contract is a network, an optimizer and a schedule"
        )
    for turn in method.turns:
        expect(isinstance(turn, Turn), f"{name}: {turn!r:.60} is no ganzoo.Turn")
        expect(turn.player in method.players, f"{name}: a turn is of {turn.player!r}, which is none of its players")
        expect(turn.repeats >= 1, f"{name}: a turn is repeated {turn.repeats} times")
    for option in BUDGET:
        with attempt(f"{name}: {option.name}"):
            option.parse(getattr(method, option.name), name)


def check_method_on_data(method: str) -> None:
    """It makes sound recipes on every registered dataset that it fits, and there is one. Where its networks have more
    than `LARGEST` parameters there it is not tried."""
    reasons: list[str] = []
    datasets = registry().names("dataset")
    for dataset in datasets:
        try:
            recipe = create_recipe(f"{method}.{dataset}")
        except (IncompatibleError, DataError) as error:  # unfit, or not at hand
            reasons.append(f"{dataset}: {error}")
            continue
        if (size := recipe.size) > LARGEST:
            reasons.append(f"{dataset}: {size / 1e6:,.0f} million parameters are too many to check")
            continue
        try:
            check_recipe(recipe)
        except DataError as error:  # some are read only when samples are wanted
            reasons.append(f"{dataset}: {error}")
    expect(len(reasons) < len(datasets), f"method {method}: fits no registered dataset: {'; '.join(reasons)}")


def check_recipe(recipe: Recipe) -> None:
    """It goes through JSON and back, keeps its digest, fits together, and plays a round of each turn in R replicas."""
    name = f"recipe {recipe.name}"
    with attempt(f"{name}: JSON"):
        again = Recipe.parse(json.loads(json.dumps(recipe.json(), allow_nan=False)))
    expect(again == recipe, f"{name}: is not equal to what comes back from its JSON")
    expect(again.digest == recipe.digest, f"{name}: its digest is not stable")
    expect(recipe.check() is recipe, f"{name}: check does not return it")
    dataset: Dataset = recipe.dataset.build()
    make: dict[str, Make] = {player: each.network.build for player, each in recipe.players.items()}
    stackable = all(getattr(each(), "stackable", True) for each in make.values())
    train = dataset.some("train", BATCH * REPLICAS)
    batches = [train.take(slice(BATCH * i, BATCH * (i + 1))) for i in range(REPLICAS)]
    for turn in (turn.built() for turn in recipe.turns):
        what = f"{name}: the turn of {turn.player}"
        loss = _total(turn)
        replica = Replica.of(make, batches[0], turn.draws(), 0)
        value, gradients = replica.plain(loss)
        expect(finite(value, *gradients), f"{what} on untrained networks has a loss or gradient that is not finite")
        if stackable:
            check_replicas(what, loss, make, batches, turn.draws())


def _total(turn: Turn) -> Callable[[Round], Tensor]:
    return lambda round: turn.losses(round)[0]
