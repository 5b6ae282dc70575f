"""R3GAN's networks: the published sizes, no normalisation, blocks that start as nothing, labels, replicas, a recipe."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.functional import conv2d, interpolate, pad

from ganzoo import Batch, Run, create
from ganzoo.errors import IncompatibleError
from ganzoo.recipe import create_recipe
from ganzoo_images.maps import Residual
from ganzoo_images.r3gan import GAIN, FromMap, R3GANDiscriminator, R3GANGenerator, ToMap
from ganzoo_images.resample import Smooth, SmoothUp

KINDS = ["generator", "discriminator"]
SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64), (1, 64, 64), (3, 48, 48)]
NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm, nn.modules.instancenorm._InstanceNorm)


def made(kind, shape=(3, 32, 32), **options):
    torch.manual_seed(0)
    return create(kind, "ganzoo-images/r3gan", shape=shape, **options)


def blocks(network):
    return [module for module in network.modules() if isinstance(module, Residual)]


def stirred(network):
    """Away from where blocks are nothing."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network


@pytest.mark.parametrize("classes", [0, 5])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_makes_and_judges_images_of_any_size_that_halves(shape, classes):
    rng, label = torch.Generator().manual_seed(0), torch.tensor([0, 4, 2])
    with torch.device("meta"):
        generator, discriminator = (made(kind, shape, width=32, classes=classes) for kind in KINDS)
    z, c = generator.source(3, rng, label=label)
    assert (c is label) if classes else (c is None)
    x = generator(z.to("meta"), None if c is None else c.to("meta"))
    assert x.shape == (3, *shape)
    assert discriminator(x, label.to("meta")).score.shape == (3,)


@pytest.mark.parametrize("kind", KINDS)
def test_there_is_no_normalisation_anywhere(kind):
    network = made(kind, width=32)
    assert not [module for module in network.modules() if isinstance(module, NORMS)]
    assert not [name for name in network.state_dict() if name not in dict(network.named_parameters())]


@pytest.mark.parametrize("kind", KINDS)
def test_every_block_starts_as_nothing_and_learns_from_there(kind):
    network = made(kind, width=32, classes=0)
    assert len(blocks(network)) == 2 * 4
    inputs = {}
    for block in blocks(network):
        block.register_forward_hook(lambda block, given, out: inputs.update({block: (given[0], out)}))
    x = torch.randn(4, 64) if kind == "generator" else torch.randn(4, 3, 32, 32)
    out = network(x)
    assert all(torch.equal(before, after) for before, after in inputs.values())
    (out if kind == "generator" else out.score).square().mean().backward()
    assert all(block.body[-1].weight.grad.any() for block in blocks(network))
    assert not any(block.body[0].weight.grad.any() for block in blocks(network))  # the last is zero: Fixup


@pytest.mark.parametrize("kind", KINDS)
def test_first_weights_are_scaled_by_the_depth(kind):
    for number in (1, 3):
        network = made(kind, width=96, blocks=number)
        scale = GAIN * (4 * number) ** -0.25
        for block in blocks(network):
            for conv in (block.body[0], block.body[2]):
                inputs = conv.weight[0].numel()
                assert conv.weight.std().item() == pytest.approx(scale / math.sqrt(inputs), rel=0.05)
                assert not conv.bias.any()
    assert pytest.approx(math.sqrt(2 / 1.04)) == GAIN


