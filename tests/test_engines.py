"""However a recipe is executed, it is the same training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganzoo.discriminator import Discriminator, Verdict
from ganzoo.engine import COMPILED, SINGLE, STACK, choose, widths
from ganzoo.engine.eager import Eager
from ganzoo.engine.rounds import probe
from ganzoo.engine.stack import Stack
from ganzoo.engine.stacked import Stacked
from ganzoo.engine.stream import Stream
from ganzoo.errors import IncompatibleError, OptionError
from ganzoo.executor import Job, carry_out, shares
from ganzoo.plugins import registry
from ganzoo.recipe import Recipe, create_recipe, recipe_names
from ganzoo.registry import Entry
from ganzoo.testing import check_engines
from ganzoo.train import Run, together
from ganzoo.zoo import SHAPE

CPU = torch.device("cpu")
TINY = {"batch_size": 16, "steps": 40, "evaluations": 1}
SMALL = {**TINY, "generator.hidden": 8, "discriminator.hidden": 8}


def tiny(name: str = "js-gan.ring", **more: Any) -> Recipe:
    return create_recipe(name, {**(SMALL if "-gan." in name else TINY), **more})


def stack(recipe: Recipe, seeds: Any, **options: Any) -> Stacked:
    return Stacked(recipe, recipe.dataset.build().part("train"), seeds, CPU, **options)


def played(engine: Any, first: int, last: int) -> Any:
    for step in range(first, last):
        engine.step(step)
    return engine


def same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


# The contract, over everything registered


@pytest.mark.parametrize("name", recipe_names())
def test_stacked_runs_are_the_runs_that_they_are_alone(name):
    assert check_engines(create_recipe(name, TINY)) == ""


def lazy(recipe: Recipe) -> Recipe:
    """With a penalty at every third step, whose weight follows a schedule, and learning rates that do."""
    data = recipe.json()
    for number, kind in enumerate(("r1", "gradient-penalty")):
        term = {"kind": "penalty", "name": kind}
        weight = {"kind": "schedule", "name": "linear", "options": {"end": 0.1}} if number else 0.5
        data["turns"][0]["losses"].append({"term": term, "weight": weight, "every": 1 + 2 * number})
    data["players"]["generator"]["schedule"] = {"kind": "schedule", "name": "cosine"}
    return Recipe.parse(data).check()


def test_lazy_terms_schedules_and_repeats_are_the_same_in_a_stack():
    assert check_engines(lazy(tiny(k=2)), steps=8) == ""


@pytest.mark.slow
def test_a_compiled_stack_is_the_same_training_too():
    recipe = lazy(tiny())
    made = stack(recipe, (0, 1), compile=True)
    played(made, 0, 1)
    assert made.take_notes() == []
    assert check_engines(recipe, steps=7, compile=True) == ""


def test_a_wide_stack_is_compiled_in_blocks_of_runs_and_in_bfloat16_too(monkeypatch):
    monkeypatch.setattr("ganzoo.engine.compiled.BLOCK_BYTES", 1)
    recipe = tiny(batch_size=64, precision="bfloat16")
    blocks, whole = (stack(recipe, range(5), compile=compile) for compile in (True, False))
    for step in range(3):
        got, wanted = blocks.step(step), whole.step(step)
        for name in wanted:
            torch.testing.assert_close(got[name], wanted[name], rtol=0.02, atol=0.01)
    assert blocks.take_notes() == []
    for name in recipe.players:
        assert blocks.stacks[name].flat.shape[0] == 5  # two, and three
        torch.testing.assert_close(blocks.stacks[name].flat, whole.stacks[name].flat, rtol=0.1, atol=0.01)


def test_simultaneous_players_move_at_once_in_a_stack_too():
    assert check_engines(replace(tiny(), simultaneous=True)) == ""


@pytest.mark.parametrize("name", ["js-gan.ring", "ns-gan.mixture-1d", "mle-gmm.ring", "mle-gaussian.digits"])
@pytest.mark.parametrize("batch", [64, 13])  # also where loops over vectors have an end
def test_bits_do_not_depend_on_how_many_ride_along(name, batch):
    recipe = tiny(name, batch_size=batch)
    alone = played(stack(recipe, (5,)), 0, 30).tensors(0, 30)
    for others in (1, 2, 6, 16):
        for place in (0, others):
            seeds = [*range(100, 100 + others)]
            seeds.insert(place, 5)
            assert same(played(stack(recipe, seeds), 0, 30).tensors(place, 30), alone), f"{others} others, at {place}"


def test_a_stacks_checkpoint_is_one_of_the_plain_engine_and_the_other_way_round():
    recipe = tiny(k=2)
    plain = played(Eager(recipe, recipe.dataset.build().part("train"), 1, CPU), 0, 10)
    stacked = stack(recipe, (0, 1))
    stacked.load(1, 10, plain.tensors(0, 10))
    got, wanted = stacked.tensors(1, 10), plain.tensors(0, 10)
    assert all(torch.equal(got[key], wanted[key]) for key in got)
    assert wanted.keys() - got.keys() == {"rng.global"}
    played(stacked, 10, 13)
    played(plain, 10, 13)
    for key, value in stacked.network(1, "generator").state_dict().items():
        torch.testing.assert_close(value, plain.network(0, "generator").state_dict()[key])


# Divergence


def test_a_frozen_run_stays_and_the_others_go_on():
    recipe = tiny()
    three, two = stack(recipe, (0, 1, 2)), stack(recipe, (0, 2))
    played(three, 0, 10), played(two, 0, 10)
    held = {key: value.clone() for key, value in three.tensors(1, 10).items()}
    three.stacks["generator"].flat[1] = math.nan
    played(three, 10, 12), played(two, 10, 12)
    assert three.finite() == [True, False, True]
    three.freeze(1, 10, held)
    played(three, 12, 20), played(two, 12, 20)
    now = three.tensors(1, 10)
    assert all(torch.equal(now[key], held[key]) for key in held if key.startswith(("network", "ema"))), "it moved"
    assert all(torch.equal(now[key], held[key]) for key in held if "exp_avg" in key)
    for index, run in enumerate((0, 2)):
        assert same(three.tensors(run, 20), two.tensors(index, 20))


def test_a_diverging_seed_is_reported_and_does_not_stop_the_others(tmp_path, adopt):
    adopt("generator", Entry("fragile", f"{__name__}:make_fragile", "one seed of it blows up", (SHAPE,)))
    recipe = create_recipe("js-gan.ring", {**TINY, "generator": "fragile", "steps": 300})
    burning = {seed: float(built(recipe, seed).fuse) > 0 for seed in range(20)}
    bad = [seed for seed in burning if burning[seed]][:1]
    seeds = sorted([*bad, *[seed for seed in burning if not burning[seed]][:2]])
    jobs = [Job(recipe, seed, tmp_path / f"seed-{seed}", "cpu", draw=False, checkpoint_seconds=0) for seed in seeds]
    results = {job.seed: result for job, result in carry_out(jobs)}
    assert {result["together"] for result in results.values()} == {3}
    assert [seed for seed, result in results.items() if result["status"] == "diverged"] == bad
    assert 0 < results[bad[0]]["step"] < results[bad[0]]["diverged_at"] < 300
    others = [result for seed, result in results.items() if seed not in bad]
    assert all(result["status"] == "finished" and result["metrics"] for result in others)
    assert not (tmp_path / f"seed-{bad[0]}" / "model").exists()


def make_fragile(shape: tuple[int, ...]) -> Any:
    """A generator whose samples grow, at seeds that are so drawn, until they are infinite."""
    network = registry().find("generator", "mlp").create({"shape": shape, "hidden": 8})
    network.register_buffer("fuse", (torch.rand(()) < FUSE).float())
    network.register_buffer("age", torch.zeros(()))
    forward = network.forward

    def growing(z: Tensor, c: Tensor | None = None) -> Tensor:
        if network.training:
            network.age.add_(1)
        return forward(z, c) * torch.exp(network.fuse * network.age)

    network.forward = growing
    return network


FUSE = 0.3


def built(recipe: Recipe, seed: int) -> Any:
    return Eager(recipe, recipe.dataset.build().part("train"), seed, CPU).networks["generator"]


# The choice


def chosen(recipe: Recipe, runs: int, asked: str = "auto") -> Any:
    return choose(recipe, recipe.dataset.build().part("train"), runs, CPU, asked)


def test_one_seed_is_run_alone_and_several_are_stacked_and_long_ones_compiled():
    assert chosen(tiny(), 1).name == SINGLE
    assert chosen(tiny(), 1, "stack").name == STACK
    assert chosen(tiny(), 5).name == STACK
    assert chosen(tiny(), 5, "single").name == SINGLE
    wide = {"generator.hidden": 128, "discriminator.hidden": 128, "batch_size": 128}
    assert "no faster uncompiled" in chosen(tiny(**wide), 5).why
    assert chosen(tiny(**wide), 5, "stack").name == STACK
    assert chosen(tiny(**wide, steps=5_000), 5).name == COMPILED
    assert {chosen(tiny(steps=20_000), runs).name for runs in (2, 3, 50)} == {COMPILED}


def test_runs_that_began_in_a_stack_go_on_in_it_whatever_is_asked(tmp_path):
    runs = [Run(tiny(), seed, tmp_path / str(seed), draw=False) for seed in (0, 1)]
    stop = RuntimeError("now")

    def ended(run: Run, record: Mapping[str, Any]) -> None:
        if "losses" in record:
            raise stop

    with pytest.raises(RuntimeError, match="now"):
        list(together(runs, listen=ended, engine="stack"))
    said: list[Mapping[str, Any]] = []
    again = [Run(tiny(), seed, tmp_path / str(seed), draw=False) for seed in (0, 1)]
    ends = list(together(again, resume=True, listen=lambda run, record: said.append(record), engine="single"))
    assert {run.engine.name for run, _ in ends} == {STACK}
    (warning,) = (record["warning"] for record in said if "warning" in record)
    assert warning.startswith("goes on by the engine that it began with, stack")


class Convolving(Discriminator):
    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layer = nn.Conv1d(1, 1, 1)
        self.image = nn.Conv2d(1, 1, 1)

    def forward(self, x: Tensor, c: Tensor | None = None) -> Verdict:
        return Verdict(self.image(x.flatten(1)[:, None, None]).flatten(1).sum(1))


class Peeking(Discriminator):
    """It looks at numbers, which no stack can."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layer = nn.Linear(math.prod(shape), 1)

    def forward(self, x: Tensor, c: Tensor | None = None) -> Verdict:
        score = self.layer(x.flatten(1)).squeeze(1)
        return Verdict(-score if not x.is_meta and bool(score.sum() > 1e9) else score)


