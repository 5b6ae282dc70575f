"""Networks of images that read labels: without classes they are what they were, with them labels are read."""

import copy
import hashlib

import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from ganzoo import Run, create
from ganzoo.errors import IncompatibleError
from ganzoo.heads import HEADS
from ganzoo.inference import folded
from ganzoo.layers import ClassBatchNorm2d, SpectralNorm
from ganzoo.recipe import create_recipe
from ganzoo.testing import check_discriminator, check_generator

GENERATORS = [("dcgan", {}), ("dcgan", {"class_norm": True}), ("dcgan-upsample", {}), ("sngan-resnet", {})]
DISCRIMINATORS = ["dcgan", "sn-dcgan", "sngan-resnet"]
LABEL = torch.tensor([2, 0, 1, 1])
SHAPE = (1, 8, 8)

#: Of width 8 with the seed 0, before they could read labels: a hash of names and shapes, ``Σ|state|``, ``Σ|output|``.
RECORDED = [
    ("generator", "dcgan", (1, 8, 8), {}, "b00c3244", 222.0524, 14.300653),
    ("generator", "dcgan-upsample", (1, 8, 8), {}, "53af56c0", 223.2819, 23.310401),
    ("generator", "sngan-resnet", (1, 8, 8), {}, "6dcedc60", 1489.9499, 157.771973),
    ("discriminator", "dcgan", (1, 8, 8), {}, "78f56056", 3.9670, 0.013160),
    ("discriminator", "dcgan", (1, 8, 8), {"batch_norm": False}, "78f56056", 3.9670, 0.013160),
    ("discriminator", "sn-dcgan", (1, 8, 8), {}, "f03a81c5", 78.7737, 0.170938),
    ("discriminator", "sngan-resnet", (1, 14, 14), {}, "d3fef93f", 493.2009, 12.321255),
]


def made(kind, name, shape=SHAPE, **options):
    torch.manual_seed(0)
    return create(kind, f"ganzoo-images/{name}", shape=shape, width=8, **options)


@torch.no_grad()
@pytest.mark.parametrize(("kind", "name", "shape", "options", "names", "state", "output"), RECORDED)
def test_without_classes_a_network_is_what_it_was(kind, name, shape, options, names, state, output):
    network, rng = made(kind, name, shape, **options), torch.Generator().manual_seed(1)
    held = network.state_dict()
    said = " ".join(f"{key}{tuple(value.shape)}" for key, value in held.items())
    assert hashlib.sha256(said.encode()).hexdigest()[:8] == names
    assert sum(value.double().abs().sum().item() for value in held.values()) == pytest.approx(state, abs=1e-4)
    if kind == "generator":
        out = network(network.source(4, rng)[0])
    else:
        out = network(torch.rand(4, *shape, generator=rng), LABEL).score  # which it ignores
    assert out.double().abs().sum().item() == pytest.approx(output, rel=1e-3, abs=2e-6)


@pytest.mark.parametrize(("name", "options"), GENERATORS)
def test_a_generator_with_classes_keeps_its_contract(name, options):
    check_generator(
        lambda: create("generator", f"ganzoo-images/{name}", shape=SHAPE, width=8, classes=3, **options), SHAPE
    )


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_a_discriminator_with_each_head_keeps_its_contract(name, head):
    shape = (1, 14, 14) if name == "sngan-resnet" else SHAPE

    def make():
        return create("discriminator", f"ganzoo-images/{name}", shape=shape, width=8, classes=3, head=head)

    check_discriminator(make, shape)


@pytest.mark.parametrize(("name", "options"), GENERATORS)
def test_a_label_changes_the_image_and_comes_from_where_it_should(name, options):
    generator, rng = made("generator", name, classes=3, **options), torch.Generator().manual_seed(0)
    for layer in generator.modules():
        if isinstance(layer, ClassBatchNorm2d):
            layer.bias.data.normal_()
    z, c = generator.source(4, rng, label=LABEL)
    assert torch.equal(c, LABEL)
    assert set(generator.source(200, rng)[1].tolist()) == {0, 1, 2}
    generator.eval()
    assert torch.equal(generator(z, LABEL), generator(z, LABEL.clone()))
    difference = (generator(z, LABEL) - generator(z, torch.tensor([2, 1, 1, 1]))).abs().amax((1, 2, 3))
    assert difference[1] > 1e-4  # the only label that changed
    assert (difference[[0, 2, 3]] == 0).all()
    with pytest.raises(IncompatibleError, match="reads a label of 3 classes"):
        generator(z)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_a_head_reads_the_label_or_tells_it(name, head):
    shape = (1, 14, 14) if name == "sngan-resnet" else SHAPE
    network, x = made("discriminator", name, shape, classes=3, head=head), torch.rand(4, *shape)
    score, logits = network(x, LABEL)
    assert score.shape == (4,)
    reads = not torch.equal(score, network(x, LABEL.flip(0)).score)
    assert reads == (head != "classify")
    assert (logits is None) == (head != "classify")
    if head == "classify":
        assert logits.shape == (4, 3)
    with pytest.raises(IncompatibleError, match=r"reads a label of 3 classes|is for labels"):
        network(x) if head != "classify" else made("discriminator", name, shape, head=head)