def count(width, groups, maps, noise=64, expansion=2, blocks=2):
    """Of a generator whose maps all have the same width, by hand."""
    inner = width * expansion
    block = 2 * width * inner + inner * (inner // groups) * 9 + 2 * inner
    return maps * blocks * block + width * 16 + noise * width + 3 * width


def test_the_published_configurations():
    """CIFAR-10: the counts are those of the authors' own classes; FFHQ-64 and 256 halve where maps are large."""
    with torch.device("meta"):
        generator, discriminator = (made(kind, width=768, cardinality=96) for kind in KINDS)
        default = made("generator", width=768)
        large = made("generator", (3, 256, 256), width=768, cardinality=96)
        imagenet = made("generator", width=1536, cardinality=96)
    assert sum(p.numel() for p in generator.parameters()) == 20_732_160 == count(768, 96, 4)
    assert sum(p.numel() for p in discriminator.parameters()) == 20_683_776
    assert sum(p.numel() for p in large.parameters()) == 23_057_952
    assert sum(p.numel() for p in imagenet.parameters()) == count(1536, 96, 4)
    assert [block.body[2].groups for block in blocks(large)] == [96] * 8 + [48] * 2 + [24] * 2 + [12] * 2
    assert [block.body[4].out_channels for block in blocks(large)] == [768] * 8 + [384] * 2 + [192] * 2 + [96] * 2
    assert [block.body[2].groups for block in blocks(default)] == [96] * 8


def test_options_that_do_not_fit_are_refused_with_the_reason():
    with pytest.raises(IncompatibleError, match="the 64 channels in a block do not make 5 groups"):
        made("generator", width=32, cardinality=5)
    for kind in KINDS:
        with pytest.raises(IncompatibleError, match=r"square images .* \(2,\)"):
            made(kind, (2,))
    assert made("generator", width=25).body[1].body[2].groups == 1  # what divides is taken where nothing is said


def test_the_basis_of_a_generator_is_one_map_by_channel_and_a_matrix():
    layer, z = ToMap(5, 6, 4), torch.randn(3, 5)
    for i in range(6):
        wanted = (z @ layer.linear.weight[i])[:, None, None] * layer.basis[i]
        assert torch.allclose(layer(z)[:, i], wanted, atol=1e-6)


def test_the_basis_of_a_discriminator_is_a_grouped_convolution_and_a_matrix():
    layer, x = FromMap(6, 5, 4), torch.randn(3, 6, 4, 4)
    wanted = layer.linear(conv2d(x, layer.basis[:, None], groups=6).flatten(1))
    assert torch.allclose(layer(x), wanted, atol=1e-5)


def test_a_map_is_doubled_by_linear_interpolation():
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    inside = interpolate(pad(x, (1, 1, 1, 1)), scale_factor=2, mode="bilinear")[..., 2:-2, 2:-2]
    assert torch.allclose(SmoothUp().double()(x), inside, atol=1e-12)


def test_a_map_is_halved_by_a_smooth_mean():
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    down = Smooth(stride=2).double()
    k = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64) / 8
    wanted = torch.stack([pad(x, (1, 1, 1, 1))[..., i : i + 4] @ k for i in (0, 2, 4)], -1)
    wanted = torch.stack([torch.einsum("ncij,i->ncj", wanted[..., i : i + 4, :], k) for i in (0, 2, 4)], -2)
    assert torch.allclose(down(x), wanted, atol=1e-12)
    assert torch.allclose(down(torch.ones(1, 1, 8, 8, dtype=torch.float64))[..., 1:-1, 1:-1], torch.ones(()).double())
    y = torch.randn(2, 3, 3, 3, dtype=torch.float64)
    left, right = (down(x) * y).sum(), (x * SmoothUp().double()(y)).sum() / 4  # adjoint, over 4
    assert torch.allclose(left, right)


def test_the_score_is_the_product_of_features_with_the_labels_code():
    discriminator, x = stirred(made("discriminator", (1, 8, 8), width=8, classes=3)), torch.randn(4, 1, 8, 8)
    c = torch.tensor([0, 2, 1, 2])
    features = discriminator.body(x)
    wanted = (features * discriminator.label.weight.T[c]).sum(1)
    assert torch.allclose(discriminator(x, c).score, wanted, atol=1e-5)
    everything = torch.stack([discriminator(x, torch.full((4,), k)).score for k in range(3)], 1)
    assert torch.allclose(everything, features @ discriminator.label.weight, atol=1e-5)
    with pytest.raises(IncompatibleError, match="reads a label of 3 classes"):
        discriminator(x)


