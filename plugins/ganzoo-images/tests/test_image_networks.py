"""The networks: sizes, layers as published, first weights, replicas, penalties, a few steps, and folding."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from ganzoo import Run, create, input_gradient
from ganzoo.engine import choose
from ganzoo.engine.eager import Eager
from ganzoo.engine.stacked import Stacked
from ganzoo.errors import IncompatibleError
from ganzoo.inference import folded
from ganzoo.layers import ConvPool2d, NoiseToMap, SpectralNorm, UpsampleConv2d
from ganzoo.plugins import registry
from ganzoo.recipe import create_recipe
from ganzoo.testing import check_engines

OWN = "ganzoo-images"
GENERATORS = [e.name for e in registry().all("generator") if e.distribution == OWN]
PACKED = "packed-dcgan"  # judges several at once
DISCRIMINATORS = [e.name for e in registry().all("discriminator") if e.distribution == OWN and e.name != PACKED]
SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 48, 48), (3, 64, 64), (1, 128, 128)]


def images(kind, name, shape=(3, 32, 32), **options):
    torch.manual_seed(0)
    return create(kind, f"{OWN}/{name}", shape=shape, **options)


def of(network, kind):
    return [module for module in network.modules() if type(module) is kind]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_makes_images_of_the_datas_shape(name, shape):
    with torch.device("meta"):
        generator = images("generator", name, shape)
    z, c = generator.source(3, torch.Generator().manual_seed(0))
    assert c is None
    assert generator(z.to("meta")).shape == (3, *shape)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_a_discriminator_gives_each_image_a_score(name, shape):
    with torch.device("meta"):
        assert images("discriminator", name, shape)(torch.zeros(3, *shape)).score.shape == (3,)


@pytest.mark.parametrize("kind", ["generator", "discriminator"])
@pytest.mark.parametrize(
    ("shape", "why"),
    [
        ((2,), r"square images \(channels, side, side\), and a sample is \(2,\)"),
        ((3, 32, 16), r"square images .* \(3, 32, 16\)"),
        ((3, 27, 27), "a side of 27 does not come from halving"),
        ((3, 62, 62), "a side of 62 does not come from halving .* resize"),
    ],
)
def test_a_shape_that_it_cannot_make_is_refused_with_the_reason(kind, shape, why):
    for name in GENERATORS if kind == "generator" else DISCRIMINATORS:
        with pytest.raises(IncompatibleError, match=why):
            images(kind, name, shape)


def test_depth_and_width_are_options():
    generator = images("generator", "dcgan", (3, 64, 64), depth=3, width=8)
    assert generator.body[0].weight.shape == (100, 32, 8, 8)
    assert [conv.out_channels for conv in of(generator, nn.ConvTranspose2d)] == [16, 8, 3]
    with pytest.raises(IncompatibleError, match="a side of 28 cannot be halved 3 times; give a smaller depth"):
        images("generator", "dcgan", (1, 28, 28), depth=3)


def test_the_dcgan_of_64_pixels_is_the_published_one():
    """Of the authors' code for Torch: four maps of 512 to 64 channels, and no bias before a normalisation."""
    generator, discriminator = (images(kind, "dcgan", (3, 64, 64)) for kind in ("generator", "discriminator"))
    assert [norm.num_features for norm in of(generator, nn.BatchNorm2d)] == [512, 256, 128, 64]
    assert sum(p.numel() for p in generator.parameters()) == 3_576_704 + 3  # and a bias of the last layer
    assert [norm.num_features for norm in of(discriminator, nn.BatchNorm2d)] == [128, 256, 512]
    assert sum(p.numel() for p in discriminator.parameters()) == 2_765_568 + 64 + 1  # of the first and the last
    bare = images("discriminator", "dcgan", (3, 64, 64), batch_norm=False)
    assert not of(bare, nn.BatchNorm2d)
    assert all(conv.bias is not None for conv in of(bare, nn.Conv2d))


def test_the_residual_networks_of_32_pixels_are_the_published_ones():
    """Table 4 of Miyato et al.: three blocks of 256 channels up; of 128 down twice, then two that do not."""
    generator, discriminator = (images(kind, "sngan-resnet") for kind in ("generator", "discriminator"))
    assert generator.body[0].weight.shape == (256 * 4 * 4, 128)
    assert [len(of(generator, kind)) for kind in (UpsampleConv2d, nn.BatchNorm2d, nn.Conv2d)] == [3, 7, 7]
    assert [len(of(discriminator, kind)) for kind in (ConvPool2d, nn.Conv2d, nn.Linear)] == [2, 8, 1]
    assert len(of(discriminator, SpectralNorm)) == 11
    plain = [m for m in discriminator.modules() if isinstance(m, (nn.Conv2d, ConvPool2d, nn.Linear))]
    assert len(plain) == 11  # nothing is without a norm
    maps = discriminator.body[:-3](torch.zeros(1, 3, 32, 32))
    assert maps.shape == (1, 128, 8, 8)