class Unwilling(Peeking):
    stackable = False


@pytest.mark.parametrize(
    ("target", "why"), [("Convolving", "no faster"), ("Peeking", "data-dependent"), ("Unwilling", "not stackable")]
)
def test_what_cannot_be_stacked_is_run_one_by_one_and_says_why(target, why, tmp_path, adopt):
    adopt("discriminator", Entry("odd", f"{__name__}:{target}", "odd", (SHAPE,)))
    recipe = create_recipe("js-gan.ring", {**TINY, "discriminator": "odd", "steps": 3})
    choice = chosen(recipe, 2)
    assert choice.name == SINGLE
    assert why in choice.why
    heard: list[Any] = []
    jobs = [Job(recipe, seed, tmp_path / f"seed-{seed}", "cpu", draw=False) for seed in range(2)]
    results = [result for _, result in carry_out(jobs, lambda job, record: heard.append(record))]
    assert [(result["status"], result["engine"], result["together"]) for result in results] == [
        ("finished", SINGLE, 1)
    ] * 2
    assert any(why in record.get("why", "") for record in heard)
    if target != "Convolving":
        with pytest.raises(IncompatibleError, match=why):
            chosen(recipe, 2, "stack")


def test_a_folder_that_is_refused_does_not_stop_the_other_seeds(tmp_path):
    recipe = tiny(steps=5)
    jobs = [Job(recipe, seed, tmp_path / f"seed-{seed}", "cpu", draw=False) for seed in range(3)]
    list(carry_out([Job(tiny(steps=7), 1, tmp_path / "seed-1", "cpu", draw=False)]))
    results = {job.seed: result for job, result in carry_out(jobs)}
    assert {seed: result["status"] for seed, result in results.items()} == {0: "finished", 1: "failed", 2: "finished"}
    assert "steps: 7 there, 5 here" in results[1]["error"]


