"""StyleGAN2's networks: modulation against the textbook's grouped form, sizes, styles, labels, replicas, a recipe."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.functional import conv2d, conv_transpose2d, leaky_relu, linear, pad

from ganzoo import Run, create, input_gradient
from ganzoo.errors import IncompatibleError
from ganzoo.recipe import create_recipe
from ganzoo_images.resample import Smooth
from ganzoo_images.stylegan import Conv, Dense, Halved, Modulated

KINDS = ["generator", "discriminator"]
SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64), (1, 64, 64), (3, 48, 48)]


def made(kind, shape=(3, 32, 32), **options):
    torch.manual_seed(0)
    return create(kind, "ganzoo-images/stylegan2", shape=shape, **options)


@pytest.mark.parametrize("classes", [0, 5])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_makes_and_judges_images_of_any_size_that_halves(shape, classes):
    rng, label = torch.Generator().manual_seed(0), torch.tensor([0, 4, 2])
    with torch.device("meta"):
        generator, discriminator = (made(kind, shape, width=8, classes=classes) for kind in KINDS)
    z, c = generator.source(3, rng, label=label)
    x = generator(z.to("meta"), None if c is None else c.to("meta"))
    assert x.shape == (3, *shape)
    assert discriminator(x, label.to("meta")).score.shape == (3,)


def grouped(layer, x, w):
    """A weight for each sample, one group of channels for each, as the paper's appendix and the code have it."""
    n, inputs, h, side = x.shape
    style = linear(w, layer.style.weight * layer.style.scale, layer.style.bias)
    weight = layer.weight * layer.scale * style[:, None, :, None, None]
    if layer.demodulate:
        weight = weight / (weight.square().sum((2, 3, 4), keepdim=True) + 1e-8).sqrt()
    outputs, size = weight.shape[1], weight.shape[3]
    x = x.reshape(1, n * inputs, h, side)
    if layer.smooth is None:
        made = conv2d(x, weight.reshape(n * outputs, inputs, size, size), padding=size // 2, groups=n)
    else:
        weight = weight.transpose(1, 2).reshape(n * inputs, outputs, size, size)
        made = layer.smooth(conv_transpose2d(x, weight, stride=2, groups=n))
    return made.reshape(n, outputs, *made.shape[2:]) + layer.bias[:, None, None]


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("demodulate", [False, True])
@pytest.mark.parametrize("size", [1, 3])
def test_modulation_of_activations_is_that_of_weights(size, demodulate, double):
    if double and size == 1:
        pytest.skip("no 1×1 convolution doubles a side")
    torch.manual_seed(0)
    layer = Modulated(5, 4, size, 6, double=double, demodulate=demodulate).double()
    layer.bias.data.normal_()
    x, w = torch.randn(3, 5, 7, 7, dtype=torch.float64), torch.randn(3, 6, dtype=torch.float64)
    made = layer(x, w)
    assert made.shape == (3, 4, 14, 14) if double else (3, 4, 7, 7)
    assert torch.allclose(made, grouped(layer, x, w), atol=1e-10)


def test_a_demodulated_map_of_noise_has_unit_variance_whatever_the_style():
    torch.manual_seed(0)
    layer = Modulated(64, 32, 3, 8)
    x, w = torch.randn(4, 64, 32, 32), 5 * torch.randn(4, 8)
    assert layer(x, w)[..., 1:-1, 1:-1].std((2, 3)).mean().item() == pytest.approx(1, rel=0.05)


def test_doubling_is_linear_interpolation_of_what_is_convolved_inside():
    """A transposed convolution and the filter are upsampling and the plain convolution with the mirrored kernel."""
    torch.manual_seed(0)
    layer = Modulated(2, 3, 3, 4, double=True, demodulate=False).double()
    x, w = torch.randn(1, 2, 6, 6, dtype=torch.float64), torch.randn(1, 4, dtype=torch.float64)
    style, weight = layer.style(w)[0], layer.weight * layer.scale
    spread = torch.zeros(1, 2, 12, 12, dtype=torch.float64)
    spread[..., ::2, ::2] = x * style[:, None, None]
    filtered = Smooth(padding=0, gain=4).double()(pad(spread, (2, 1, 2, 1)))
    wanted = conv2d(filtered, weight.flip(2, 3), padding=1)
    assert torch.allclose(layer(x, w)[..., 2:-2, 2:-2], wanted[..., 2:-2, 2:-2], atol=1e-10)


def test_halving_is_the_filter_and_every_second_pixel():
    torch.manual_seed(0)
    for size in (1, 3):
        conv, x = Conv(2, 3, size, half=True), torch.randn(2, 2, 8, 8)
        conv.bias.data.normal_()
        assert conv(x).shape == (2, 3, 4, 4)
        plain = conv2d(x, conv.weight * conv.scale, padding=size // 2)
        wanted = Smooth(stride=2)(plain) + conv.bias[:, None, None]
        assert torch.allclose(conv(x)[..., 1:-1, 1:-1], wanted[..., 1:-1, 1:-1], atol=1e-5)


def test_a_residual_block_keeps_the_variance():
    torch.manual_seed(0)
    block, x = Halved(4, 8), torch.randn(2, 4, 8, 8)
    body = leaky_relu(block.down(leaky_relu(block.conv(x), 0.2) * math.sqrt(2)), 0.2) * math.sqrt(2)
    assert torch.allclose(block(x), (body + block.shortcut(x)) / math.sqrt(2), atol=1e-6)


def test_layers_have_weights_of_one_and_learn_at_their_own_rate():
    torch.manual_seed(0)
    slow, plain = Dense(400, 300, bias=1.0, rate=0.01), Dense(400, 300)
    assert plain.weight.std().item() == pytest.approx(1, rel=0.02)
    assert slow.weight.std().item() == pytest.approx(100, rel=0.02)
    x = torch.randn(500, 400)
    assert torch.allclose(slow(torch.zeros(1, 400)), torch.ones(1, 300))
    assert plain(x).std().item() == pytest.approx(1, rel=0.05)
    assert slow(x).std().item() == pytest.approx(1, rel=0.05)


def test_widths_double_up_to_512_and_maps_begin_at_4():
    with torch.device("meta"):
        generator, discriminator = (made(kind, (3, 64, 64), width=64) for kind in KINDS)
    assert generator.constant.shape == (512, 4, 4)
    assert [grown.conv.weight.shape[0] for grown in generator.grown] == [512, 256, 128, 64]
    assert [half.down.weight.shape[0] for half in discriminator.halved] == [128, 256, 512, 512]
    assert len(made("generator", mapping=8, width=8).mapping) == 8


def test_only_the_direction_of_the_noise_makes_a_style():
    generator = made("generator", (1, 8, 8), width=8, noise=16)
    z = torch.randn(4, 16)
    assert torch.allclose(generator(z), generator(3 * z), atol=1e-4)
    assert (generator(z) - generator(-z)).abs().max() > 0.1


def test_samples_do_not_see_each_other():
    """There is no standard deviation over the batch, so that R1 is of each sample."""
    discriminator, x = made("discriminator", (1, 8, 8), width=8), torch.randn(4, 1, 8, 8)

    def slope(x):
        return input_gradient(lambda at: discriminator(at).score, x)

    assert torch.allclose(slope(x), torch.cat([slope(each[None]) for each in x]), atol=1e-6)
    norms = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)
    assert not [m for kind in KINDS for m in made(kind, (1, 8, 8), width=8).modules() if isinstance(m, norms)]


def test_labels_reach_the_style_and_the_score():
    generator, discriminator = (made(kind, (1, 8, 8), width=8, classes=3) for kind in KINDS)
    z, x, label = torch.randn(1, 128).expand(3, -1), torch.randn(3, 1, 8, 8), torch.arange(3)
    assert generator.style(z, label).std(0).max() > 0.01
    assert discriminator(x[:1].expand(3, -1, -1, -1), label).score.std() > 1e-3
    for ask in (lambda: generator(z), lambda: discriminator(x)):
        with pytest.raises(IncompatibleError, match="reads a label of 3 classes"):
            ask()


@pytest.mark.parametrize("kind", KINDS)
def test_a_stack_is_its_networks(kind):
    networks = [made(kind, (1, 8, 8), width=8, classes=3).double() for _ in range(3)]
    for network in networks:
        for parameter in network.parameters():
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    params, buffers = stack_module_state([copy.deepcopy(network) for network in networks])
    c = torch.tensor([[0, 1], [1, 2], [2, 2]])
    x = torch.randn(3, 2, 128).double() if kind == "generator" else torch.randn(3, 2, 1, 8, 8).double()

    def one(params, buffers, x, c):
        out = functional_call(networks[0], {**params, **buffers}, (x, c))
        return out if kind == "generator" else out.score

    got = vmap(one)(params, buffers, x, c)
    for i, network in enumerate(networks):
        out = network(x[i], c[i])
        assert torch.allclose(got[i], out if kind == "generator" else out.score, atol=1e-10, rtol=0)


def test_a_few_steps_train_with_r1_at_every_other(tmp_path):
    small = {"generator.width": 8, "discriminator.width": 8, "batch_size": 16, "steps": 4, "every": 2, "gamma": 1}
    recipe = create_recipe("stylegan2.digits", {**small, "evaluations": 1, "augment": "translation"})
    run = Run(recipe, 0, tmp_path, device="cpu", draw=False)
    assert run.train().status == "finished"
    critic = recipe.turns[0]
    assert [weighted.every for weighted in critic.losses] == [1, 2]
    assert critic.losses.strengths(0, 4) == pytest.approx((1.0, 1.0))  # γ/2, twice as strong at half of the steps
    assert critic.losses.due(1) == (0,)
