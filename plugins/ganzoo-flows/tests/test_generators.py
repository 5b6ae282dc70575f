"""What the theory says of every flow: it is invertible, and its density is the change of variables."""

import math

import pytest
import torch
from torch.func import jacrev, vmap

from ganzoo.errors import IncompatibleError
from ganzoo_flows.generators import FlowGenerator, maf, nsf, realnvp

CASES = [(make, d) for make in (realnvp, nsf, maf) for d in (1, 2, 3, 8) if (make, d) != (realnvp, 1)]
flows = pytest.mark.parametrize(("make", "d"), CASES, ids=lambda v: getattr(v, "__name__", v))


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def data(d, n=500):
    """Samples whose features have neither mean 0 nor one scale."""
    scale = torch.logspace(-2, 2, d, dtype=torch.float64)
    return 3 * scale + scale * torch.randn(n, d, generator=rng(1), dtype=torch.float64)


def trained(make, d, dtype=torch.float64, **options) -> FlowGenerator:
    """Not trained, but away from its start, where mistakes do not show; standardised by `data`."""
    torch.manual_seed(0)
    flow = make((d,), **options).to(dtype)
    flow.initialise(data(d).to(dtype), rng())
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return flow.requires_grad_(False)


def normal(z):
    return torch.distributions.Normal(torch.zeros_like(z), torch.ones_like(z)).log_prob(z).sum(1)


@flows
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-8)], ids=str)
def test_it_is_invertible(make, d, dtype, tolerance):
    flow = trained(make, d, dtype)
    z = torch.randn(1_000, d, generator=rng(2), dtype=torch.float64).to(dtype)
    x = flow(z)
    assert x.shape == (1_000, d)
    assert torch.allclose(flow.encode(x)[0], z, atol=tolerance, rtol=tolerance)
    x = data(d).to(dtype)
    again = flow(flow.encode(x)[0])
    assert torch.allclose((again - x) / flow.std, torch.zeros_like(x), atol=tolerance)


@pytest.mark.parametrize("make", [realnvp, nsf, maf])
def test_it_is_invertible_on_images(make):
    flow = make((1, 8, 8))
    x = torch.rand(32, 1, 8, 8, generator=rng())
    flow.initialise(x, rng())
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.03 * torch.randn(parameter.shape, generator=rng(len(parameter))))
        z, _ = flow.encode(x)
        assert flow(z).shape == x.shape
        assert torch.allclose(flow(z), x, atol=1e-4)


@flows
def test_its_density_is_the_change_of_variables(make, d):
    flow, x = trained(make, d), data(d, 20)
    z, log_det = flow.encode(x)
    jacobian = vmap(jacrev(lambda one: flow.encode(one[None])[0][0]))(x)
    assert torch.allclose(log_det, torch.linalg.slogdet(jacobian).logabsdet, atol=1e-8)
    assert torch.allclose(flow.log_prob(x), normal(z) + log_det, atol=1e-10)
    # The same of samples: p_G(G(z)) = N(z) / |det ∂G/∂z|.
    jacobian = vmap(jacrev(lambda one: flow(one[None])[0]))(z)
    assert torch.allclose(flow.log_prob(flow(z)), normal(z) - torch.linalg.slogdet(jacobian).logabsdet, atol=1e-8)


@pytest.mark.parametrize(
    ("make", "d"), [case for case in CASES if case[1] <= 2], ids=lambda v: getattr(v, "__name__", v)
)
def test_its_density_integrates_to_one(make, d):
    flow = trained(make, d)
    x = flow(torch.randn(10_000, d, generator=rng(3), dtype=torch.float64))
    low, high = x.amin(0), x.amax(0)
    margin = (high - low) / 2
    points = {1: 20_001, 2: 401}[d]
    axes = [
        torch.linspace(float(a), float(b), points).double() for a, b in zip(low - margin, high + margin, strict=True)
    ]
    grid = torch.cartesian_prod(*axes).reshape(-1, d)
    density = torch.cat([flow.log_prob(piece) for piece in grid.split(20_000)]).exp()
    cell = math.prod(float(axis[1] - axis[0]) for axis in axes)
    assert float(density.sum()) * cell == pytest.approx(1, abs=5e-3)