def test_resize_convolutions_replace_transposed_ones():
    plain, resized = (images("generator", name) for name in ("dcgan", "dcgan-upsample"))
    assert [type(m) for m in resized.body if type(m) is not UpsampleConv2d] == [
        type(m) for m in plain.body if type(m) is not nn.ConvTranspose2d
    ]
    assert len(of(resized, UpsampleConv2d)) == len(of(plain, nn.ConvTranspose2d)) == 3


def test_first_weights_are_as_published():
    for kind, name in (("generator", "dcgan"), ("generator", "dcgan-upsample"), ("discriminator", "sn-dcgan")):
        network = images(kind, name)
        for layer in of(network, nn.ConvTranspose2d) + of(network, nn.Conv2d) + of(network, NoiseToMap):
            assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05)
            assert layer.bias is None or not layer.bias.any()
        for norm in of(network, nn.BatchNorm2d):
            assert norm.weight.mean().item() == pytest.approx(1, abs=0.02)
            assert norm.weight.std().item() == pytest.approx(0.02, rel=0.3)
    generator = images("generator", "sngan-resnet")
    bounds = {nn.Linear: (1, 128 + 256 * 16), UpsampleConv2d: (math.sqrt(2), 2 * 256 * 9)}
    for kind, (gain, ends) in bounds.items():
        for layer in of(generator, kind):
            assert layer.weight.abs().max().item() == pytest.approx(gain * math.sqrt(6 / ends), rel=0.01)


@pytest.mark.parametrize("name", GENERATORS)
def test_statistics_of_stacked_generators_are_their_own(name):
    networks = [images("generator", name, (1, 8, 8), width=8).double() for _ in range(3)]
    for network in networks:
        for parameter in network.parameters():
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    params, buffers = stack_module_state([copy.deepcopy(network) for network in networks])
    z = torch.randn(3, 4, networks[0].noise, dtype=torch.float64)
    made = vmap(lambda p, b, z: functional_call(networks[0], {**p, **b}, (z,)))(params, buffers, z)
    for i, network in enumerate(networks):
        assert torch.allclose(made[i], network(z[i]), atol=1e-10, rtol=0)
        for key, buffer in network.named_buffers():
            assert torch.allclose(buffers[key][i], buffer, atol=1e-10)


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_no_image_is_judged_by_the_others_where_a_penalty_may_ask(name):
    options = {"batch_norm": False} if name == "dcgan" else {}
    network, x = images("discriminator", name, (1, 8, 8), width=8, **options), torch.randn(4, 1, 8, 8)

    def slope(x):
        return input_gradient(lambda at: network(at).score, x)

    assert torch.allclose(slope(x), torch.cat([slope(each[None]) for each in x]), atol=1e-6)
    assert slope(x).abs().max() > 0


def test_a_penalty_on_a_discriminator_with_batch_statistics_is_refused():
    penalty, generator = create("penalty", "gradient-penalty"), images("generator", "dcgan")
    with pytest.raises(IncompatibleError, match="ImageDiscriminator has batch statistics"):
        penalty.check({"generator": generator, "discriminator": images("discriminator", "dcgan")})
    for name in DISCRIMINATORS:
        options = {"batch_norm": False} if name == "dcgan" else {}
        penalty.check({"generator": generator, "discriminator": images("discriminator", name, **options)})


def test_the_slope_of_a_network_of_spectral_norm_1_is_bounded():
    """Not by 1: a pixel is read as often as kernels overlap, and the norm is that of one kernel as a matrix."""
    network, rng = images("discriminator", "sn-dcgan", (1, 8, 8), width=8), torch.Generator().manual_seed(0)
    for _ in range(200):
        network.prepare()
    bound = 3 * 2 * 3  # of each convolution the side of its kernel over its stride
    x, y = torch.randn(2, 64, 1, 8, 8, generator=rng)
    slopes = (network(x).score - network(y).score).abs() / (x - y).flatten(1).norm(dim=1)
    assert slopes.max().item() <= bound
    for layer in of(network, SpectralNorm):
        largest = torch.linalg.matrix_norm(layer.weight().detach().flatten(1), 2).item()
        assert largest == pytest.approx(1, rel=1e-3)


RECIPES = [
    ("dcgan.digits", {}),
    ("dcgan.digits", {"generator": f"{OWN}/dcgan-upsample", "discriminator": f"{OWN}/sn-dcgan"}),
    ("sngan-resnet.digits", {}),
    ("wgan-gp.digits", {"generator": f"{OWN}/sngan-resnet", "discriminator": f"{OWN}/sngan-resnet"}),
]


