"""Perceptrons of bounded slope, in packs, and with features."""

import pytest
import torch
from torch.func import functional_call, grad, stack_module_state, vmap

from ganzoo.engine.eager import Eager
from ganzoo.engine.functional import Functional
from ganzoo.errors import IncompatibleError
from ganzoo.layers import SpectralNorm, iterate_all
from ganzoo.recipe import create_recipe
from ganzoo_divergences import discriminators
from ganzoo_divergences.discriminators import PackedMLP, SmoothMLP, SpectralNormMLP


def linears(network):
    return [m for m in network.modules() if isinstance(m, SpectralNorm)]


def sigma(layer):
    return layer.sigma().item()


def norm(layer):
    return float(torch.linalg.matrix_norm(layer.layer.weight.detach(), 2))


@pytest.fixture
def spectral():
    torch.manual_seed(0)
    return SpectralNormMLP((1, 8, 8), hidden=64)


def test_sigma_is_the_largest_singular_value(spectral):
    for layer in linears(spectral):
        assert norm(layer) * 0.97 < sigma(layer) <= norm(layer) * (1 + 1e-6)
        for _ in range(300):
            layer.iterate()
        assert sigma(layer) == pytest.approx(norm(layer), rel=1e-4)
        assert float(layer.u.norm()) == pytest.approx(1, abs=1e-5)


def test_one_preparation_is_one_step_of_the_power_method(spectral):
    layer = linears(spectral)[1]
    with torch.no_grad():
        layer.layer.weight.add_(0.1 * torch.randn_like(layer.layer.weight))
    weight, u = layer.layer.weight.detach(), layer.u.clone()
    spectral.prepare()
    v = weight.T @ u
    assert torch.allclose(layer.v, v / v.norm(), atol=1e-6)
    u = weight @ layer.v
    assert torch.allclose(layer.u, u / u.norm(), atol=1e-6)


def test_power_iteration_follows_a_moving_weight(spectral):
    """One iteration a turn keeps up with steps as small as those of training."""
    layer, rng = linears(spectral)[1], torch.Generator().manual_seed(1)
    for _ in range(200):
        with torch.no_grad():
            layer.layer.weight.add_(1e-3 * torch.randn(layer.layer.weight.shape, generator=rng))
        spectral.prepare()
    assert sigma(layer) == pytest.approx(norm(layer), rel=0.02)


def test_no_two_samples_are_judged_farther_apart_than_they_are(spectral):
    for _ in range(300):
        spectral.prepare()
    x, y = torch.randn(2, 500, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    slopes = (spectral(x).score - spectral(y).score).abs() / (x - y).flatten(1).norm(dim=1)
    assert slopes.max().item() <= 1 + 1e-3
    with torch.no_grad():
        for layer in linears(spectral):
            layer.layer.weight.mul_(50)
    again = (spectral(x).score - spectral(y).score).abs() / (x - y).flatten(1).norm(dim=1)
    assert again.max().item() <= 1 + 1e-3


def test_the_gradient_goes_through_sigma_with_u_and_v_fixed():
    """``∂/∂W Σ (W x/σ) = (1 xᵀ − (Σ y) u vᵀ)/σ``: eq. 12 of Miyato et al."""
    torch.manual_seed(0)
    layer = SpectralNorm(torch.nn.Linear(5, 3, bias=False)).double()
    x = torch.randn(5, dtype=torch.float64)
    layer(x).sum().backward()
    y = layer(x).detach()
    wanted = (torch.ones(3, 1).double() * x - y.sum() * torch.outer(layer.u, layer.v)) / sigma(layer)
    assert torch.allclose(layer.layer.weight.grad, wanted)


def test_a_weight_of_zero_is_no_division_by_it():
    network = SpectralNormMLP((2,), hidden=4)
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)
    network.prepare()
    assert not network(torch.ones(3, 2)).score.any()


def test_the_power_method_steps_in_the_critics_turn_and_in_no_penalty(monkeypatch):
    stepped = []
    monkeypatch.setattr(discriminators, "iterate_all", lambda network: (stepped.append(network), iterate_all(network)))
    recipe = create_recipe("wgan-gp.ring", {"discriminator": "sn-mlp", "k": 2, "batch_size": 16})
    made = Eager(recipe, recipe.dataset.build().part("train"), 0, torch.device("cpu"))
    stepped.clear()
    for step in range(3):
        made.step(step)
    assert stepped == [made.networks["discriminator"]] * 2 * 3


def test_stacked_replicas_are_prepared_as_separate_ones():
    torch.manual_seed(0)
    networks = [SpectralNormMLP((2,), hidden=8).double() for _ in range(3)]
    for network in networks:
        for parameter in network.parameters():
            parameter.data.add_(0.3 * torch.randn_like(parameter))
    params, buffers = stack_module_state(networks)
    x = torch.randn(3, 4, 2, dtype=torch.float64)

    def one(params, buffers, x):
        Functional(networks[0], {**params, **buffers}).prepare()
        return grad(lambda p: functional_call(networks[0], {**p, **buffers}, (x,)).score.sum())(params), buffers

    slopes, moved = vmap(one)(params, {name: b.clone() for name, b in buffers.items()}, x)
    for i, network in enumerate(networks):
        network.prepare()
        network(x[i]).score.sum().backward()
        for name, buffer in network.named_buffers():
            assert torch.allclose(moved[name][i], buffer, atol=1e-12)
        for name, parameter in network.named_parameters():
            assert torch.allclose(slopes[name][i], parameter.grad, atol=1e-12)


@pytest.mark.parametrize("pack", [1, 2, 4])
def test_a_pack_has_one_score_and_reads_its_own_samples_alone(pack):
    torch.manual_seed(0)
    network, x, c = PackedMLP((2,), 8, pack=pack, classes=3), torch.randn(8, 2), torch.arange(8) % 3
    score = network(x, c).score
    assert score.shape == (8 // pack,)
    for each in range(8):
        changed = x.clone()
        changed[each] += 1
        differs = (network(changed, c).score != score).nonzero().flatten().tolist()
        assert differs == [each // pack]
    label = c.clone()
    label[-1] = (label[-1] + 1) % 3
    assert (network(x, label).score != score).nonzero().flatten().tolist() == [8 // pack - 1]


def test_a_pack_of_one_is_an_ordinary_perceptron():
    torch.manual_seed(0)
    packed, x = PackedMLP((2,), 8, pack=1), torch.randn(6, 2)
    assert torch.equal(packed(x).score, packed.body(x).squeeze(1))


def test_packs_that_do_not_divide_the_batch_are_refused_before_training():
    with pytest.raises(IncompatibleError, match="a batch of 7 is not divided by packs of 2"):
        PackedMLP((2,))(torch.zeros(7, 2))
    with pytest.raises(IncompatibleError, match=r"ns-gan.ring: a batch of 128 is not divided by packs of 3"):
        create_recipe("ns-gan.ring", {"discriminator": "packed-mlp", "discriminator.pack": 3})


def test_a_smooth_critic_has_a_continuous_slope_and_may_have_features():
    torch.manual_seed(0)
    assert SmoothMLP((2,), 8)(torch.zeros(3, 2)).score.shape == (3,)
    assert SmoothMLP((2,), 8, units=4)(torch.zeros(3, 2)).score.shape == (3, 4)
    network = SmoothMLP((1,), 32).double()
    x = torch.linspace(-3, 3, 20_001, dtype=torch.float64)[:, None]
    slope = vmap(grad(lambda at: network(at[None]).score.sum()))(x).squeeze(1)
    assert slope.diff().abs().max().item() < 1e-3 * slope.abs().max().item()