@flows
def test_it_follows_the_scale_of_the_data(make, d):
    """``log p_{aX+b}(ax + b) = log p_X(x) − Σ log a``."""
    flow, x = trained(make, d), data(d)
    a, b = torch.linspace(0.5, 4, d, dtype=torch.float64), 7.0
    before, z = flow.log_prob(x), flow.encode(x)[0]
    flow.initialise(a * data(d) + b, rng())
    assert torch.allclose(flow.encode(a * x + b)[0], z, atol=1e-6)
    assert torch.allclose(flow.log_prob(a * x + b), before - a.log().sum(), atol=1e-6)


@pytest.mark.parametrize("make", [realnvp, nsf, maf])
def test_a_fresh_one_is_the_gaussian_with_the_moments_of_each_feature(make):
    flow, x = make((4,)).double(), data(4)
    flow.initialise(x, rng())
    mean, std = x.mean(0), x.std(0, correction=0)
    wanted = torch.distributions.Normal(mean, std).log_prob(x).sum(1)
    # A spline that is not trained is the identity up to rounding.
    assert torch.allclose(flow.log_prob(x), wanted, atol=1e-6)


def test_standardisation_is_saved_and_is_not_learnt():
    flow = nsf((2,))
    flow.initialise(data(2).float(), rng())
    fresh = nsf((2,))
    fresh.load_state_dict(flow.state_dict())
    assert torch.equal(fresh.mean, flow.mean)
    assert torch.equal(fresh.std, flow.std)
    assert not {"mean", "std"} & {name for name, _ in flow.named_parameters()}


def test_a_constant_feature_has_a_density_that_is_finite():
    flow, x = realnvp((2,)), torch.tensor([[0.5, 1.0], [0.5, 2.0]])
    flow.initialise(x, rng())
    assert flow.log_prob(x).isfinite().all()


def test_a_spline_is_the_identity_outside_its_box():
    flow = trained(nsf, 1)
    x = flow.mean + flow.std * torch.tensor([[-20.0], [5.5], [300.0]], dtype=torch.float64)
    assert torch.allclose(flow.log_prob(x), torch.distributions.Normal(flow.mean, flow.std).log_prob(x).sum(1))


def test_maf_in_one_dimension_is_a_gaussian():
    flow = trained(maf, 1)
    x = flow.mean + flow.std * torch.linspace(-3, 3, 9, dtype=torch.float64)[:, None]
    log_prob = flow.log_prob(x)
    assert torch.allclose(log_prob.diff(n=2), log_prob.diff(n=2)[0])
    with torch.no_grad():
        mean, std = flow(torch.zeros(1, 1).double()), flow(torch.ones(1, 1).double()) - flow(torch.zeros(1, 1).double())
    assert torch.allclose(log_prob, torch.distributions.Normal(mean, std.abs()).log_prob(x).sum(1))


@pytest.mark.parametrize("hidden", [3, 64])
def test_an_autoregressive_layer_reads_what_comes_before_and_nothing_else(hidden):
    """In the first layer in order, in the second one in reverse."""
    d = 8
    flow = trained(maf, d, transforms=2, hidden=hidden)
    x = data(d, 20)
    for layer, keeps in zip(flow.transform.transforms, (torch.tril, torch.triu), strict=True):
        jacobian = vmap(jacrev(lambda one, layer=layer: layer()(one)))(x).abs().sum(0)
        assert torch.equal(jacobian, keeps(jacobian))
        if hidden >= d:
            assert (jacobian != 0).sum() == d * (d + 1) / 2


@pytest.mark.parametrize("d", [2, 3, 5, 8])
def test_of_any_two_features_each_moves_given_the_other_in_some_coupling(d):
    layers = realnvp((d,), transforms=2 * (d - 1).bit_length()).transform.transforms
    pairs = {(i, j) for layer in layers for i in layer.moved.tolist() for j in layer.kept.tolist()}
    assert pairs == {(i, j) for i in range(d) for j in range(d) if i != j}


def test_realnvp_says_why_it_cannot_couple_one_feature():
    with pytest.raises(IncompatibleError, match="use nsf"):
        realnvp((1,))


@pytest.mark.parametrize("make", [realnvp, nsf, maf])
def test_nothing_is_allocated_on_the_meta_device(make):
    """A configuration is looked at there first, whatever sizes it asks for."""
    with torch.device("meta"):
        flow = make((3, 64, 64), transforms=8, hidden=2_048, depth=8)
    tensors = [*flow.parameters(), *flow.buffers()]
    assert sum(tensor.numel() for tensor in tensors) > 1e8
    assert all(tensor.is_meta for tensor in tensors)