@pytest.mark.parametrize(
    ("runs", "workers", "wanted"),
    [(5, 1, [5]), (5, 2, [3, 2]), (3, 8, [3]), (4, 8, [2, 2]), (64, 1, [32, 32]), (70, 2, [24, 23, 23]), (1, 4, [1])],
)
def test_seeds_are_cut_into_stacks_for_all_processes_but_never_one_by_one(runs, workers, wanted):
    assert widths(runs, workers) == wanted


def test_every_job_is_in_one_share_with_its_like():
    recipes = [tiny(), tiny("ns-gan.ring")]
    jobs = [Job(recipe, seed, Path(), "cpu") for seed in range(4) for recipe in recipes]
    made = shares(jobs, 4)
    assert sorted(len(share) for share in made) == [2, 2, 2, 2]
    assert all(len({job.recipe.name for job in share}) == 1 for share in made)
    assert {id(job) for share in made for job in share} == {id(job) for job in jobs}


@pytest.mark.parametrize(("engine", "sizes"), [("auto", [3]), ("stack", [3]), ("single", [1, 1, 1])])
def test_seeds_that_are_not_to_be_stacked_have_a_process_each(engine, sizes):
    jobs = [Job(tiny(), seed, Path(), "cpu", engine=engine) for seed in range(3)]
    assert [len(share) for share in shares(jobs, 3)] == sizes