@pytest.mark.parametrize(("name", "overrides"), RECIPES, ids=lambda value: "")
def test_a_few_steps_train(name, overrides, tmp_path):
    small = {"generator.width": 8, "discriminator.width": 8, "batch_size": 16, "steps": 4, "evaluations": 1}
    recipe = create_recipe(name, {**overrides, **small})
    run = Run(recipe, 0, tmp_path, device="cpu", draw=False)
    assert run.train().status == "finished"
    torch.manual_seed(0)
    before, after = recipe.players["generator"].network.build(), run.generator()
    assert any(not torch.allclose(p, q) for p, q in zip(before.parameters(), after.parameters(), strict=True))
    norms = [b for key, b in after.named_buffers() if key.endswith("running_mean")]
    assert norms
    assert all(b.any() for b in norms)


@pytest.mark.parametrize("name", ["dcgan.digits", "sngan-resnet.digits", "r3gan-resnet.shapes", "stylegan2.shapes"])
def test_a_run_goes_on_bit_by_bit_after_a_stop(name):
    recipe = create_recipe(name, {"generator.width": 8, "discriminator.width": 8, "batch_size": 4})
    check_engines(recipe)


def test_a_stack_of_seeds_trains_as_each_alone():
    small = {"generator.width": 8, "discriminator.width": 8, "batch_size": 16, "steps": 2}
    for name in ("dcgan.digits", "sngan-resnet.digits"):
        recipe = create_recipe(name, small)
        train = recipe.dataset.build().part("train")
        stack = Stacked(recipe, train, [0, 1], torch.device("cpu"))
        alone = Eager(recipe, train, 1, torch.device("cpu"))
        for step in range(2):
            together, single = stack.step(step), alone.step(step)
        for key, value in single.items():
            assert together[key][1].item() == pytest.approx(value.item(), rel=1e-4, abs=1e-4)


def test_with_batch_statistics_nothing_is_stacked_in_bfloat16():
    recipe = create_recipe("dcgan.digits", {"precision": "bfloat16"})
    with pytest.raises(IncompatibleError, match="in bfloat16, networks with batch statistics are not stacked"):
        choose(recipe, recipe.dataset.build().part("train"), 2, torch.device("cpu"), "stack")


def test_the_methods_are_the_published_games():
    dcgan, sngan = create_recipe("dcgan.digits"), create_recipe("sngan-resnet.digits")
    assert [turn.repeats for turn in dcgan.turns] == [1, 1]
    assert [turn.repeats for turn in sngan.turns] == [5, 1]
    assert (dcgan.batch_size, sngan.batch_size) == (128, 64)
    assert dcgan.turns[1].losses.terms[0].term.options["saturating"] is False
    adam = [recipe.players["generator"].optimizer.options for recipe in (dcgan, sngan)]
    assert [(a["lr"], a["beta1"], a["beta2"]) for a in adam] == [(2e-4, 0.5, 0.999), (2e-4, 0.0, 0.9)]


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32)], ids=str)
@pytest.mark.parametrize("name", GENERATORS)
def test_folded_generators_make_the_same_images(name, shape):
    generator, rng = images("generator", name, shape, width=32), torch.Generator().manual_seed(1)
    for norm in of(generator, nn.BatchNorm2d):
        norm.running_mean.normal_(std=0.3, generator=rng)
        norm.running_var.uniform_(0.3, 2, generator=rng)
        norm.weight.data.uniform_(0.7, 1.5, generator=rng)
        norm.bias.data.normal_(std=0.3, generator=rng)
    z, _ = generator.source(32, rng)
    fast = folded(generator)
    with torch.no_grad():
        wanted = generator.eval()(z)
        assert (fast(z) - wanted).abs().max().item() <= 1e-5
    assert wanted.std() > 1e-3
    assert not of(fast, UpsampleConv2d)
    before, left = len(of(generator, nn.BatchNorm2d)), len(of(fast, nn.BatchNorm2d))
    assert left == (before // 2 + 1 if name == "sngan-resnet" else 0)  # those before a rectifier stay


def test_a_pack_is_one_image_of_all_channels():
    torch.manual_seed(0)
    packed = create("discriminator", PACKED, shape=(3, 8, 8), width=8, pack=2, batch_norm=False)
    x = torch.randn(4, 3, 8, 8)
    assert packed(x).score.shape == (2,)
    alone = packed(x[2:]).score
    assert torch.allclose(packed(x).score[1:], alone, atol=1e-6)
    assert not torch.allclose(packed(x.flip(0)[:2]).score, alone)
    with pytest.raises(IncompatibleError, match="a batch of 3 is not divided by packs of 2"):
        packed(x[:3])
