"""Every registered thing keeps its contract, and the kit that says so notices when one does not."""

import math
from dataclasses import dataclass, field
from types import MappingProxyType, SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ganzoo import checking, testing
from ganzoo.dataset import PARTS, Batch, Dataset, Modes, TractableDataset
from ganzoo.discriminator import Discriminator, Verdict
from ganzoo.divergence import Divergence, FDivergence, SampleDivergence, Scores
from ganzoo.game import Draw, Round, Turn, part
from ganzoo.generator import Generator, TractableGenerator
from ganzoo.metric import Evidence, Metric, Score
from ganzoo.part import KINDS, Option
from ganzoo.penalties import Penalty, input_gradient
from ganzoo.plugins import registry
from ganzoo.recipe import Method, Player, create_recipe, recipe_names
from ganzoo.registry import Entry, Paper
from ganzoo.terms import Term
from ganzoo.testing import ConformanceError
from ganzoo.update import Optimizer, Projection, Schedule

ENTRIES = [entry for kind in KINDS for entry in registry().all(kind)]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: f"{e.kind}-{e.name}")
def test_every_entry_keeps_its_contract(entry):
    testing.check_entry(entry)


@pytest.mark.parametrize("name", recipe_names())
def test_every_method_is_sound_on_every_dataset(name):
    testing.check_recipe(create_recipe(name))


def test_recipes_that_would_take_all_memory_are_not_tried_unasked(monkeypatch):
    assert create_recipe("mle-gaussian.digits").size == 64 + 64 + 64 * 64  # a mean, a diagonal, a triangle
    monkeypatch.setattr(checking, "LARGEST", 64 * 64)
    monkeypatch.setattr(checking, "recipe_names", lambda: ["mle-gaussian.ring", "mle-gaussian.digits"])
    monkeypatch.setattr(checking, "host", lambda: SimpleNamespace(plugins=()))
    monkeypatch.setattr(checking, "KINDS", ())
    said = list[str]()
    assert checking.check_all([], said.append) == 0
    small, large, count = said
    assert small == "ok      recipe mle-gaussian.ring"
    assert large.startswith("skipped recipe mle-gaussian.digits: 0 million parameters; `ganzoo check mle-gaussian.digi")
    assert count == "1 passed, 0 failed, 1 skipped"
    assert checking.check_all(["mle-gaussian.digits"], said.append) == 0
    assert said[-1] == "1 passed, 0 failed"


def breaks(pattern):
    return pytest.raises(ConformanceError, match=pattern)


def variant(base, **members):
    """An instance of a frozen dataclass like ``base`` but for ``members``."""
    return dataclass(frozen=True)(type("Broken", (base,), members))()


class Source(Generator):
    """A generator in two dimensions whose parts a test replaces."""

    def __init__(self, shape=(2,)):
        super().__init__()
        self.shape, self.line = shape, nn.Linear(2, 2)

    def source(self, n, rng, batch=None, label=None):
        return torch.randn(n, 2, generator=rng), None

    def forward(self, z, c=None):
        return self.line(z)


def generator_with(**members) -> type[Source]:
    return type("Broken", (Source,), members)


def counting(self, z, c=None):
    self.calls = getattr(self, "calls", 0) + 1
    return self.line(z) + torch.rand(())


GENERATORS = {
    r"shape \(8, 3\), the contract is \(n, \*shape\) = \(8, 2\)": {
        "forward": lambda s, z, c=None: s.line(z)[:, [0, 1, 1]]
    },
    "global random state": {"source": lambda s, n, rng, batch=None, label=None: (torch.randn(n, 2), None)},
    "reads parameters": {"source": lambda s, n, rng, batch=None, label=None: (torch.ones(n, 2) * s.line.bias, None)},
    "labels asked for": {
        "source": lambda s, n, rng, batch=None, label=None: (torch.randn(n, 2, generator=rng), torch.ones(n).long())
    },
    "the contract is float32": {"forward": lambda s, z, c=None: s.line(z).double()},
    "not finite": {"forward": lambda s, z, c=None: s.line(z) / 0},
    "no gradient reaches|every parameter's gradient is zero": {"forward": lambda s, z, c=None: s.line(z).detach()},
    "forward draws from the global": {"forward": counting},
    "vmap": {"forward": lambda s, z, c=None: s.line(z) * (1 if s.line.weight.sum().item() > 99 else 2)},
}


