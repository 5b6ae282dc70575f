"""Where networks read labels: heads against their formulas, batch normalisation against a loop over labels, stacks."""

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from ganzoo import create
from ganzoo.errors import IncompatibleError
from ganzoo.heads import HEADS, Head, classification, code, condition, right
from ganzoo.layers import ClassBatchNorm2d
from ganzoo.testing import check_discriminator

LABEL = torch.tensor([2, 0, 1, 2, 2])


def doubled(seed, make):
    torch.manual_seed(seed)
    module = make().double()
    for parameter in module.parameters():
        parameter.data.normal_()
    return module


def test_a_score_is_linear():
    head, x = doubled(0, lambda: Head(4)), torch.randn(5, 4, dtype=torch.float64)
    score, logits = head(x)
    assert logits is None
    assert torch.allclose(score, x @ head.score.weight[0] + head.score.bias)
    assert list(head.state_dict()) == ["score.weight", "score.bias"]


def test_a_projection_is_the_score_and_a_product_with_the_labels_code():
    head, x = doubled(0, lambda: Head(4, 3, "projection")), torch.randn(5, 4, dtype=torch.float64)
    score, logits = head(x, LABEL)
    assert logits is None
    for i, c in enumerate(LABEL):
        code = head.label.weight[:, c]
        assert score[i].item() == pytest.approx((head.score(x[i]) + code @ x[i]).item())


def test_a_classifier_does_not_read_the_label():
    head, x = doubled(0, lambda: Head(4, 3, "classify")), torch.randn(5, 4, dtype=torch.float64)
    score, logits = head(x, LABEL)
    assert torch.allclose(logits, x @ head.logits.weight.T + head.logits.bias)
    assert torch.equal(score, head(x, LABEL.flip(0)).score)
    assert torch.equal(score, head(x).score)


def test_a_head_for_labels_needs_some():
    for kind in HEADS[1:]:
        with pytest.raises(IncompatibleError, match=f"the head '{kind}' is for labels, and with classes=0 there are"):
            Head(4, 0, kind)
    with pytest.raises(IncompatibleError, match="reads a label of 3 classes"):
        Head(4, 3, "projection")(torch.randn(5, 4))


def test_a_code_stands_beside_vectors_and_as_maps_beside_images():
    x, image = torch.randn(5, 2), torch.randn(5, 1, 4, 4)
    code = torch.eye(3)[LABEL]
    assert torch.equal(condition(x, LABEL, 3), torch.cat([x, code], 1))
    made = condition(image, LABEL, 3)
    assert made.shape == (5, 4, 4, 4)
    assert torch.equal(made[:, :1], image)
    assert torch.equal(made[:, 1:], code[:, :, None, None].expand(-1, -1, 4, 4))
    assert condition(x, None, 0) is x


@pytest.mark.parametrize("training", [True, False])
def test_batch_normalisation_by_label_is_a_normalisation_for_each_label(training):
    layer, x = doubled(0, lambda: ClassBatchNorm2d(2, 3)), torch.randn(5, 2, 4, 4, dtype=torch.float64)
    layer.norm.running_mean.normal_()
    layer.norm.running_var.uniform_(0.5, 2)
    made = copy.deepcopy(layer).train(training)(x, LABEL)
    for label in range(3):
        plain = nn.BatchNorm2d(2).double().train(training)
        plain.load_state_dict(
            {**layer.norm.state_dict(), "weight": layer.weight[label].data, "bias": layer.bias[label].data}
        )
        own = label == LABEL
        assert torch.allclose(made[own], plain(x)[own])  # the statistics are of all samples


def test_it_begins_as_the_plain_normalisation_and_keeps_its_statistics():
    layer, plain, x = ClassBatchNorm2d(2, 3), nn.BatchNorm2d(2), torch.randn(5, 2, 4, 4)
    assert torch.allclose(layer(x, LABEL), plain(x), atol=1e-6)
    for key in ("running_mean", "running_var", "num_batches_tracked"):
        assert torch.equal(getattr(layer.norm, key), getattr(plain, key))
    with torch.device("meta"):
        assert ClassBatchNorm2d(2, 3)(x.to("meta"), LABEL.to("meta")).shape == x.shape


