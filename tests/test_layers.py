"""Layers that compute what plain ones do in fewer operations: the same values, gradients, names and initial weights."""

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap

from ganzoo.layers import ConvPool2d, NoiseToMap, SpectralNorm, UpsampleConv2d, iterate_all

PAIRS = {
    "upsample": (lambda: UpsampleConv2d(3, 5), lambda c: nn.Sequential(nn.Upsample(scale_factor=2), c), (3, 4, 6)),
    "pool": (lambda: ConvPool2d(3, 5), lambda c: nn.Sequential(c, nn.AvgPool2d(2)), (3, 6, 4)),
    "pool an odd map": (lambda: ConvPool2d(3, 5), lambda c: nn.Sequential(c, nn.AvgPool2d(2)), (3, 7, 5)),
    "noise": (lambda: NoiseToMap(6, 5, 4), nn.Sequential, (6, 1, 1)),
    "noise to a pixel": (lambda: NoiseToMap(6, 5, 1), nn.Sequential, (6, 1, 1)),
}
PLAIN = {
    UpsampleConv2d: lambda: nn.Conv2d(3, 5, 3, padding=1),
    ConvPool2d: lambda: nn.Conv2d(3, 5, 3, padding=1),
    NoiseToMap: lambda size: nn.ConvTranspose2d(6, 5, size),
}


def plain_of(layer):
    make = PLAIN[type(layer)]
    return make(layer.weight.shape[-1]) if isinstance(layer, NoiseToMap) else make()


@pytest.fixture(params=PAIRS)
def pair(request):
    """A rewritten layer, what it stands for with the same weights, and inputs."""
    make, compose, shape = PAIRS[request.param]
    torch.manual_seed(0)
    layer = make()
    plain = plain_of(layer)
    plain.load_state_dict(layer.state_dict())
    return layer, compose(plain), torch.randn(4, *shape, generator=torch.Generator().manual_seed(1))


def values(network, x):
    """The result of a network, and the gradients of a nonlinear function of it in its input and its parameters."""
    x = x.clone().requires_grad_()
    y = network(x)
    return y.detach(), *torch.autograd.grad((y.square() + y.sin()).sum(), [x, *network.parameters()])


def close(a, b, tolerance):
    return all(
        x.shape == y.shape and (x - y).abs().max() <= tolerance * y.abs().max().clamp_min(1)
        for x, y in zip(a, b, strict=True)
    )


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_values_and_gradients_are_those_of_the_plain_layers(pair, dtype, tolerance, layout):
    layer, plain, x = pair
    layer = layer.to(dtype).to(memory_format=layout)
    plain, x = plain.to(dtype), x.to(dtype).contiguous(memory_format=layout)
    assert close(values(layer, x), values(plain, x), tolerance)


def test_names_shapes_and_initial_values_are_those_of_the_plain_layer():
    for make, _, _ in PAIRS.values():
        layer = seeded(make)
        state, plain = layer.state_dict(), seeded(lambda layer=layer: plain_of(layer)).state_dict()
        assert list(state) == list(plain)
        assert all(torch.equal(state[key], plain[key]) for key in state)


def seeded(make):
    torch.manual_seed(3)
    return make()


def test_without_a_bias_there_is_none():
    for layer in (UpsampleConv2d(3, 5, bias=False), ConvPool2d(3, 5, bias=False), NoiseToMap(3, 5, bias=False)):
        assert list(layer.state_dict()) == ["weight"]
        x = torch.zeros(2, 3, 1, 1) if isinstance(layer, NoiseToMap) else torch.zeros(2, 3, 4, 4)
        assert not layer(x).any()


def test_noise_may_be_flat():
    layer, z = NoiseToMap(6, 5, 4), torch.randn(3, 6)
    assert torch.equal(layer(z), layer(z[:, :, None, None]))


def test_the_second_gradient_is_that_of_the_plain_layers(pair):
    """The gradient in the parameters of a penalty on the gradient in the input."""
    layer, plain, x = pair[0].double(), pair[1].double(), pair[2].double()

    def penalty(network):
        slope = grad(lambda at: network(at).sin().sum())(x)
        return torch.autograd.grad(slope.square().sum(), list(network.parameters()), materialize_grads=True)

    assert close(penalty(layer), penalty(plain), 1e-12)


def test_on_the_meta_device(pair):
    layer, plain, x = pair
    with torch.device("meta"):
        made = copy.deepcopy(layer).to("meta")
        assert made(x.to("meta")).shape == plain(x).shape
        assert all(p.is_meta for p in type(layer)(3, 5).parameters())


def test_the_channels_stay_last(pair):
    layer, _, x = pair
    if layer.weight.shape[-1] == 1:
        pytest.skip("a map of one pixel has no order")
    layer = layer.to(memory_format=torch.channels_last)
    assert layer(x.contiguous(memory_format=torch.channels_last)).is_contiguous(memory_format=torch.channels_last)