@pytest.mark.parametrize("pattern", GENERATORS)
def test_the_kit_notices_a_generator_with(pattern):
    broken = generator_with(**GENERATORS[pattern])
    with breaks(pattern):
        testing.check_generator(broken, (2,))


def test_the_kit_accepts_the_generator_that_these_break():
    testing.check_generator(Source, (2,))


def test_the_kit_notices_a_generator_that_does_not_start_on_the_meta_device():
    class Eager(Source):
        def __init__(self):
            super().__init__()
            self.line.weight = nn.Parameter(torch.zeros(2, 2, device="cpu"))

    with breaks("meta device"):
        testing.check_generator(Eager, (2,))


def test_the_kit_notices_state_that_is_not_saved():
    class Forgetful(Source):
        def __init__(self):
            super().__init__()
            self.register_buffer("secret", torch.randn(2), persistent=False)

        def forward(self, z, c=None):
            return self.line(z) + self.secret

    with breaks("state_dict"):
        testing.check_generator(Forgetful, (2,))


class Normal(TractableGenerator):
    """``N(μ, diag σ²)``; ``wrong`` multiplies the density, ``shift`` moves it."""

    wrong, shift = 0.0, 0.0

    def __init__(self):
        super().__init__()
        self.mean, self.log_std = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))

    def source(self, n, rng, batch=None, label=None):
        return torch.randn(n, 2, generator=rng), None

    def forward(self, z, c=None):
        return self.mean + self.log_std.exp() * z

    def log_prob(self, x, c=None):
        z = (x - self.mean - self.shift) / self.log_std.exp()
        return (-0.5 * z.square() - self.log_std - 0.5 * math.log(2 * math.pi)).sum(1) + self.wrong


@pytest.mark.parametrize(
    ("members", "pattern"),
    [({"wrong": 0.1}, "by quadrature, the contract is 1"), ({"shift": 0.1}, "samples do not follow log_prob: E.x0")],
)
def test_the_kit_notices_a_density_that_is_not_the_samples(members, pattern):
    testing.check_generator(Normal, (2,))
    with breaks(pattern):
        testing.check_generator(type("Wrong", (Normal,), members), (2,))


class Critic(Discriminator):
    def __init__(self):
        super().__init__()
        self.line = nn.Linear(2, 1)

    def forward(self, x, c=None):
        return Verdict(self.line(x).squeeze(1))


@pytest.mark.parametrize(
    ("forward", "pattern"),
    [
        (lambda s, x, c=None: s.line(x), "a Verdict"),
        (lambda s, x, c=None: Verdict(s.line(x).mean()), r"\(n, \*units\)"),
        (lambda s, x, c=None: Verdict(s.line(x), s.line(x).squeeze(1)), r"\(n, classes\)"),
    ],
)
def test_the_kit_notices_a_discriminator(forward, pattern):
    testing.check_discriminator(Critic, (2,))
    with breaks(pattern):
        testing.check_discriminator(type("Broken", (Critic,), {"forward": forward}), (2,))


class Power(Critic):
    """Its ``u`` moves one step of the power method in a turn; right, tests break it."""

    def __init__(self):
        super().__init__()
        self.register_buffer("u", torch.rand(2))

    def forward(self, x, c=None):
        return Verdict(self.line(x).squeeze(1) / (self.line.weight @ self.u).sum())

    def prepare(self):
        self.u.copy_(nn.functional.normalize(self.line.weight[0].square() * self.u, dim=0))


def judged_and_moved(self, x, c=None):
    with torch.no_grad():
        self.u.copy_(nn.functional.normalize(self.u + 1, dim=0))
    return Power.forward(self, x, c)


PREPARATIONS = {
    "prepare changes parameters": {"prepare": lambda s: s.line.weight.mul_(2)},
    "prepare replaces buffers": {"prepare": lambda s: setattr(s, "u", 2 * s.u)},
    "prepare draws from the global random state": {"prepare": lambda s: s.u.copy_(torch.rand(2))},
    "prepare under torch.func.vmap": {"prepare": lambda s: s.u.mul_(2 if float(s.u[0]) > 0.5 else 3)},
    "forward changes the buffers that prepare moves": {"forward": judged_and_moved},
}