def test_heads_have_spectral_norm_1_where_the_network_has_it():
    for name in ("sn-dcgan", "sngan-resnet"):
        network = made("discriminator", name, (1, 14, 14), classes=3, head="projection")
        plain = [m for m in network.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
        inside = {id(m.layer) for m in network.modules() if isinstance(m, SpectralNorm)}
        assert {id(m) for m in plain} <= inside
        for layer in network.head.children():
            assert torch.linalg.matrix_norm(layer.weight().detach(), 2).item() == pytest.approx(1, rel=1e-2)


def test_a_projection_is_the_score_of_features_and_their_product_with_the_code():
    network, x = made("discriminator", "dcgan", classes=3, head="projection", batch_norm=False), torch.rand(4, *SHAPE)
    features = network.body(x).flatten(1)
    wanted = network.head.score(features)[:, 0] + (features * network.head.label.weight.T[LABEL]).sum(1)
    assert torch.allclose(network(x, LABEL).score, wanted)


@pytest.mark.parametrize(("name", "options"), GENERATORS)
def test_stacked_generators_are_their_own(name, options):
    networks = [made("generator", name, classes=3, **options).double() for _ in range(3)]
    for network in networks:
        for parameter in network.parameters():
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    params, buffers = stack_module_state([copy.deepcopy(network) for network in networks])
    z = torch.randn(3, 4, networks[0].noise, dtype=torch.float64)
    c = torch.stack([LABEL, LABEL.flip(0), LABEL.roll(1)])
    got = vmap(lambda p, b, z, c: functional_call(networks[0], {**p, **b}, (z, c)))(params, buffers, z, c)
    for i, network in enumerate(networks):
        assert torch.allclose(got[i], network(z[i], c[i]), atol=1e-10, rtol=0)
        for key, buffer in network.named_buffers():
            assert torch.allclose(buffers[key][i], buffer, atol=1e-10)


@pytest.mark.parametrize(("name", "options"), GENERATORS)
def test_a_folded_generator_makes_the_same_images(name, options):
    generator, rng = made("generator", name, classes=3, **options), torch.Generator().manual_seed(1)
    for norm in generator.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_(std=0.3, generator=rng)
            norm.running_var.uniform_(0.3, 2, generator=rng)
    z, c = generator.source(8, rng)
    with torch.no_grad():
        assert (folded(generator)(z, c) - generator.eval()(z, c)).abs().max().item() <= 1e-5


def test_a_few_steps_train_with_labels(tmp_path):
    options = {"generator.classes": "none", "discriminator.classes": "none", "discriminator.head": "projection"}
    small = {"generator.width": 8, "discriminator.width": 8, "batch_size": 16, "steps": 3, "evaluations": 1, "k": 1}
    for name in ("dcgan.digits", "sngan-resnet.digits"):
        recipe = create_recipe(name, {**options, **small})
        run = Run(recipe, 0, tmp_path / name, device="cpu", draw=False)
        assert run.train().status == "finished"
        assert run.generator().classes == 10


# Several labels

SEVERAL = torch.nn.functional.one_hot(LABEL, 3)
READERS = [
    *(("generator", name, options) for name, options in GENERATORS),
    *(("discriminator", name, {"head": head}) for name in DISCRIMINATORS for head in HEADS),
    *((kind, name, {}) for kind in ("generator", "discriminator") for name in ("r3gan", "stylegan2")),
]


@torch.no_grad()
@pytest.mark.parametrize(("kind", "name", "options"), READERS)
def test_of_several_labels_one_alone_is_that_label_and_two_are_another_thing(kind, name, options):
    shape = (1, 16, 16)
    network = made(kind, name, shape, classes=3, **options).eval()
    rng = torch.Generator().manual_seed(0)
    if kind == "generator":
        z, _ = network.source(4, rng)
        one, several, two = (network(z, c) for c in (LABEL, SEVERAL, SEVERAL | SEVERAL.roll(1, 1)))
    else:
        x = torch.rand(4, *shape, generator=rng)
        verdicts = [network(x, c) for c in (LABEL, SEVERAL, SEVERAL | SEVERAL.roll(1, 1))]
        one, several, two = (verdict.score for verdict in verdicts)
    torch.testing.assert_close(several, one)
    ignored = options.get("head") == "classify"  # what tells labels reads none
    assert torch.equal(two, one) == ignored