# What a run draws


def stream(recipe: Recipe, seed: int = 0) -> Stream:
    made = Eager(recipe, recipe.dataset.build().part("train"), seed, CPU)
    return made.stream


def test_a_chunk_is_drawn_again_from_the_state_where_it_began():
    recipe = tiny(k=3)
    one, other = stream(recipe), stream(recipe)
    first = one.chunk(0)
    assert 1 < one.steps <= 32
    middle = one.steps // 2
    other.load(one.state(middle))
    again = other.chunk(middle)
    assert all(same(a, b) for a, b in zip(first, again, strict=True))
    second = one.chunk(one.steps)
    assert all(same(a, b) for a, b in zip(second, other.chunk(one.steps), strict=True))
    assert not torch.equal(first[0]["x"], second[0]["x"])
    assert first[0]["x"].shape[:2] == (one.steps * 3, 16)
    assert first[1]["x"].shape[:2] == (one.steps, 16)
    assert one.row(0, one.steps + 2, 1) == 2 * 3 + 1


def test_shared_noise_is_that_of_the_turn_before_and_nothing_else_changes():
    fresh, shared = stream(tiny(k=2)).chunk(0), stream(tiny(k=2, shared_noise=True)).chunk(0)
    z = [feed["z generator"] for feed in shared]
    assert torch.equal(z[1], z[0][1::2])
    assert torch.equal(fresh[0]["z generator"], z[0])
    assert not torch.equal(fresh[1]["z generator"], z[1])
    assert torch.equal(fresh[1]["x"], shared[1]["x"])


def test_what_changes_the_result_is_in_the_recipe_and_only_then():
    plain, cheap = tiny(), tiny(precision="bfloat16", shared_noise=True)
    assert not {"precision", "shared_noise"} & set(plain.json())
    assert (cheap.json()["precision"], cheap.json()["shared_noise"]) == ("bfloat16", True)
    assert plain.digest != cheap.digest
    assert Recipe.parse(cheap.json()) == cheap
    with pytest.raises(OptionError, match="precision"):
        tiny(precision="float8")