@pytest.mark.parametrize("pattern", PREPARATIONS)
def test_the_kit_notices_a_preparation(pattern):
    testing.check_discriminator(Power, (2,))
    with breaks(pattern):
        testing.check_discriminator(type("Broken", (Power,), PREPARATIONS[pattern]), (2,))


def test_the_kit_notices_a_discriminator_that_recipes_cannot_try():
    def forward(self, x, c=None):
        return Verdict(self.line(x).squeeze(1) + torch.zeros(len(x), device="cpu"))

    with breaks("forward on the meta device"):
        testing.check_discriminator(type("Broken", (Critic,), {"forward": forward}), (2,))


class Line(TractableDataset):
    """``N(0, 1)``, right; tests break it."""

    shape, spread, classes = (1,), 1.0, None
    modes = Modes(torch.zeros(1, 1), torch.ones(1), torch.ones(1))

    def part(self, name):
        return self.sample(3_000, torch.Generator().manual_seed(PARTS.index(name)))

    def sample(self, n, rng):
        return Batch(self.spread * torch.randn(n, 1, generator=rng))

    def log_prob(self, x):
        return -0.5 * x.squeeze(1).square() - 0.5 * math.log(2 * math.pi)


def same_for_all(self, name):
    return self.sample(3_000, torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("members", "pattern"),
    [
        ({"part": same_for_all}, "parts are disjoint"),
        ({"part": lambda s, name: Batch(torch.randn(9, 1))}, "global random state"),
        ({"part": lambda s, name: Batch(torch.from_numpy(np.random.randn(9, 1)).float())}, "global random state"),
        ({"part": lambda s, name: Batch(torch.zeros(9, 1).double())}, "the contract is float32"),
        ({"part": lambda s, name: Batch(torch.zeros(9, 2))}, r"the contract is \(n, \*"),
        ({"classes": 2}, "has no labels"),
        ({"spread": 1.1}, "samples do not follow log_prob"),
        ({"log_prob": lambda s, x: -0.5 * x.squeeze(1).square()}, "the contract is 1"),
        ({"shape": [1]}, "tuple of positive integers"),
    ],
)
def test_the_kit_notices_a_dataset(members, pattern):
    testing.check_dataset(Line)
    with breaks(pattern):
        testing.check_dataset(type("Broken", (Line,), members))


def test_the_kit_notices_labels_out_of_range():
    class Labelled(Dataset):
        shape, classes = (1,), 2

        def part(self, name):
            return Batch(torch.zeros(9, 1), torch.arange(9) % 3)

    with breaks("labels go from 0 to 2"):
        testing.check_dataset(Labelled)


class Signs(Dataset):
    """Points on the line whose labels say on which side of two numbers they lie; or one of them, translated by a
    shift."""

    shape, classes, several = (1,), 2, True
    label = staticmethod(lambda x: (x > torch.tensor([0.3, 0.6])).long())

    def part(self, name):
        x = torch.rand(100, 1, generator=torch.Generator().manual_seed(PARTS.index(name)))
        return Batch(x, self.label(x))


class Sides(Signs):
    several = False
    label = staticmethod(lambda x: (x > 0.5).long().flatten())

    def translated(self, name, n, label):
        x, own = self.some(name, n)
        return x + 0.5 * (label - own)[:, None]


def test_the_kit_accepts_several_labels_and_known_translations():
    testing.check_dataset(Signs)
    testing.check_dataset(Sides)


@pytest.mark.parametrize(
    ("base", "members", "pattern"),
    [
        (Signs, {"label": staticmethod(lambda x: (x > 0.5).long())}, r"the contract is int64 \(100, 2\)"),
        (Signs, {"label": staticmethod(lambda x: 2 * (x > torch.ones(2) / 2).long())}, "from 0 to 2, .* is 0 … 1"),
        (Signs, {"label": staticmethod(lambda x: (x > torch.ones(2) / 2).float())}, "labels are torch.float32"),
        (Sides, {"translated": lambda self, name, n, label: self.some(name, n).x + 0.1}, "to their own label"),
        (Sides, {"translated": lambda self, name, n, label: self.some(name, 3).x}, r"is no \(n, \*shape\)"),
    ],
)
def test_the_kit_notices_labels_and_translations(base, members, pattern):
    with breaks(pattern):
        testing.check_dataset(type("Broken", (base,), members))


