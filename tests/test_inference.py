"""Folded generators: the same samples with fewer layers, and networks that do not allow it left alone."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from ganzoo.generator import Generator
from ganzoo.inference import folded
from ganzoo.layers import ConvPool2d, NoiseToMap, SpectralNorm, UpsampleConv2d, iterate_all
from ganzoo.plugins import registry

CORE = [entry for entry in registry().all("generator") if entry.distribution == "ganzoo"]


class Body(Generator):
    def __init__(self, *layers, inputs=6):
        super().__init__()
        self.inputs, self.body = inputs, nn.Sequential(*layers)

    def source(self, n, rng, batch=None, label=None):
        return torch.randn(n, self.inputs, generator=rng), None

    def forward(self, z, c=None):
        return self.body(z)


class Twice(Body):
    """Uses one layer of its sequence a second time."""

    def forward(self, z, c=None):
        return self.body(z) + self.body[1](torch.ones_like(self.body[0](z))).mean()


class Curious(Body):
    """Reads the weight of a layer that it takes for a convolution."""

    def forward(self, z, c=None):
        return self.body(z) * self.body[3].weight[0, 0, 2, 2] / self.body[1].running_mean.norm()


def trained(generator, seed=0):
    """With weights and running statistics as training leaves them: none of them at its start."""
    rng = torch.Generator().manual_seed(seed)
    for module in generator.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            if module.track_running_stats:
                module.running_mean.normal_(generator=rng)
                module.running_var.uniform_(0.3, 3, generator=rng)
            if module.affine:
                module.weight.data.uniform_(0.5, 1.5, generator=rng)
                module.bias.data.normal_(generator=rng)
    iterate_all(generator)
    return generator


def samples(generator, n=16):
    with torch.no_grad():
        return generator(*generator.source(n, torch.Generator().manual_seed(5)))


def check(generator):
    """Folds it, and holds the samples against those of the generator in eval mode."""
    before = copy.deepcopy(generator.state_dict())
    fast = folded(generator)
    wanted = samples(copy.deepcopy(generator).eval())
    error = (samples(fast) - wanted).abs().max().item()
    assert error <= 1e-5 * max(1, wanted.abs().max().item())
    assert not fast.training
    assert not any(p.requires_grad for p in fast.parameters())
    assert all(torch.equal(before[key], value) for key, value in generator.state_dict().items())
    assert generator.training
    return fast


def kinds(network):
    return [type(module) for module in network.body]


@pytest.mark.parametrize("entry", CORE, ids=str)
@pytest.mark.parametrize("shape", [(2,), (1, 8, 8)], ids=["plane", "image"])
def test_the_cores_generators(entry, shape):
    torch.manual_seed(0)
    check(entry.create({"shape": shape}))


FIRST = {
    "linear": (lambda bias: nn.Linear(6, 4, bias=bias), nn.BatchNorm1d),
    "noise": (lambda bias: NoiseToMap(6, 4, 3, bias=bias), nn.BatchNorm2d),
}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("name", FIRST)
def test_a_normalisation_goes_into_the_first_layer(name, affine, bias):
    make, norm = FIRST[name]
    fast = check(trained(Body(make(bias), norm(4, affine=affine), nn.ReLU())))
    assert kinds(fast)[1:] == [nn.Identity, nn.ReLU]
    assert fast.body[0].bias.shape == (4,)


LATER = {
    "conv": (lambda: nn.Conv2d(4, 6, 3), nn.Conv2d),
    "grouped": (lambda: nn.Conv2d(4, 6, 3, groups=2), nn.Conv2d),
    "transposed": (lambda: nn.ConvTranspose2d(4, 6, 4, 2, 1), nn.ConvTranspose2d),
    "upsample": (lambda: UpsampleConv2d(4, 6, bias=False), nn.ConvTranspose2d),
    "pool": (lambda: ConvPool2d(4, 6), nn.Conv2d),
    "spectral": (lambda: SpectralNorm(UpsampleConv2d(4, 6)), nn.ConvTranspose2d),
}


@pytest.mark.parametrize("name", LATER)
def test_a_normalisation_goes_into_a_convolution(name):
    make, becomes = LATER[name]
    torch.manual_seed(0)
    fast = check(trained(Body(NoiseToMap(6, 4, 4), nn.ReLU(), make(), nn.BatchNorm2d(6), nn.Tanh())))
    assert kinds(fast)[2:4] == [becomes, nn.BatchNorm2d if name == "grouped" else nn.Identity]
    assert fast.body[2].weight.is_contiguous(memory_format=torch.channels_last)


def test_a_normalisation_with_something_between_stays():
    fast = check(trained(Body(NoiseToMap(6, 4, 4), nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))))
    assert kinds(fast)[2] is nn.BatchNorm2d


def test_a_normalisation_by_the_batch_itself_stays():
    fast = check(trained(Body(NoiseToMap(6, 4, 4), nn.BatchNorm2d(4, track_running_stats=False))))
    assert kinds(fast)[1] is nn.BatchNorm2d


def test_a_layer_that_is_used_twice_stays():
    unit, norm, layer = nn.ReLU(), nn.BatchNorm1d(6), nn.Linear(6, 6)
    fast = check(trained(Body(nn.Linear(6, 6), unit, layer, unit, layer, norm, unit, nn.Linear(6, 6), unit, norm)))
    assert kinds(fast).count(nn.BatchNorm1d) == 2
    tied = Body(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Linear(6, 6))
    tied.body[2].weight = tied.body[0].weight
    assert kinds(check(trained(tied)))[1] is nn.BatchNorm1d


def test_a_layer_that_somebody_listens_to_or_parametrises_stays():
    heard = Body(nn.Linear(6, 4), nn.BatchNorm1d(4))
    heard.body[0].register_forward_hook(lambda module, given, result: 2 * result)
    assert kinds(check(trained(heard)))[1] is nn.BatchNorm1d
    normed = Body(weight_norm(nn.Linear(6, 4)), nn.BatchNorm1d(4))
    assert kinds(check(trained(normed)))[1] is nn.BatchNorm1d


@pytest.mark.parametrize("kind", [Twice, Curious])
def test_a_network_that_does_more_with_its_layers_is_left_as_it_is(kind):
    layers = NoiseToMap(6, 4, 4), nn.BatchNorm2d(4), nn.ReLU(), UpsampleConv2d(4, 3)
    fast = check(trained(kind(*layers)))
    assert kinds(fast) == [type(layer) for layer in layers]


def test_what_is_not_finite_is_left_as_it_is():
    generator = trained(Body(nn.Linear(6, 4), nn.BatchNorm1d(4)))
    generator.body[0].weight.data.fill_(float("nan"))
    assert kinds(folded(generator))[1] is nn.BatchNorm1d


def test_samples_of_a_folded_generator_draw_nothing_from_the_global_state():
    generator = trained(Body(NoiseToMap(6, 4, 4), nn.BatchNorm2d(4), nn.ReLU(), UpsampleConv2d(4, 3)))
    before = torch.get_rng_state()
    folded(generator)
    assert torch.equal(before, torch.get_rng_state())
