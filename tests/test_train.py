"""What training does: same bits from the same seed, honest endings, averages, schedules, events, and known optima."""

from __future__ import annotations

import copy
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from processes import distribution, environment, forked
from scipy import integrate
from sklearn.mixture import GaussianMixture

from ganzoo.dataset import Batch, Dataset
from ganzoo.engine.eager import Eager
from ganzoo.engine.sampler import Sampler
from ganzoo.errors import IncompatibleError, OptionError, RunError
from ganzoo.part import Option
from ganzoo.recipe import Recipe, create_recipe
from ganzoo.registry import Entry
from ganzoo.train import Outcome, Run, pick_device
from ganzoo.zoo.generators import GaussianGenerator

CPU = torch.device("cpu")
SMALL = {"generator.hidden": 16, "discriminator.hidden": 16, "batch_size": 32, "evaluations": 1}


def recipe(name: str = "js-gan.ring", **changes: Any) -> Recipe:
    small = SMALL if "-gan." in name else {"evaluations": 1}
    return create_recipe(name, {**small, **{key.replace("__", "."): value for key, value in changes.items()}})


def changed(whole: Recipe, change: Any) -> Recipe:
    """The recipe with its JSON edited by ``change``."""
    data = whole.json()
    change(data)
    return Recipe.parse(data).check()


def run(what: Recipe, folder: Path, seed: int = 0, **options: Any) -> tuple[Run, Outcome]:
    made = Run(what, seed, folder, **{"device": "cpu", "draw": False, **options})
    return made, made.train()


def log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def equal(a: Any, b: Any) -> bool:
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def engine(what: Recipe, seed: int = 0) -> Eager:
    return Eager(what, what.dataset.build().part("train"), seed, CPU)


# One seed, one result


def test_the_same_seed_gives_the_same_bits_and_another_one_others(tmp_path):
    what = recipe(steps=20)
    (first, _), (again, _) = (run(what, tmp_path / name) for name in ("first", "again"))
    other, _ = run(what, tmp_path / "other", seed=1)
    assert equal(first.generator(), again.generator())
    assert [r["losses"] for r in log(tmp_path / "first")] == [r["losses"] for r in log(tmp_path / "again")]
    assert not equal(first.generator(), other.generator())


def test_the_callers_random_state_has_no_say(tmp_path):
    what = recipe(steps=5)
    runs = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        runs.append(run(what, tmp_path / str(seed))[0].generator())
    assert equal(*runs)


def test_looking_does_not_change_the_result(tmp_path):
    """Pictures, evaluations and checkpoints have random streams of their own."""
    plain, _ = run(recipe(steps=30), tmp_path / "plain")
    seen, _ = run(recipe(steps=30, evaluations=7), tmp_path / "seen", draw=True, checkpoint_seconds=0.0)
    assert equal(plain.generator(), seen.generator())
    names = sorted(path.name for path in (tmp_path / "seen" / "pictures").iterdir())
    assert names == [f"step-{step:09d}.png" for step in (0, 15, 30)]


@pytest.mark.parametrize(("steps", "evaluations"), [(30, 1), (30, 3), (350, 10), (301, 7)])
def test_validation_happens_as_often_as_was_asked(tmp_path, steps, evaluations):
    what = recipe("mle-gaussian.mixture-1d", steps=steps, evaluations=evaluations, batch_size=8)
    _, outcome = run(what, tmp_path / "run")
    judged = [record for record in log(tmp_path / "run") if "validation" in record]
    every = steps // evaluations
    assert [record["step"] for record in judged] == sorted({*range(every, steps + 1, every), steps})
    best = min(judged, key=lambda record: record["validation"])
    assert (outcome.best_step, outcome.best_validation) == (best["step"], best["validation"])


def test_the_best_generator_is_that_of_the_best_step(tmp_path):
    what = recipe("mle-gaussian.mixture-1d", steps=40, evaluations=4, optimizer__lr=0.5, ema=0.0, batch_size=4)
    what = changed(what, lambda data: data["players"]["generator"].update(schedule=None))
    made, outcome = run(what, tmp_path / "run")
    assert outcome.best_step is not None
    assert outcome.best_step < 40, "the last step is the best here: choose a wilder learning rate"
    stopped = engine(what)
    for step in range(outcome.best_step):
        stopped.step(step)
    assert equal(made.generator("best"), stopped.ema["generator"])
    assert not equal(made.generator("best"), made.generator("last"))