@dataclass(frozen=True)
class Pearson(FDivergence):
    """Pearson's χ², right; tests break it."""

    def f(self, u):
        return (u - 1).square()

    def f_prime(self, u):
        return 2 * (u - 1)

    def conjugate(self, t):
        return t.square() / 4 + t

    def activation(self, v):
        return v

    def dual(self, v):
        return v.square() / 4 + v

    def optimal_critic(self, log_ratio):
        return 2 * torch.expm1(log_ratio)


DIVERGENCES = {
    r"f\(1\) = 1": {"f": lambda s, u: (u - 1).square() + 1},
    "not the derivative": {"f_prime": lambda s, u: u - 1},
    r"fails at t = f'\(u\)": {"conjugate": lambda s, t: t.square() / 2 + t, "dual": lambda s, v: v.square() / 2 + v},
    r"dual\(v\) is not": {"dual": lambda s, v: v.square() / 4 + 1.01 * v},
    r"is not f'\(p/q\)": {"optimal_critic": lambda s, r: 2 * torch.expm1(r) + 0.1},
    "a scalar": {"critic_loss": lambda s, scores: scores.fake - scores.real},
    "reads scores.real": {"generator_loss": lambda s, scores: -s.dual(scores.fake).mean() + 0 * scores.real.mean()},
    "estimate at the optimal critic": {"estimate": lambda s, scores: 2 * s.value(scores)},
    "does not fall when the score": {"generator_loss": lambda s, scores: s.dual(scores.fake).mean()},
}


@pytest.mark.parametrize("pattern", DIVERGENCES)
def test_the_kit_notices_a_divergence_whose(pattern):
    with breaks(pattern):
        testing.check_divergence(variant(Pearson, **DIVERGENCES[pattern]))


def test_the_kit_notices_a_dual_that_overflows():
    from ganzoo.zoo.divergences import JensenShannon

    def composed(self, v):
        return self.conjugate(self.activation(v))

    members = {
        name: getattr(JensenShannon, name) for name in ("f", "f_prime", "conjugate", "activation", "optimal_critic")
    }
    with breaks("float32"):
        testing.check_divergence(variant(FDivergence, **members, dual=composed))


def test_the_kit_accepts_the_divergence_that_these_break():
    testing.check_divergence(Pearson())


@dataclass(frozen=True)
class Wasserstein(Divergence):
    """No f-divergence, right; tests break it."""

    unit: ClassVar[str] = "data units"

    def critic_loss(self, scores: Scores) -> Tensor:
        return scores.fake.mean() - scores.real.mean()

    def generator_loss(self, scores: Scores) -> Tensor:
        return -scores.fake.mean()

    def estimate(self, scores: Scores) -> Tensor:
        return scores.real.mean() - scores.fake.mean()


GAMES = {
    "critic_loss falls where estimate falls": [
        {"critic_loss": lambda s, scores: scores.real.mean() - scores.fake.mean()},
        {"estimate": lambda s, scores: scores.fake.mean() - scores.real.mean()},
    ],
    "generator_loss does not oppose critic_loss": [
        {"generator_loss": lambda s, scores: scores.fake.mean()},
        {"generator_loss": lambda s, scores: -scores.real.mean()},
    ],
    "non_saturating_loss does not oppose": [{"non_saturating_loss": lambda s, scores: scores.fake.mean()}],
    "all have the score 0, the best constant; the contract is 0": [
        {"estimate": lambda s, scores: scores.real.mean() - scores.fake.mean() - 0.5}
    ],
    "with the same scores; the contract is at most 0": [
        {"estimate": lambda s, scores: scores.real.mean() - scores.fake.mean() + scores.real.var() / 9}
    ],
}


@pytest.mark.parametrize(("members", "pattern"), [(m, pattern) for pattern, each in GAMES.items() for m in each])
def test_the_kit_notices_losses_that_play_no_game(members, pattern):
    with breaks(pattern):
        testing.check_divergence(variant(Wasserstein, **members))


def test_a_critic_that_is_no_f_divergence_passes():
    testing.check_divergence(Wasserstein())


def test_either_side_may_have_the_higher_scores():
    members = {name: getattr(Wasserstein, name) for name in ("critic_loss", "generator_loss", "estimate")}
    other = {name: lambda s, scores, f=f: f(s, Scores.of(-scores.real, -scores.fake)) for name, f in members.items()}
    del other["generator_loss"]
    testing.check_divergence(variant(Wasserstein, generator_loss=lambda s, scores: scores.fake.mean(), **other))