def test_a_generator_reads_the_label_beside_the_noise():
    generator, rng = stirred(made("generator", (1, 8, 8), width=8, classes=3)), torch.Generator().manual_seed(0)
    z = torch.randn(1, 64).expand(3, -1)
    each = generator(z, torch.arange(3))
    assert (each[0] - each[1]).abs().max() > 1e-3
    again = torch.cat([generator(z[:1], torch.tensor([k])) for k in range(3)])
    assert torch.allclose(each, again, atol=1e-5)
    batch = Batch(torch.zeros(4, 1, 8, 8), torch.tensor([2, 2, 0, 1]))
    assert torch.equal(generator.source(4, rng, batch)[1], batch.label)
    drawn = generator.source(3000, rng)[1]
    assert torch.bincount(drawn).min() > 900


@pytest.mark.parametrize("kind", KINDS)
def test_a_stack_is_its_networks(kind):
    networks = [stirred(made(kind, (1, 8, 8), width=16, classes=3)).double() for _ in range(3)]
    params, buffers = stack_module_state([copy.deepcopy(network) for network in networks])
    c = torch.tensor([[0, 1], [1, 2], [2, 2]])
    x = torch.randn(3, 2, 64, dtype=torch.float64) if kind == "generator" else torch.randn(3, 2, 1, 8, 8).double()

    def one(params, buffers, x, c):
        out = functional_call(networks[0], {**params, **buffers}, (x, c))
        return out if kind == "generator" else out.score

    got = vmap(one)(params, buffers, x, c)
    for i, network in enumerate(networks):
        out = network(x[i], c[i])
        assert torch.allclose(got[i], out if kind == "generator" else out.score, atol=1e-10, rtol=0)


SMALL = {"generator.width": 8, "discriminator.width": 8, "batch_size": 16, "steps": 3, "evaluations": 1}


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("r3gan-resnet.digits", {}),
        ("r3gan-resnet.digits", {"generator.classes": "none", "discriminator.classes": "none"}),
        ("r3gan-resnet.digits", {"augment": "color,translation,cutout"}),
        ("r3gan.digits", {"generator": "ganzoo-images/r3gan", "discriminator": "ganzoo-images/r3gan"}),
    ],
    ids=["own", "labels", "augmented", "perceptrons' game"],
)
def test_a_few_steps_train(name, overrides, tmp_path):
    recipe = create_recipe(name, {**overrides, **SMALL})
    run = Run(recipe, 0, tmp_path, device="cpu", draw=False)
    assert run.train().status == "finished"
    assert any(block.body[-1].weight.any() for block in blocks(run.generator()))


def test_the_method_is_the_published_game():
    recipe = create_recipe("r3gan-resnet.digits", {"steps": 1_000})
    critic, generator = recipe.turns
    assert [w.term.name for w in critic.losses] == ["criticise", "r1", "r2"]
    assert {
        w.term.options["divergence"].name for w in (*critic.losses, *generator.losses) if w.term.kind == "term"
    } == {"rpgan"}
    weights = [w.weight.build() for w in critic.losses.terms[1:]]
    assert [weight(0, 1_000) for weight in weights] == pytest.approx([0.025, 0.025])
    assert [weight(500, 1_000) for weight in weights] == pytest.approx([0.025 * 0.55] * 2)
    assert [weight(1_000, 1_000) for weight in weights] == pytest.approx([0.0025] * 2)
    for player in recipe.players.values():
        adam = player.optimizer.options
        assert (adam["lr"], adam["beta1"], adam["beta2"]) == (2e-4, 0.0, 0.99)
        assert adam["lr"] * player.schedule.build()(1_000, 1_000) == pytest.approx(5e-5)
    assert recipe.ema == pytest.approx(0.5 ** (512 / 500_000))
    assert isinstance(recipe.players["generator"].network.build(), R3GANGenerator)
    assert isinstance(recipe.players["discriminator"].network.build(), R3GANDiscriminator)