def test_in_lower_precision_networks_are_rounded_and_losses_and_penalties_are_not():
    recipe = lazy(tiny(precision="bfloat16"))
    low, full = (Eager(each, each.dataset.build().part("train"), 0, CPU) for each in (recipe, lazy(tiny())))
    a, b = low.step(0), full.step(0)
    assert all(value.dtype == torch.float32 for value in a.values())
    assert a["discriminator/criticise"] != b["discriminator/criticise"]
    assert a["discriminator/criticise"].item() == pytest.approx(b["discriminator/criticise"].item(), rel=0.02)
    assert a["discriminator/r1"] == b["discriminator/r1"], "the penalty's own verdict was rounded"
    assert low.networks["generator"].body[0].weight.dtype == torch.float32


def test_a_stack_is_rounded_too_where_its_recipe_says_so():
    low, full = (stack(each, (0, 1)) for each in (lazy(tiny(precision="bfloat16")), lazy(tiny())))
    a, b = low.step(0), full.step(0)
    assert all(value.dtype == torch.float32 for value in a.values())
    assert not torch.equal(a["discriminator/criticise"], b["discriminator/criticise"])
    torch.testing.assert_close(a["discriminator/criticise"], b["discriminator/criticise"], rtol=0.02, atol=0)
    assert torch.equal(a["discriminator/r1"], b["discriminator/r1"]), "the penalty's own verdict was rounded"
    assert {held.flat.dtype for held in low.stacks.values()} == {torch.float32}
    alone = stack(lazy(tiny(precision="bfloat16")), (1,))
    assert same(played(alone, 0, 5).tensors(0, 5), played(low, 1, 5).tensors(1, 5))


# Both verdicts in one pass


class Normed(Discriminator):
    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(math.prod(shape), 4), nn.BatchNorm1d(4), nn.Linear(4, 1))

    def forward(self, x: Tensor, c: Tensor | None = None) -> Verdict:
        return Verdict(self.body(x.flatten(1)).squeeze(1))


class Crowded(Peeking):
    """Its verdict depends on how much the samples of a batch differ."""

    def forward(self, x: Tensor, c: Tensor | None = None) -> Verdict:
        return Verdict(self.layer(x.flatten(1)).squeeze(1) + x.std())


@pytest.mark.parametrize(("target", "wanted"), [(Normed, False), (Crowded, False), (Peeking, True)])
def test_two_batches_are_judged_as_one_only_where_that_is_the_same(target, wanted):
    recipe = tiny()
    made = Eager(recipe, recipe.dataset.build().part("train"), 0, CPU)
    feed = {key: value[0] for key, value in made.stream.chunk(0)[0].items()}
    torch.manual_seed(0)
    networks = {**made.networks, "discriminator": target((2,))}
    before = {key: value.clone() for key, value in networks["discriminator"].state_dict().items()}
    found = probe(made.turns[0], networks, feed)
    assert bool(found.pairs) is wanted
    assert not found.timed
    assert same(before, networks["discriminator"].state_dict()), "looking changed something"
    assert not probe(made.turns[1], networks, feed).pairs, "the generator's turn reads one verdict only"


# Stacks of networks


def test_a_stack_holds_each_networks_own_state_dict():
    made = []
    for _ in range(3):
        network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
        network[2].bias.requires_grad_(False)
        network.register_buffer("order", torch.tensor([1, 0]), persistent=False)
        network(torch.randn(8, 2))
        made.append(network)
    held = Stack(made, CPU)
    assert "order" not in held.buffers
    for run, network in enumerate(made):
        assert same(held.state(run), network.state_dict())
    assert held.flat.shape == (3, 64)
    twin = held.clone()
    twin.load(0, held.state(2))
    assert same(twin.state(0), made[2].state_dict())
    assert same(held.state(0), made[0].state_dict())


def test_parameters_of_several_types_make_no_stack():
    network = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1).double())
    with pytest.raises(IncompatibleError, match="several types"):
        Stack([network, network], CPU)