def test_the_log_holds_about_a_hundred_lines(tmp_path):
    run(recipe(steps=730), tmp_path / "run")
    records = log(tmp_path / "run")
    assert 90 < len(records) < 120
    assert records[-1]["step"] == 730
    assert set(records[0]["losses"]) == {"discriminator/criticise", "generator/fool"}
    assert set(records[0]["observed"]) == {"estimate"}


def test_a_lazy_term_is_logged_by_the_mean_of_the_steps_that_had_it(tmp_path):
    def lazily(data: dict[str, Any]) -> None:
        penalty = {"term": {"kind": "penalty", "name": "gradient-penalty"}, "weight": 10, "every": 4}
        data["turns"][0]["losses"].append(penalty)

    what = changed(recipe(steps=310), lazily)
    _, outcome = run(what, tmp_path / "run")
    assert outcome.status == "finished"
    records, by_hand = log(tmp_path / "run"), engine(what)
    values = [by_hand.step(step) for step in range(6)]
    assert records[0]["step"] == 3
    first, second = (
        [float(v[name]) for v in values[:3] if name in v] for name in ("discriminator/gradient-penalty",) * 2
    )
    assert records[0]["losses"]["discriminator/gradient-penalty"] == pytest.approx(sum(first) / len(first))
    assert len(second) == 1  # of steps 0, 1 and 2 only the first had it
    # Steps 9, 10 and 11 had none.
    assert "discriminator/gradient-penalty" not in records[3]["losses"]


# Divergence


@pytest.fixture(scope="module")
def diverged(tmp_path_factory):
    """A run with a learning rate of 1e30."""
    folder = tmp_path_factory.mktemp("diverged")
    options = ("-o", "optimizer=sgd", "-o", "optimizer.lr=1e30", "-o", "evaluations=1", "--checkpoint-seconds", "0")
    ended = forked(
        "train", "js-gan.mixture-1d", "--steps", "40", "--device", "cpu", *options, "--out", "run", cwd=folder
    )
    return folder / "run" / "seed-0", ended


def test_a_run_that_diverges_says_so_and_at_which_step(diverged):
    folder, ended = diverged
    assert ended.code == 1
    result = json.loads((folder / "result.json").read_text())
    assert result["status"] == "diverged"
    assert f"diverged at step {result['diverged_at']}" in ended.err
    assert not (folder / "model").exists()
    # By hand: the first step whose losses or parameters are no numbers.
    what = create_recipe("js-gan.mixture-1d", {"optimizer": "sgd", "optimizer.lr": 1e30, "evaluations": 1, "steps": 40})
    by_hand = engine(what)
    for step in range(40):
        seen = by_hand.step(step)
        if not all(by_hand.finite()) or not all(bool(value.isfinite()) for value in seen.values()):
            break
    assert result["diverged_at"] == step + 1
    assert log(folder)[-1] == {"step": step + 1, "diverged_at": step + 1}


def test_a_divergence_between_two_records_is_dated_to_its_step(tmp_path, adopt):
    what = recipe("mle-gaussian.mixture-1d", steps=1_000)  # a record each ten steps
    made = Run(what, 0, tmp_path / "run", device="cpu", draw=False, checkpoint_seconds=0.0)
    original = Eager.step

    def broken(self: Eager, step: int, *, observe: bool = False) -> dict[str, torch.Tensor]:
        values = original(self, step, observe=observe)
        return {name: value * math.nan if step == 233 else value for name, value in values.items()}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Eager, "step", broken)
        outcome = made.train()
    assert (outcome.status, outcome.diverged_at) == ("diverged", 234)
    names = sorted(path.name for path in (tmp_path / "run" / "checkpoints").glob("*.json"))
    assert names == ["step-000000220.json", "step-000000230.json"]