def test_replicas_of_it_under_vmap_are_separate_ones():
    layers = [doubled(seed, lambda: ClassBatchNorm2d(2, 3)) for seed in range(3)]
    params, buffers = stack_module_state([copy.deepcopy(layer) for layer in layers])
    x, c = torch.randn(3, 5, 2, 4, 4, dtype=torch.float64), torch.stack([LABEL, LABEL.flip(0), LABEL.roll(1)])
    made = vmap(lambda p, b, x, c: functional_call(layers[0], {**p, **b}, (x, c)))(params, buffers, x, c)
    gradients = torch.autograd.grad(made.square().sum(), list(params.values()))
    for i, layer in enumerate(layers):
        own = layer(x[i], c[i])
        assert torch.allclose(made[i], own)
        for got, want in zip(gradients, torch.autograd.grad(own.square().sum(), layer.parameters()), strict=True):
            assert torch.allclose(got[i], want)
        for key, buffer in layer.named_buffers():
            assert torch.allclose(buffers[key][i], buffer)


@pytest.mark.parametrize("shape", [(2,), (1, 8, 8)], ids=str)
@pytest.mark.parametrize("head", HEADS)
def test_the_perceptron_keeps_its_contract_with_each_head(head, shape):
    options = {"shape": shape, "hidden": 8, "classes": 3, "head": head}
    check_discriminator(lambda: create("discriminator", "mlp", **options), shape)


def test_the_perceptron_with_labels_beside_the_sample_is_what_it_was():
    torch.manual_seed(0)
    network = create("discriminator", "mlp", shape=(2,), hidden=4, depth=1, classes=3)
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(5, 4), nn.LeakyReLU(0.2), nn.Linear(4, 1))
    assert list(network.state_dict()) == [f"body.{key}" for key in layers.state_dict()]
    x = torch.randn(5, 2)
    assert torch.equal(network(x, LABEL).score, layers(torch.cat([x, torch.eye(3)[LABEL]], 1)).squeeze(1))


def test_the_perceptron_ends_in_its_head():
    network = create("discriminator", "mlp", shape=(2,), hidden=4, classes=3, head="classify")
    assert [type(m) for m in network.body][-1] is nn.LeakyReLU
    x = torch.randn(5, 2)
    assert torch.equal(network(x).logits, network.head.logits(network.body(x)))
    with pytest.raises(IncompatibleError, match="with classes=0 there are none"):
        create("discriminator", "mlp", shape=(2,), head="projection")


# Several labels


def test_the_code_of_several_labels_is_themselves():
    several = torch.tensor([[0, 1, 1], [1, 0, 0]])
    like = torch.zeros(1, dtype=torch.float64)
    assert torch.equal(code(several, 3, like), several.double())
    x = torch.zeros(2, 1, 4, 4)
    assert torch.equal(condition(x, several, 3)[:, 1:, 2, 3], several.float())


def test_the_loss_of_a_label_is_that_of_a_softmax_and_of_several_that_of_sigmoids():
    logits = torch.randn(5, 3, dtype=torch.float64)
    label, several = torch.tensor([0, 2, 1, 1, 0]), torch.randint(2, (5, 3))
    p = logits.softmax(1)[torch.arange(5), label]
    torch.testing.assert_close(classification(logits, label), -p.log().mean())
    q = torch.where(several == 1, logits.sigmoid(), 1 - logits.sigmoid())
    torch.testing.assert_close(classification(logits, several), -q.log().sum(1).mean())


def test_several_labels_are_right_one_by_one():
    logits = torch.tensor([[1.0, -1.0, 2.0], [-1.0, -1.0, 3.0]])
    assert right(logits, torch.tensor([2, 0])).tolist() == [True, False]
    several = torch.tensor([[1, 0, 1], [1, 0, 0]])
    assert right(logits, several).tolist() == [[True, True, True], [False, True, False]]


def test_batch_normalisation_by_several_labels_adds_their_gains():
    norm = ClassBatchNorm2d(4, 3)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x = torch.randn(5, 4, 2, 2)
    one = torch.tensor([0, 2, 1, 1, 0])
    same = torch.nn.functional.one_hot(one, 3)
    torch.testing.assert_close(norm(x, same), norm(x, one))
    both = torch.tensor([[1, 1, 0]]).expand(5, -1)
    gain, bias = (rows[:2].sum(0)[:, None, None] for rows in (norm.weight, norm.bias))
    torch.testing.assert_close(norm(x, both), norm.norm(x) * gain + bias)