@dataclass(frozen=True)
class Energy(SampleDivergence):
    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        def mean(a: Tensor, b: Tensor) -> Tensor:
            return (a[:, None] - b[None]).square().sum(-1).add(1e-12).sqrt().mean()

        return 2 * mean(x, y) - mean(x, x) - mean(y, y)


def test_the_kit_notices_a_sample_divergence_without_gradient():
    testing.check_divergence(Energy())
    with breaks("finite gradient|requires grad|does not require|raised"):
        testing.check_divergence(variant(Energy, loss=lambda s, x, y: 0 * (x.sum() + y.sum())))


@dataclass(frozen=True)
class Mean(Metric):
    """How far the means are apart, right; tests break it."""

    unit: ClassVar[str] = "data units"

    def applies(self, evidence: Evidence) -> bool:
        return True

    def __call__(self, evidence: Evidence) -> Score:
        return Score(float((evidence.real.x.mean(0) - evidence.fake.x.mean(0)).norm()), "of the samples")


@pytest.mark.parametrize(
    ("members", "pattern"),
    [
        ({"__call__": lambda s, e: Score(float(torch.rand(())), "drawn")}, "global random state"),
        ({"__call__": lambda s, e: Score(float("nan"), "nothing")}, "finite number"),
        ({"__call__": lambda s, e: 1.0}, "value|Score"),
        ({"__call__": lambda s, e: Score(1.0, "constant")}, "far from all data"),
        ({"better": "higher"}, "higher is better"),
        ({"applies": lambda s, e: False}, "applies to none"),
        ({"__call__": lambda s, e: Score(1.0, "x", {"a": torch.ones(2)})}, "JSON"),
        ({"__call__": lambda s, e: Score(float(e.fake.x.zero_().sum()), "spoilt")}, "changes the evidence"),
    ],
)
def test_the_kit_notices_a_metric(members, pattern):
    testing.check_metric(Mean())
    with breaks(pattern):
        testing.check_metric(variant(Mean, **members))


def term_with(call, **members) -> Term:
    return variant(Term, __call__=call, label="broken", **members)


CACHED: list[Tensor] = []


def hoarding(self, round):
    CACHED.append(round.fake_verdict().score.mean())
    return CACHED[0]


@pytest.mark.parametrize(
    ("call", "pattern"),
    [
        (lambda s, r: r.fake_verdict().score, "a scalar"),
        (lambda s, r: (r.fake_verdict().score * torch.randn(8)).mean(), "global random state"),
        (lambda s, r: r.real.x.mean(), "no parameter of any player"),
        (lambda s, r: r.fake_verdict().score.mean() / 0, "not finite"),
        (lambda s, r: r.fake_verdict().score.mean() * (1 if float(r.real.x.mean()) > 0 else -1), "vmap"),
        (lambda s, r: r.fake().x[r.fake().x[:, 0] > 0].mean(), "vmap"),
        (hoarding, "it must keep nothing between rounds"),
        (lambda s, r: r.fake_verdict().score.mean() + r.noise("epsilon").mean(), "KeyError"),
    ],
)
def test_the_kit_notices_a_term(call, pattern):
    with breaks(pattern):
        testing.check_term(term_with(call))


def test_the_kit_accepts_a_term_with_declared_noise():
    draws = MappingProxyType({"epsilon": Draw("normal", "event")})

    def noisy(self, round: Round) -> Tensor:
        return round.discriminate(round.real.x + round.noise("epsilon"), round.real.label).score.mean()

    testing.check_term(term_with(noisy, draws=draws))


def penalty_with(call) -> Penalty:
    return variant(Penalty, __call__=call, label="broken")


def of_a_cached_verdict(self, round):
    x, _ = round.real
    score = round.real_verdict().score
    return input_gradient(lambda at: score + 0 * at.sum(), x).square().sum(1).mean()


def norm_of_a_zero(self, round):
    x, c = round.real
    return input_gradient(lambda at: round.discriminate(at, c).score, x).square().sum(1).sqrt().mean()


@pytest.mark.parametrize(
    ("call", "pattern"),
    [
        (of_a_cached_verdict, "compute its verdict afresh"),
        (norm_of_a_zero, "constant discriminator"),
    ],
)
def test_the_kit_notices_a_penalty(call, pattern):
    with breaks(pattern):
        testing.check_penalty(penalty_with(call))


