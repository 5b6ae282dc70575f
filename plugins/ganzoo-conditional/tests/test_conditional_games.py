"""The term's gradient, the games as published, replicas, a few steps, and labels that are asked for."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from ganzoo import Batch, Discriminator, Round, Run, Verdict, create, load
from ganzoo.engine.eager import Eager
from ganzoo.engine.stacked import Stacked
from ganzoo.errors import IncompatibleError
from ganzoo.model import export
from ganzoo.recipe import create_recipe

METHODS = ["cgan", "acgan", "projection-gan"]
SMALL = {"generator.hidden": 16, "discriminator.hidden": 16, "batch_size": 16, "steps": 3, "evaluations": 1}


class Linear(Discriminator):
    """Logits ``W x``."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 2, dtype=torch.float64))

    def forward(self, x, c=None):
        return Verdict(x.sum(1), x @ self.weight.T)


@pytest.mark.parametrize("of", ["real", "fake"])
def test_the_cross_entropy_and_its_gradient_are_the_closed_form(of):
    torch.manual_seed(0)
    network, term = Linear(), create("term", "classify", of=of)
    x, other = torch.randn(2, 5, 2, dtype=torch.float64)
    label, wrong = torch.tensor([0, 2, 1, 1, 0]), torch.tensor([1, 1, 1, 2, 2])
    real, fake = (Batch(x, label), (other, wrong)) if of == "real" else (Batch(other, wrong), (x, label))
    with Round({"discriminator": network, "generator": lambda z, c: z}, real, {"generator": fake}) as round:
        value = term(round)
        seen = term.observe(round)
    p = (x @ network.weight.T).softmax(1)
    assert value.item() == pytest.approx(-p[range(5), label].log().mean().item())
    wanted = (p - torch.eye(3)[label]).T @ x / 5
    assert torch.allclose(torch.autograd.grad(value, network.weight)[0], wanted)
    assert seen[f"accuracy on {of}"].item() == pytest.approx((p.argmax(1) == label).double().mean().item())


def test_the_methods_are_the_published_games():
    recipes = {name: create_recipe(f"{name}.digits") for name in METHODS}
    heads = [recipe.players["discriminator"].network.options["head"] for recipe in recipes.values()]
    assert heads == ["score", "classify", "projection"]
    for recipe in recipes.values():
        assert {recipe.players[p].network.options["classes"] for p in ("generator", "discriminator")} == {10}
    terms = [[w.term.options.get("of", w.term.name) for w in turn.losses] for turn in recipes["acgan"].turns]
    assert terms == [["criticise", "real", "fake"], ["fool", "fake"]]
    weighted = create_recipe("acgan.digits", {"weight": 0.5})
    assert [[w.weight for w in turn.losses] for turn in weighted.turns] == [[1.0, 0.5, 0.5], [1.0, 0.5]]
    assert recipes["projection-gan"].turns[0].repeats == 5
    assert recipes["projection-gan"].turns[0].losses.terms[0].term.options["divergence"].name.endswith("hinge")


@pytest.mark.parametrize("name", METHODS)
def test_a_few_steps_train_and_the_label_is_that_asked_for(name, tmp_path):
    recipe = create_recipe(f"{name}.digits", SMALL)
    run = Run(recipe, 0, tmp_path / "run", device="cpu", draw=False)
    assert run.train().status == "finished"
    export(tmp_path / "model", recipe, run.generator(), {"seed": 0, "step": 3})
    model = load(tmp_path / "model")
    batch = model.sample(4, seed=0, label=3)
    assert batch.label.tolist() == [3, 3, 3, 3]
    assert not torch.equal(batch.x, model.sample(4, seed=0, label=4).x)
    assert model.sample(3, seed=0, label=torch.tensor([1, 0, 9])).label.tolist() == [1, 0, 9]


@pytest.mark.parametrize("name", METHODS)
def test_a_stack_of_seeds_trains_as_each_alone(name):
    recipe = create_recipe(f"{name}.digits", SMALL)
    train = recipe.dataset.build().part("train")
    stack, alone = Stacked(recipe, train, [0, 1], torch.device("cpu")), Eager(recipe, train, 1, torch.device("cpu"))
    for step in range(2):
        together, single = stack.step(step, observe=True), alone.step(step, observe=True)
    assert together.keys() == single.keys()
    for key, value in single.items():
        assert together[key][1].item() == pytest.approx(value.item(), rel=1e-4, abs=1e-4)


def test_modes_of_a_mixture_are_labels_too():
    for name in METHODS:
        recipe = create_recipe(f"{name}.ring")
        assert recipe.players["generator"].network.options["classes"] == 8
    assert create_recipe("cgan.grid").players["discriminator"].network.options["classes"] == 25


def test_networks_without_labels_and_discriminators_without_logits_are_refused():
    with pytest.raises(IncompatibleError, match="needs a generator with the option classes, and gmm has none"):
        create_recipe("cgan.digits", {"generator": "gmm"})
    with pytest.raises(IncompatibleError, match="FourierDiscriminator gives no class logits; head=classify does"):
        create_recipe("acgan.ring", {"discriminator": "fourier-mlp"})
    with pytest.raises(IncompatibleError, match="MLPGenerator reads none"):
        create_recipe("acgan.digits", {"generator.classes": 0})


def test_what_replaces_a_network_keeps_how_labels_are_read():
    recipe = create_recipe("projection-gan.digits", {"discriminator": "mlp", "discriminator.hidden": 8})
    options = recipe.players["discriminator"].network.options
    assert (options["head"], options["classes"], options["hidden"]) == ("projection", 10, 8)
    recipe = create_recipe("projection-gan.digits", {"discriminator": "fourier-mlp"})  # which has one way to read them
    assert recipe.players["discriminator"].network.options["classes"] == 10


def ganzoo(*words, plugins, cwd):
    done = subprocess.run(
        [sys.executable, "-m", "ganzoo", *words],
        cwd=cwd,
        env={**os.environ, "GANZOO_LOAD_PLUGINS": plugins, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_from_training_to_samples_with_a_label_in_real_processes(tmp_path):
    """With the networks of another plugin in place of both perceptrons."""
    networks = ["-o", "generator=dcgan", "-o", "discriminator=dcgan", "-o", "generator.width=8"]
    networks += ["-o", "discriminator.width=8", "-o", "batch_size=16", "-o", "evaluations=1"]
    plugins = "ganzoo-conditional,ganzoo-divergences,ganzoo-images"
    ganzoo("train", "acgan.digits", *networks, "--steps", "3", "--out", "run", plugins=plugins, cwd=tmp_path)
    ganzoo("sample", "run", "-n", "5", "--label", "3", "--out", "s.npz", plugins=plugins, cwd=tmp_path)
    made = np.load(tmp_path / "s.npz")
    assert made["label"].tolist() == [3] * 5
    assert made["x"].shape == (5, 1, 8, 8)