def test_in_bfloat16_the_error_is_that_of_the_plain_layers(pair):
    layer, plain, x = pair
    exact = plain(x).detach()
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = layer(x), plain(x)
    assert ours.dtype == (torch.float32 if isinstance(layer, NoiseToMap) else torch.bfloat16)
    assert (ours - exact).abs().max() <= 3 * (theirs - exact).abs().max() + 1e-3


def stacked_and_looped(networks, x, call):
    """``call`` of replicas under vmap, and of each: values and gradients in its parameters."""
    params, buffers = stack_module_state([copy.deepcopy(n) for n in networks])

    def one(params, buffers, x):
        return grad(lambda p: call(lambda at: functional_call(networks[0], {**p, **buffers}, (at,)), x))(params), call(
            lambda at: functional_call(networks[0], {**params, **buffers}, (at,)), x
        )

    slopes, value = vmap(one)(params, buffers, x)
    wanted = torch.stack([call(n, each) for n, each in zip(networks, x, strict=True)])
    each = [torch.autograd.grad(v, list(n.parameters())) for n, v in zip(networks, wanted, strict=True)]
    separate = [torch.stack(g) for g in zip(*each, strict=True)]
    return (value, *slopes.values()), (wanted.detach(), *separate), buffers


def score(network, x):
    return network(x).sin().sum()


def penalty(network, x):
    return score(network, x) + grad(lambda at: score(network, at))(x).square().sum()


@pytest.mark.parametrize("call", [score, penalty])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("name", PAIRS)
def test_replicas_under_vmap_are_separate_ones(name, dtype, tolerance, call):
    make, _, shape = PAIRS[name]
    torch.manual_seed(0)
    networks = [make().to(dtype) for _ in range(3)]
    stacked, looped, _ = stacked_and_looped(networks, torch.randn(3, 2, *shape, dtype=dtype), call)
    assert close(stacked, looped, tolerance)


def test_batch_normalisation_between_them_keeps_statistics_of_each_replica():
    """torch's own needs no other form: its buffers are stacked, ``num_batches_tracked`` too."""
    torch.manual_seed(0)
    networks = [nn.Sequential(NoiseToMap(4, 3), nn.BatchNorm2d(3), nn.ReLU(), UpsampleConv2d(3, 2)) for _ in range(3)]
    networks = [network.double() for network in networks]
    z = torch.randn(3, 8, 4, dtype=torch.float64)
    params, buffers = stack_module_state([copy.deepcopy(n) for n in networks])
    stacked = vmap(lambda p, b, z: functional_call(networks[0], {**p, **b}, (z,)))(params, buffers, z)
    for i, network in enumerate(networks):
        assert torch.allclose(stacked[i], network(z[i]), atol=1e-10, rtol=0)
        assert all(torch.allclose(buffers[name][i], b, atol=1e-10) for name, b in network.named_buffers())
        assert int(buffers["1.num_batches_tracked"][i]) == 1


@pytest.mark.parametrize("pool", [nn.AvgPool2d(2), nn.Upsample(scale_factor=2)], ids=["pool", "upsample"])
def test_a_convolution_of_single_pixels_commutes_with_change_of_size(pool):
    conv, x = nn.Conv2d(3, 5, 1).double(), torch.randn(2, 3, 6, 6, dtype=torch.float64)
    assert close(values(nn.Sequential(conv, pool), x), values(nn.Sequential(pool, conv), x), 1e-12)


# Spectral norm --------------------------------------------------------------------------------------------------------