def test_the_kit_accepts_a_penalty_on_steep_gradients_only():
    def one_sided(self, round):
        x, c = round.real
        norm = input_gradient(lambda at: round.discriminate(at, c).score, x).square().sum(1).clamp_min(1e-12).sqrt()
        return (norm - 1).clamp_min(0).square().mean()

    testing.check_penalty(penalty_with(one_sided))


@dataclass(frozen=True)
class Constant(Schedule):
    value: float | str = 1.0
    seen: list = field(default_factory=list)

    def __call__(self, step, steps):
        self.seen.append(step)
        return len(self.seen) if self.value == "counts" else self.value


@pytest.mark.parametrize(
    ("value", "pattern"), [(math.inf, "finite float"), (torch.ones(()), "finite float"), ("counts", "no state")]
)
def test_the_kit_notices_a_schedule(value, pattern):
    testing.check_schedule(Constant())
    with breaks(pattern):
        testing.check_schedule(Constant(value))


@dataclass(frozen=True)
class Normalised(Optimizer):
    """Steps of a fixed length: not elementwise."""

    def make(self, parameters):
        class Optimizer(torch.optim.SGD):
            def step(self, closure=None):
                torch.nn.utils.clip_grad_norm_(self.param_groups[0]["params"], 1e-1)
                return super().step(closure)

        return Optimizer(parameters, lr=1.0)


def test_the_kit_notices_an_optimizer_that_mixes_replicas():
    with breaks("elementwise"):
        testing.check_optimizer(Normalised())


@dataclass(frozen=True)
class Clip(Projection):
    bound: float = 0.01

    def __call__(self, parameters):
        for parameter in parameters:
            parameter.clamp_(-self.bound, self.bound)


def test_the_kit_accepts_a_projection_and_notices_one_that_spoils():
    testing.check_projection(Clip())
    with breaks("not finite"):
        testing.check_projection(Clip(math.nan))


def test_the_kit_notices_a_method_whose_turn_is_of_nobody():
    players = {"generator": Player(part("generator", "gaussian"), part("optimizer", "adam"))}
    with breaks("none of its players"):
        testing.check_method(Method(players, (Turn("critic", part("term", "likelihood")),)))
    with breaks("batch_size"):
        testing.check_method(Method(players, (Turn("generator", part("term", "likelihood")),), batch_size=0))


def test_a_frozen_dataclass_is_asked_for():
    class Loose(Schedule):
        def __call__(self, step, steps):
            return 1.0

    with breaks("frozen dataclass"):
        testing.check_schedule(Loose())


def option(**changes) -> Entry:
    return Entry(
        "broken",
        "ganzoo.zoo.updates:Cosine",
        "a schedule",
        (Option(**{"name": "end", "type": float, "default": 0.0, **changes}),),
    )


ENTRY_MISTAKES = {
    "'end' is 0.5|is 0.5 by the entry and 0.0 by its target": option(default=0.5),
    "takes no 'finish'": option(name="finish"),
    "the default of option end": option(low=1.0),
    "of type": option(type=list),
    "in the import of its target": Entry("broken", "ganzoo.zoo.updates:Nothing", "a schedule"),
    "package.module:Name": Entry("broken", "ganzoo.zoo.updates.Cosine", "a schedule"),
    "summary of one line": Entry("broken", "ganzoo.zoo.updates:Cosine"),
    "letters, digits": Entry("bro.ken", "ganzoo.zoo.updates:Cosine", "a schedule"),
    "no <class|is no|made": Entry("broken", "ganzoo.zoo.updates:Adam", "a schedule"),
    "paper": Entry("broken", "ganzoo.zoo.updates:Cosine", "a schedule", paper=Paper("T", "", 2014)),
}


@pytest.mark.parametrize("pattern", ENTRY_MISTAKES)
def test_the_kit_notices_an_entry(adopt, pattern):
    with breaks(pattern):
        testing.check_entry(adopt("schedule", ENTRY_MISTAKES[pattern]))


def test_the_kit_notices_an_option_of_the_target_that_is_not_declared(adopt):
    with breaks("needs 'shape', which the entry does not declare"):
        testing.check_entry(adopt("generator", Entry("broken", "ganzoo.zoo.generators:GaussianGenerator", "shapeless")))