def test_a_diverged_run_keeps_only_checkpoints_that_are_good(tmp_path):
    what = recipe("mle-gaussian.mixture-1d", steps=100, optimizer="sgd", optimizer__lr=30.0, batch_size=16)
    made, outcome = run(what, tmp_path / "run", checkpoint_seconds=0.0)
    assert outcome.status == "diverged"
    from ganzoo import checkpoint

    kept = checkpoint.load(tmp_path / "run" / "checkpoints")
    assert outcome.diverged_at is not None
    if outcome.diverged_at > made.log_every:
        assert kept is not None
        assert kept.step < outcome.diverged_at
        assert all(bool(tensor.isfinite().all()) for tensor in kept.tensors.values())


def test_an_infinite_observation_is_no_divergence(tmp_path):
    what = recipe(steps=10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ganzoo.terms.Criticise.observe", lambda self, round: {"estimate": torch.tensor(math.inf)})
        _, outcome = run(what, tmp_path / "run")
    assert outcome.status == "finished"
    assert log(tmp_path / "run")[0]["observed"] == {"estimate": None}


# The engine


def test_the_average_is_what_its_definition_says():
    what = recipe("mle-gaussian.mixture-1d", steps=30, ema=0.9)
    made = engine(what)
    wanted = copy.deepcopy(made.networks["generator"].state_dict())
    for step in range(30):
        made.step(step)
        decay = min(0.9, (1 + step) / (10 + step))
        for name, value in made.networks["generator"].state_dict().items():
            wanted[name] = decay * wanted[name] + (1 - decay) * value
    for name, value in made.ema["generator"].state_dict().items():
        torch.testing.assert_close(value, wanted[name], rtol=1e-5, atol=1e-6)
    assert not any(p.requires_grad for p in made.ema["generator"].parameters())


def test_without_an_average_the_generator_is_the_last_one():
    made = engine(recipe(steps=5, ema=0.0))
    for step in range(5):
        made.step(step)
    assert equal(made.ema["generator"], made.networks["generator"])


def test_gradients_flow_only_to_whose_turn_it_is():
    made = engine(recipe(steps=1, k=3))
    seen: list[tuple[str, set[str]]] = []
    for turn in made.turns:
        object.__setattr__(turn, "losses", Spy(turn.losses, turn.player, made, seen))
    made.step(0)
    assert seen == [("discriminator", {"discriminator"})] * 3 + [("generator", {"generator"})]


class Spy:
    """A turn's losses that note which players' parameters ask for gradients while they are computed."""

    def __init__(self, losses: Any, player: str, made: Eager, seen: list[tuple[str, set[str]]]) -> None:
        self.losses, self.player, self.made, self.seen = losses, player, made, seen

    def __call__(self, round: Any, *how: Any) -> Any:
        asking = {n for n, net in self.made.networks.items() if any(p.requires_grad for p in net.parameters())}
        self.seen.append((self.player, asking))
        return self.losses(round, *how)

    def due(self, step: int) -> Any:
        return self.losses.due(step)

    def strengths(self, step: int, steps: int) -> Any:
        return self.losses.strengths(step, steps)

    def __iter__(self) -> Any:
        return iter(self.losses)


def test_alternating_players_see_the_others_last_move_and_simultaneous_ones_do_not():
    """A simultaneous generator moves as an alternating one does against a discriminator that stands still."""
    alternating = recipe(steps=1, optimizer="sgd", optimizer__lr=0.5)
    simultaneous = changed(alternating, lambda data: data.update(simultaneous=True))
    still = changed(alternating, lambda data: data["players"]["discriminator"]["optimizer"]["options"].update(lr=0.0))
    moved = [engine(each) for each in (alternating, simultaneous, still)]
    for each in moved:
        each.step(0)
    generators, discriminators = ([e.networks[p] for e in moved] for p in ("generator", "discriminator"))
    assert equal(discriminators[0], discriminators[1])
    assert not equal(discriminators[1], discriminators[2])
    assert equal(generators[1], generators[2])
    assert not equal(generators[0], generators[1])


def test_schedules_of_learning_rates_are_applied():
    made = engine(recipe("mle-gaussian.mixture-1d", steps=8, optimizer__lr=0.5))
    rates = []
    for step in range(8):
        made.step(step)
        rates.append(made.optimizers["generator"].param_groups[0]["lr"])
    assert rates == pytest.approx([0.25 * (1 + math.cos(math.pi * step / 8)) for step in range(8)])


def test_schedules_of_weights_are_applied():
    """Each step is the likelihood's gradient on the batch of that step, times a weight that falls in a line."""

    def fading(data: dict[str, Any]) -> None:
        data["turns"][0]["losses"][0]["weight"] = {"kind": "schedule", "name": "linear", "options": {"end": 0.0}}
        data["players"]["generator"]["schedule"] = None

    made = engine(changed(recipe("mle-gaussian.mixture-1d", steps=4, optimizer="sgd", optimizer__lr=0.1), fading))
    batches = engine(recipe("mle-gaussian.mixture-1d")).stream.sampler
    for step, factor in enumerate((1, 0.75, 0.5, 0.25)):
        before = copy.deepcopy(made.networks["generator"]).requires_grad_(True)
        (-before.log_prob(batches.next(made.recipe.batch_size).x).mean()).backward()
        made.step(step)
        moved = dict(made.networks["generator"].named_parameters())
        for name, parameter in before.named_parameters():
            torch.testing.assert_close(moved[name].detach(), parameter.detach() - 0.1 * factor * parameter.grad)


def test_each_stream_of_randomness_is_its_own():
    """A wider discriminator changes neither the generator's first weights nor the order of the data."""
    narrow, wide = engine(recipe(steps=1)), engine(recipe(steps=1, discriminator__hidden=64))
    assert equal(narrow.networks["generator"], wide.networks["generator"])
    assert torch.equal(narrow.stream.sampler.next(8).x, wide.stream.sampler.next(8).x)


# The order of the data


@pytest.mark.parametrize(("n", "batch"), [(10, 3), (10, 10), (7, 20), (1, 4), (12, 4)])
def test_every_epoch_is_a_permutation(n, batch):
    sampler = Sampler(Batch(torch.arange(n)[:, None]), seed=3)
    batches = [sampler.next(batch).x.flatten() for _ in range(math.ceil(5 * n / batch))]
    assert all(len(each) == batch for each in batches)
    row = torch.cat(batches)
    epochs = [row[start : start + n].tolist() for start in range(0, 5 * n, n)]
    assert all(sorted(epoch) == list(range(n)) for epoch in epochs)
    if n > 5:
        assert len({tuple(epoch) for epoch in epochs}) == 5


def test_the_position_is_the_whole_state_of_the_order():
    data = Batch(torch.arange(11)[:, None], torch.arange(11))
    sampler = Sampler(data, seed=0)
    for _ in range(7):
        fresh = Sampler(data, seed=0)
        fresh.consumed = sampler.consumed
        a, b = sampler.next(4), fresh.next(4)
        assert torch.equal(a.x, b.x)
        assert a.label is not None
        assert torch.equal(a.label, a.x[:, 0]), "a label went with another sample"
    assert Counter(Sampler(data, seed=1).next(11).x.flatten().tolist()) == Counter(range(11))
    assert not torch.equal(Sampler(data, seed=1).next(11).x, Sampler(data, seed=0).next(11).x)


def test_batches_that_are_gathered_ahead_are_those_that_are_not():
    data = Batch(torch.arange(11)[:, None], torch.arange(11))
    here, ahead = Sampler(data, seed=0), Sampler(data, seed=0, device=torch.device("cpu", 0))
    assert ahead._away, "a device with a number is another one: this is what a GPU sees"
    for n in (4, 4, 4, 7, 3, 30, 4):
        a, b = here.next(n), ahead.next(n)
        assert torch.equal(a.x, b.x)
        assert torch.equal(a.label, b.label)
    here.consumed = ahead.consumed = 3  # what was gathered is of another place
    assert torch.equal(here.next(4).x, ahead.next(4).x)


def test_a_gaussian_may_start_where_the_likelihood_is_largest():
    x = torch.randn(500, 3, 2, dtype=torch.float64).cumsum(1).float()
    made = GaussianGenerator((3, 2), start="moments")
    made.initialise(x, torch.Generator())
    flat = x.flatten(1).double()
    torch.testing.assert_close(made.mean.double(), flat.mean(0), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close((made.scale() @ made.scale().T).double(), flat.T.cov(correction=0), rtol=1e-4, atol=1e-5)
    gradients = torch.autograd.grad(made.log_prob(x).mean(), [made.mean, made.log_diagonal, made.lower])
    assert max(float(g.abs().max()) for g in gradients) < 1e-4, "this is no maximum"
    with pytest.raises(IncompatibleError, match="fewer dimensions"):
        made.initialise(torch.zeros(10, 3, 2), torch.Generator())


def test_samples_are_decoded_where_they_are_used(adopt, tmp_path):
    """Bytes that a dataset keeps train as the numbers that they stand for, and draw from the run's own stream."""
    adopt("dataset", Entry("bytes", f"{__name__}:Bytes", options=(Option("flip", bool, False),)))
    kept, plain = (recipe(f"js-gan.{name}", steps=3) for name in ("bytes", "ring"))
    made = [
        Eager(each, each.dataset.build().stored("train"), 0, CPU) for each in (kept, recipe("js-gan.bytes", steps=3))
    ]
    assert made[0].stream.sampler.data.x.dtype == torch.uint8
    assert made[0].stream.chunk(0)[0]["x"].dtype == torch.float32
    flipped = recipe("js-gan.bytes", steps=3, dataset__flip=True)
    other = Eager(flipped, flipped.dataset.build().stored("train"), 0, CPU)
    assert not torch.equal(made[1].stream.chunk(0)[0]["x"], other.stream.chunk(0)[0]["x"])
    assert plain.dataset.build().stored("train").x.dtype == torch.float32
    assert Run(kept, 0, tmp_path, device="cpu").train().status == "finished"


class Bytes(Dataset):
    """256 points on a line of two dimensions, kept as bytes; with ``flip`` each changes its sign by chance."""

    shape = (2,)

    def __init__(self, flip: bool = False) -> None:
        self.flip = flip

    def stored(self, name):
        return Batch(torch.arange(256, dtype=torch.uint8)[:, None].expand(256, 2))

    def decoded(self, stored, rng):
        x = stored.x / 128 - 1
        if self.flip:
            x = x * (1 - 2 * torch.randint(2, (len(x), 1), generator=rng))
        return Batch(x)

    def part(self, name):
        return self.decoded(self.stored(name), torch.Generator().manual_seed(0))


# Folders and devices


def test_a_folder_that_holds_the_run_is_refused_without_resume(tmp_path):
    what = recipe(steps=2)
    run(what, tmp_path / "run")
    with pytest.raises(RunError, match="--resume"):
        run(what, tmp_path / "run")


def test_a_device_that_is_not_there_is_refused_naming_what_is():
    assert pick_device("cpu") == CPU
    with pytest.raises(OptionError, match="there is cpu"):
        pick_device("abacus")


# Events

EVENTS = """
from pathlib import Path
import ganzoo

@ganzoo.hookimpl
def ganzoo_started(recipe, seed, folder):
    print("started", recipe.name, seed, Path(folder).name, flush=True)

@ganzoo.hookimpl
def ganzoo_logged(record):
    print("logged", record["step"], flush=True)

@ganzoo.hookimpl
def ganzoo_finished(status, seed):
    print("finished", seed, status, flush=True)
"""

RAISING = """
import ganzoo

@ganzoo.hookimpl
def ganzoo_started(seed):
    raise ValueError("no ears today")

@ganzoo.hookimpl
def ganzoo_logged(record):
    raise SystemError("nor now")
"""


def test_plugins_hear_of_training_and_one_that_raises_does_not_stop_it(tmp_path):
    plugins = distribution(tmp_path / "plugins", "acme-events", EVENTS)
    distribution(plugins, "acme-raising", RAISING)
    arguments = ("--steps", "3", "--device", "cpu", "-o", "evaluations=1", "--out", "run")
    ended = forked("train", "mle-gaussian.mixture-1d", *arguments, cwd=tmp_path, env=environment(plugins))
    assert ended.code == 0, ended.err
    heard = [line for line in ended.out.splitlines() if line.split(" ")[0] in ("started", "logged", "finished")]
    wanted = ["started mle-gaussian.mixture-1d 0 seed-0", "logged 1", "logged 2", "logged 3", "finished 0 finished"]
    assert heard == wanted
    assert "acme-raising 1.0 (entry point main) failed in its ganzoo_started: ValueError: no ears today" in ended.err
    assert (tmp_path / "run" / "seed-0" / "result.json").exists()


# Known optima


def closed_form(dataset: Any) -> tuple[float, float]:
    """Mean and standard deviation of a mixture on the line."""
    modes = dataset.modes
    w, m, s = modes.weights.double(), modes.centres[:, 0].double(), modes.std.double()
    mean = (w * m).sum()
    return float(mean), float(((w * (s**2 + m**2)).sum() - mean**2).sqrt())


def kl(dataset: Any, mean: float, std: float) -> float:
    """KL(P_data ‖ N(mean, std²)) in nats, by quadrature."""

    def at(x: float) -> float:
        log_p = float(dataset.log_prob(torch.tensor([[x]], dtype=torch.float64)))
        log_q = -0.5 * ((x - mean) / std) ** 2 - math.log(std) - 0.5 * math.log(2 * math.pi)
        return math.exp(log_p) * (log_p - log_q)

    return integrate.quad(at, -8.0, 14.0, points=[-2.0, -1.0, 0.0, 2.0], limit=200)[0]


@pytest.fixture(scope="module")
def gaussian(tmp_path_factory):
    made, _ = run(create_recipe("mle-gaussian.mixture-1d", {"steps": 3_000}), tmp_path_factory.mktemp("line") / "run")
    return made


def test_the_gaussian_reaches_its_closed_form_on_the_mixture(gaussian):
    generator = gaussian.generator()
    assert isinstance(generator, GaussianGenerator)
    mean, std = float(generator.mean), float(generator.scale())
    best_mean, best_std = closed_form(gaussian.dataset)
    assert best_mean == pytest.approx(1.0100, abs=1e-4)
    assert best_std == pytest.approx(1.8308, abs=1e-3)
    # 100,000 points: the mean has a standard error of .006, the standard deviation one of .004.
    assert mean == pytest.approx(best_mean, abs=0.02)
    assert std == pytest.approx(best_std, abs=0.02)
    least = kl(gaussian.dataset, best_mean, best_std)
    assert least == pytest.approx(0.2831, abs=5e-4)
    assert 0 <= kl(gaussian.dataset, mean, std) - least < 1e-3


def test_the_mixture_is_within_sampling_error_of_em_on_the_ring(tmp_path):
    """EM and gradients climb the same likelihood: on held-out data they differ by less than .01 nats."""
    made, _ = run(create_recipe("mle-gmm.ring", {"steps": 500}), tmp_path / "run")
    train, held_out = (made.dataset.part(name).x for name in ("train", "held-out"))
    fitted = GaussianMixture(8, n_init=2, random_state=0).fit(train[:20_000].double().numpy())
    em = -fitted.score(held_out.double().numpy())
    with torch.no_grad():
        ours = -float(made.generator().log_prob(held_out).mean())
    truth = -float(made.dataset.log_prob(held_out).mean())
    assert em == pytest.approx(truth, abs=0.01)
    assert ours == pytest.approx(em, abs=0.01)


def test_the_gaussian_comes_near_its_closed_form_on_the_digits(tmp_path):
    """64 correlated pixels: after 2,000 steps the train likelihood is within .05 nats of the best, 52.5."""
    made, _ = run(
        create_recipe("mle-gaussian.digits", {"steps": 2_000, "optimizer.lr": 1e-2, "evaluations": 1}), tmp_path / "run"
    )
    x = made.dataset.part("train").x.flatten(1).double()
    centred = x - x.mean(0)
    covariance = centred.T @ centred / len(x)
    best = torch.distributions.MultivariateNormal(x.mean(0), covariance).log_prob(x).mean()
    with torch.no_grad():
        ours = made.generator().log_prob(made.dataset.part("train").x).double().mean()
    assert 0 <= float(best - ours) < 0.05


def test_a_run_does_not_go_on_with_other_data(tmp_path):
    """Files can change under their name: what they hold is known by its hash."""
    recipe = create_recipe("js-gan.ring", {"steps": 4, "evaluations": 1})

    def run(content: str) -> Run:
        run = Run(recipe, 0, tmp_path, device="cpu", draw=False)
        run.dataset.provenance = {"sha256": content}
        return run

    run("a").train()
    assert run("a").train(resume=True).status == "finished"
    with pytest.raises(OptionError, match="trained on other data than ring gives now"):
        run("b").train(resume=True)
