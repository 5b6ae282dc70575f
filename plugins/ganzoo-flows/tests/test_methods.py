"""The same flow by likelihood, by a divergence and by both."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn.functional import softplus

import ganzoo
from ganzoo.engine.eager import Eager
from ganzoo.engine.functional import Functional
from ganzoo.errors import IncompatibleError
from ganzoo.evaluate import log_prob
from ganzoo.game import Round
from ganzoo.plugins import registry
from ganzoo.recipe import create_recipe

METHODS = ("mle-flow", "gan-flow", "flow-gan")
SMALL = {"flow.transforms": 2, "flow.hidden": 8, "batch_size": 32}


def engine(name, seed=0, **overrides):
    recipe = create_recipe(name, overrides)
    return Eager(recipe, recipe.dataset.build().part("train"), seed, torch.device("cpu"))


def trained(name, **overrides):
    made = engine(name, **overrides)
    for step in range(made.recipe.steps):
        made.step(step)
    return made


def weights(made, player="generator"):
    return {name: tensor.clone() for name, tensor in made.networks[player].state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def nll(made):
    """Of the held-out part, in nats."""
    x = made.recipe.dataset.build().part("held-out").x
    return -float(log_prob(made.ema["generator"], x).double().mean())


def gaussian_nll(made):
    """The same of the Gaussian with the moments of the train part."""
    dataset = made.recipe.dataset.build()
    x, y = (dataset.part(name).x.double() for name in ("train", "held-out"))
    covariance = x.T.cov(correction=0).reshape(x.shape[1], -1)
    return -float(torch.distributions.MultivariateNormal(x.mean(0), covariance).log_prob(y).mean())


@pytest.mark.parametrize("dataset", registry().names("dataset"))
@pytest.mark.parametrize("method", METHODS)
def test_a_few_steps_move_the_flow_and_leave_it_finite(method, dataset):
    made = engine(f"{method}.{dataset}", steps=3, **SMALL)
    before = weights(made)
    seen = [made.step(step) for step in range(3)]
    assert all(bool(value.isfinite()) for row in seen for value in row.values())
    assert made.finite()
    assert not same(before, weights(made))
    assert torch.equal(before["std"], weights(made)["std"])


@pytest.mark.parametrize("flow", ["nsf", "realnvp", "maf"])
def test_the_three_methods_train_the_same_network(flow):
    made = [engine(f"{method}.ring", seed=3, flow=flow, **SMALL) for method in METHODS]
    definitions = {json.dumps(each.recipe.players["generator"].network.json()) for each in made}
    assert len(definitions) == 1
    assert json.loads(definitions.pop())["name"] == flow
    assert all(same(weights(each), weights(made[0])) for each in made)


@pytest.mark.parametrize("saturating", [True, False])
@pytest.mark.parametrize("weight", [0.3, 7.0])
def test_the_hybrid_loss_is_the_weighted_sum(weight, saturating):
    made = engine("flow-gan.ring", weight=weight, saturating=saturating, **SMALL)
    generator, discriminator = made.networks["generator"], made.networks["discriminator"]
    real, source = made.stream.sampler.next(made.recipe.batch_size), generator.source(32, made.stream.rng)
    networks = {name: Functional(network) for name, network in made.networks.items()}
    with Round(networks, real, {"generator": source}) as round:
        loss, seen = made.turns[1].losses(round)
    score = discriminator(generator(*source)).score
    fool = -softplus(score).mean() if saturating else softplus(-score).mean()
    likelihood = -generator.log_prob(real.x).mean()
    assert torch.allclose(loss, fool + weight * likelihood)
    assert torch.allclose(seen["fool"], fool)
    assert torch.allclose(seen["nll"], likelihood)


def test_without_weight_the_hybrid_is_the_adversarial_method_to_the_bit():
    options = {**SMALL, "steps": 4, "optimizer.lr": 1e-3}
    hybrid, plain = trained("flow-gan.ring", weight=0, **options), trained("gan-flow.ring", **options)
    assert same(weights(hybrid), weights(plain))
    assert same(weights(hybrid, "discriminator"), weights(plain, "discriminator"))
    assert not same(weights(hybrid), weights(trained("flow-gan.ring", weight=1, **options)))


def test_any_divergence_trains_a_flow():
    for divergence in ("js", "kl"):
        recipe = create_recipe("flow-gan.ring", {"divergence": divergence})
        assert [turn.losses.terms[0].term.options["divergence"].name for turn in recipe.turns] == [divergence] * 2


def test_by_maximum_likelihood_it_beats_the_gaussian_on_the_ring():
    made = trained("mle-flow.ring", steps=150)
    assert nll(made) < gaussian_nll(made) - 1


def test_by_maximum_likelihood_an_affine_flow_of_one_dimension_is_the_gaussian():
    made = trained("mle-flow.mixture-1d", flow="maf", steps=300)
    assert nll(made) == pytest.approx(gaussian_nll(made), abs=0.01)


def test_a_flow_that_fits_no_data_says_so_before_training():
    with pytest.raises(IncompatibleError, match=r"mle-flow\.mixture-1d: realnvp .* use nsf"):
        create_recipe("mle-flow.mixture-1d", {"flow": "realnvp"})
    with pytest.raises(IncompatibleError, match="its density cannot be written down"):
        create_recipe("mle-flow.ring", {"flow": "mlp"})


def command(*args, cwd):
    return subprocess.run([sys.executable, "-m", "ganzoo", *args], cwd=cwd, check=True, capture_output=True, text=True)


def test_from_the_command_line_to_samples_and_likelihoods(tmp_path):
    options = [f"-o{name}={value}" for name, value in {"flow": "realnvp", **SMALL}.items() if name != "batch_size"]
    command("train", "flow-gan.ring", "--steps", "5", "--device", "cpu", *options, cwd=tmp_path)
    command("sample", "runs/flow-gan.ring", "-n", "50", "--seed", "1", "--out", "x.npz", cwd=tmp_path)
    model = ganzoo.load(tmp_path / "runs/flow-gan.ring")
    x, label = model.sample(50, seed=1)
    assert label is None
    assert np.array_equal(np.load(tmp_path / "x.npz")["x"], x.numpy())
    nats = model.log_prob(x)
    assert nats.shape == (50,)
    z, log_det = model.generator.encode(x)
    assert torch.allclose(nats, torch.distributions.Normal(0, 1).log_prob(z).sum(1) + log_det, atol=1e-5)
    # The standardisation of the data came along: the ring's features have variance 1/2.
    assert torch.allclose(model.generator.std, torch.tensor(0.5).sqrt(), atol=0.02)