KINDS = {
    "linear": (lambda: nn.Linear(6, 4), (6,)),
    "conv": (lambda: nn.Conv2d(3, 4, 3, stride=2, padding=1), (3, 6, 6)),
    "circular": (lambda: nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"), (3, 6, 6)),
    "pool": (lambda: ConvPool2d(3, 4), (3, 6, 6)),
    "upsample": (lambda: UpsampleConv2d(3, 4), (3, 6, 6)),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_spectral_layer_is_the_layer_with_its_weight_over_its_norm(name):
    make, shape = KINDS[name]
    torch.manual_seed(0)
    layer = make().double()
    plain, spectral, x = copy.deepcopy(layer), SpectralNorm(layer).double(), torch.randn(2, *shape).double()
    for _ in range(500):
        spectral.iterate()
    norm = torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)
    assert torch.allclose(spectral.sigma(), norm)
    assert spectral.u.norm().item() == pytest.approx(1)
    assert spectral.v.norm().item() == pytest.approx(1)
    plain.weight.data /= norm
    assert torch.allclose(spectral(x), plain(x))
    assert list(spectral.state_dict()) == ["u", "v", "layer.weight", "layer.bias"]


def test_the_norm_of_a_pooling_convolution_is_that_of_its_plain_kernel():
    torch.manual_seed(0)
    plain, pooled = nn.Conv2d(3, 5, 3, padding=1), ConvPool2d(3, 5)
    pooled.load_state_dict(plain.state_dict())
    norms, x = [], torch.randn(2, 3, 6, 6)
    for layer in (plain, pooled):
        torch.manual_seed(1)
        norms.append(SpectralNorm(layer))
    assert torch.equal(norms[0].sigma(), norms[1].sigma())
    assert torch.allclose(nn.functional.avg_pool2d(norms[0](x), 2), norms[1](x), atol=1e-6)


def test_the_gradient_goes_through_sigma_with_u_and_v_fixed():
    """``∂/∂W = (G − ⟨G, W⟩/σ · u vᵀ)/σ`` for the gradient ``G`` in ``W/σ``: eq. 12 of Miyato et al."""
    torch.manual_seed(0)
    layer = SpectralNorm(nn.Conv2d(2, 3, 3)).double()
    x = torch.randn(4, 2, 5, 5, dtype=torch.float64)
    weight = layer.weight().detach().requires_grad_()
    g = torch.autograd.grad(nn.functional.conv2d(x, weight, layer.layer.bias).sin().sum(), weight)[0]
    layer(x).sin().sum().backward()
    sigma, w = layer.sigma().detach(), layer.layer.weight.detach()
    outer = torch.outer(layer.u, layer.v).view_as(w)
    assert torch.allclose(layer.layer.weight.grad, (g - (g * w).sum() / sigma * outer) / sigma)


def test_all_layers_take_the_step_that_each_would_take():
    torch.manual_seed(0)
    sizes = [(8, 8)] * 3 + [(8, 4)] + [(80, 80)] * 2  # alone, together, and too large for that
    network = nn.Sequential(*(SpectralNorm(nn.Linear(*size)) for size in sizes)).double()
    for parameter in network.parameters():
        parameter.data.add_(0.3 * torch.randn_like(parameter))
    wanted, held = copy.deepcopy(network), dict(network.named_buffers())
    for layer in wanted:
        layer.iterate()
    iterate_all(network)
    for name, buffer in wanted.named_buffers():
        assert torch.allclose(network.get_buffer(name), buffer, atol=1e-14)
        assert network.get_buffer(name) is held[name]
        assert not torch.equal(buffer, torch.zeros_like(buffer))


class Critic(nn.Module):
    def __init__(self):
        super().__init__()
        convs = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), ConvPool2d(4, 4), ConvPool2d(4, 4)
        self.body = nn.Sequential(*(SpectralNorm(conv) for conv in convs), nn.Flatten(), SpectralNorm(nn.Linear(4, 1)))

    def forward(self, x):
        iterate_all(self)
        return self.body(x)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_spectral_replicas_under_vmap_are_separate_ones(dtype, tolerance):
    torch.manual_seed(0)
    networks = [Critic().to(dtype) for _ in range(3)]
    for network in networks:
        for parameter in network.parameters():
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    params, buffers = stack_module_state([copy.deepcopy(n) for n in networks])
    x = torch.randn(3, 2, 2, 4, 4, dtype=dtype)
    y = vmap(lambda p, b, x: functional_call(networks[0], {**p, **b}, (x,)))(params, buffers, x)
    slopes = torch.autograd.grad(y.square().sum(), list(params.values()))
    for i, network in enumerate(networks):
        one = network(x[i])
        each = torch.autograd.grad(one.square().sum(), list(network.parameters()))
        assert close([y[i], *(s[i] for s in slopes)], [one, *each], tolerance)
        assert close([b[i] for b in buffers.values()], [*dict(network.named_buffers()).values()], tolerance)


def test_the_norm_is_computed_in_full_precision_under_autocast():
    layer = SpectralNorm(nn.Conv2d(3, 4, 3))
    sigma = layer.sigma()
    params, buffers = stack_module_state([copy.deepcopy(layer) for _ in range(2)])

    class Sigma(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self):
            return self.layer.sigma()

    def one(state):
        return functional_call(Sigma(), {f"layer.{name}": value for name, value in state.items()}, ())

    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer.sigma(), sigma)
        assert layer(torch.randn(2, 3, 5, 5)).dtype == torch.bfloat16
        assert torch.allclose(vmap(one)({**params, **buffers}), sigma, rtol=1e-6)


@pytest.mark.parametrize("name", PAIRS)
def test_replicas_in_autocast_can_be_normalised(name):
    """Under vmap autocast lowers some operations and not others, and batch normalisation takes no mixture."""
    make, _, shape = PAIRS[name]
    networks = [nn.Sequential(make(), nn.BatchNorm2d(5), nn.Conv2d(5, 2, 1)) for _ in range(2)]
    params, buffers = stack_module_state(networks)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        x = torch.randn(2, 4, *shape)
        assert vmap(lambda p, b, x: functional_call(networks[0], {**p, **b}, (x,)))(params, buffers, x).isfinite().all()


def test_a_weight_of_zero_is_no_division_by_it():
    layer = SpectralNorm(nn.Linear(3, 2, bias=False))
    nn.init.zeros_(layer.layer.weight)
    layer.iterate()
    assert not layer(torch.ones(4, 3)).any()


def test_a_layer_whose_weight_is_not_known_is_refused():
    with pytest.raises(TypeError, match="no spectral norm is known of ConvTranspose2d; it is of Linear, Conv2d"):
        SpectralNorm(nn.ConvTranspose2d(3, 4, 3))
