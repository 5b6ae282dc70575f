"""Distances between two sets of samples, as numbers to report: Fréchet, precision and recall, sliced Wasserstein.

Pure functions on tensors of any floating type, without gradients. Each gives what its textbook form gives, within the
tolerance it states, in a fraction of the time. What has no such distance is an ``OptionError``; samples that are not
all finite, as those of a run that diverged, are at distance nan. On a CPU they use as many threads as torch is set to.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from ganzoo.errors import OptionError

NEGATIVE: Final = 1e-6
"""Eigenvalues of a covariance below minus this, relative to traces, are no rounding."""
SLICED_ERROR: Final = 1e-6
"""The most that float32 may change a sliced distance, relatively."""
PROBE: Final = 64
"""Samples of which rounding is measured."""
PANEL: Final = 256
SPARE: Final = 7
"""How many more than the nearest neighbours are looked at, so that bounds seldom leave any open."""
GROUPS: Final = 256
CACHED: Final = 2**18
"""Numbers of a block that is gone through several times."""
FEW: Final = 8
"""Dimensions."""
MANY: Final = 64
"""Dimensions."""
SMALL: Final = 1e-6
"""Squares of distances, in units of the samples' own, that products in float64 lose digits of."""
CELLS: Final = 2**22
"""Numbers held at once where memory would otherwise grow with n · m."""


def _samples(x: Tensor, y: Tensor, least: int) -> tuple[Tensor, Tensor]:
    """``x`` and ``y`` if they are ``(n, d)`` and ``(m, d)``, and n and m are at least ``least``."""
    if x.dim() != 2 or y.dim() != 2 or x.shape[1] != y.shape[1] or not x.shape[1]:
        raise OptionError(f"samples must be (n, d) and (m, d), not {tuple(x.shape)} and {tuple(y.shape)}")
    for name, samples in (("first", x), ("second", y)):
        if len(samples) < least:
            raise OptionError(f"the {name} set has {len(samples)} samples; this takes {least} or more")
    return x.detach(), y.detach()


def _matmul(a: Tensor, b: Tensor) -> Tensor:
    """``a b``. On a CPU by numpy, whose float32 has 24 bits whatever torch is set to, and which does half the
    operations for ``aᵀ a``."""
    return torch.from_numpy(a.numpy() @ b.numpy()) if a.device.type == "cpu" else a @ b


def _threads() -> threadpool_limits:
    return threadpool_limits(torch.get_num_threads(), user_api="blas")


def _fast(x: Tensor) -> torch.dtype:
    """float32 where its products have 24 bits; on a GPU they may have 11."""
    return torch.float32 if x.device.type == "cpu" else torch.float64


def _finite(*tensors: Tensor) -> bool:
    return all(bool(torch.stack(tensor.aminmax()).isfinite().all()) for tensor in tensors)


# Fréchet distance. All of it in float64: the distance is a small difference of large traces, and the square root turns
# an error ε of an eigenvalue near zero into √ε, of which there may be d.


def frechet(x: Tensor, y: Tensor) -> float:
    """The Fréchet distance between Gaussians fitted to ``x (n, d)`` and ``y (m, d)``: the squared 2-Wasserstein
    distance ``‖μ − ν‖² + tr(Σ + Λ − 2 (Σ^½ Λ Σ^½)^½)`` (Dowson & Landau 1982; of Inception features it is the FID of
    Heusel et al. 2017), with unbiased covariances, in squared units of the data.

    With n or m below d, ``tr (Σ^½ Λ Σ^½)^½ = ‖X Yᵀ‖_* / √((n − 1)(m − 1))`` for centred X and Y, the sum of the
    singular values of an n × m matrix: no d × d matrix is formed, and it is within ``1e-12 (tr Σ + tr Λ)``.
    Otherwise ``frechet_from_moments``, with its tolerance.
    """
    x, y = (samples.double() for samples in _samples(x, y, least=2))
    if not _finite(x, y):
        return math.nan
    if min(len(x), len(y)) >= x.shape[1]:
        with _threads():
            (mean_x, cov_x), (mean_y, cov_y) = _moments(x), _moments(y)
        return _frechet(mean_x - mean_y, cov_x.trace() + cov_y.trace(), _overlap(cov_x, cov_y))
    mean_x, mean_y = x.mean(0), y.mean(0)
    x, y = ((samples - mean) / math.sqrt(len(samples) - 1) for samples, mean in ((x, mean_x), (y, mean_y)))
    few, many = (x, y) if len(x) < len(y) else (y, x)
    # LAPACK takes a tall matrix in a tenth of the time of a wide one.
    overlap = torch.linalg.svdvals(many @ few.T).sum()
    return _frechet(mean_x - mean_y, x.square().sum() + y.square().sum(), overlap)


def frechet_from_moments(mean_x: Tensor, cov_x: Tensor, mean_y: Tensor, cov_y: Tensor) -> float:
    """The Fréchet distance from means ``(d,)`` and covariances ``(d, d)``.

    With ``Σ = L Lᵀ``, the trace of ``(Σ^½ Λ Σ^½)^½`` is the sum of the roots of the eigenvalues of ``Lᵀ Λ L``; Σ and Λ
    change places where only Λ has a Cholesky factor. Where neither has one, their roots ``V √w`` come from
    eigenvectors, and the trace is the sum of the singular values of the product of the roots. Nothing is added to the
    diagonal. Within ``1e-6 (tr Σ + tr Λ)`` whatever the condition, ``1e-9`` of it where Σ and Λ are well conditioned.
    """
    moments = [moment.detach().double() for moment in (mean_x, cov_x, mean_y, cov_y)]
    mean_x, cov_x, mean_y, cov_y = moments
    d = mean_x.numel()
    if [tuple(moment.shape) for moment in moments] != [(d,), (d, d)] * 2 or not d:
        shapes = ", ".join(str(tuple(moment.shape)) for moment in moments)
        raise OptionError(f"moments must be (d,), (d, d), (d,), (d, d), not {shapes}")
    if not _finite(*moments):
        return math.nan
    for cov in (cov_x, cov_y):
        if (cov - cov.T).abs().max() > NEGATIVE * cov.trace():
            raise OptionError("a covariance must be symmetric, and its trace must not be negative")
    return _frechet(mean_x - mean_y, cov_x.trace() + cov_y.trace(), _overlap(cov_x, cov_y))


def _frechet(shift: Tensor, traces: Tensor, overlap: Tensor) -> float:
    """Never below zero: only rounding could make it so."""
    return max(0.0, float(shift.square().sum() + traces - 2 * overlap))


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    mean = x.mean(0)
    x = x - mean
    return mean, _matmul(x.T, x) / (len(x) - 1)


def _overlap(a: Tensor, b: Tensor) -> Tensor:
    """``tr (a^½ b a^½)^½``, symmetric in a and b."""
    for first, second in ((a, b), (b, a)):
        root, failed = torch.linalg.cholesky_ex(first)
        if not failed:
            values = torch.linalg.eigvalsh(_between(root, second))
            return _nonnegative(values, a.trace() * b.trace()).sqrt().sum()
    return torch.linalg.svdvals(_root(a).T @ _root(b)).sum()


def _between(l: Tensor, b: Tensor) -> Tensor:
    """The lower triangle of ``lᵀ b l`` for a lower triangular ``l``, which is all that ``eigvalsh`` reads, in a third
    of the operations of two full products."""
    product = torch.zeros_like(b)
    for at in range(0, len(b), PANEL):
        columns = slice(at, at + PANEL)
        product[at:, columns] = l[at:, at:].T @ (b[at:, at:] @ l[at:, columns])
    return product


def _root(a: Tensor) -> Tensor:
    """``r (d, rank)`` with ``a = r rᵀ``, without the directions whose variance is rounding."""
    w, v = torch.linalg.eigh(a)
    w = _nonnegative(w, a.trace())
    kept = w > len(w) * torch.finfo(w.dtype).eps * w.max()
    return v[:, kept] * w[kept].sqrt()


def _nonnegative(values: Tensor, scale: Tensor) -> Tensor:
    if values.min() < -NEGATIVE * scale:
        raise OptionError("a covariance must not have negative eigenvalues")
    return values.clamp_min(0)


# Precision, recall, density and coverage.


class PRDC(NamedTuple):
    precision: float
    recall: float
    density: float
    coverage: float


def prdc(real: Tensor, fake: Tensor, k: int = 5, *, block: int = 128) -> PRDC:
    """Precision, recall, density and coverage of ``fake (m, d)`` against ``real (n, d)`` (Kynkäänniemi et al. 2019;
    Naeem et al. 2020), without unit.

    With ``r_i`` the distance of real sample i to its k-th nearest other real sample, ``s_j`` that of fake sample j to
    its k-th nearest other fake one, and ``d_ij`` between them: precision is the share of j with some ``d_ij < r_i``,
    recall the share of i with some ``d_ij < s_j``, density ``1/(k m) Σ_ij [d_ij < r_i]``, coverage the share of i with
    some ``d_ij < r_i``. Two equal samples at different places are neighbours at distance 0.

    ``block`` rows of distances are held at once, and the result does not depend on it. Matrix products bound the
    distances; each comparison that the bounds leave open is decided by differences in float64, so that every one is
    that of ``Σ (x − y)²`` in float64, ties included. The package ``prdc``, which rounds distances to float32, may
    differ in a few of the n · m comparisons.
    """
    if k < 1 or block < 1:
        raise OptionError(f"k={k} and block={block} are not allowed; they take int ≥ 1")
    real, fake = (samples.double() for samples in _samples(real, fake, least=k + 1))
    if not _finite(real, fake):
        return PRDC(*[math.nan] * 4)
    with _threads():
        return _prdc(real, fake, k, block)


def _prdc(real: Tensor, fake: Tensor, k: int, block: int) -> PRDC:
    r, s = _radii(real, k, block), _radii(fake, k, block)
    inside = torch.zeros(len(fake), dtype=torch.int64, device=fake.device)
    recalled, covered = torch.zeros(2, len(real), dtype=torch.bool, device=real.device)
    for i, j, squared in _near(real, fake, r, s, block):
        in_real = squared < r[i]
        inside += torch.bincount(j[in_real], minlength=len(fake))
        covered[i[in_real]] = True
        recalled[i[squared < s[j]]] = True
    precision, recall, coverage = (float(share.double().mean()) for share in (inside > 0, recalled, covered))
    return PRDC(precision, recall, int(inside.sum()) / (k * len(fake)), coverage)


def _radii(x: Tensor, k: int, block: int) -> Tensor:
    """``(n,)``: the squared distance of each of ``x (n, d)`` to its k-th nearest other one.

    The k + 1 nearest, itself among them, are looked for among the few with the smallest lower bounds, and found where
    no other bound is below the largest of them. Rows that float32 leaves open are tried in float64, and the rest done
    in full.
    """
    radii, everything = x.new_zeros(len(x)), torch.arange(len(x), device=x.device)
    rows = everything
    for dtype in dict.fromkeys([_fast(x), torch.float64]):
        if len(rows):
            rows = torch.cat(list(_open_radii(x, k, _Bounds.between(x, x, dtype), rows.split(block), radii)))
    for row in rows:
        radii[row] = _squared(x, x, row.expand(len(x)), everything).kthvalue(k + 1).values
    return radii


def _open_radii(x: Tensor, k: int, bounds: _Bounds, blocks: Iterable[Tensor], radii: Tensor) -> Iterator[Tensor]:
    """Fills ``radii`` of the rows in ``blocks``, and gives the rows whose bounds leave the value open."""
    for rows in blocks:
        low, nearest = _smallest(bounds.low(rows), k + 1 + SPARE)
        found = _squared(x, x, rows[:, None].expand_as(nearest), nearest).kthvalue(k + 1).values
        radii[rows] = found
        yield rows[(low.amax(1).double() * bounds.unit < found) & (found > 0)]


def _near(x: Tensor, y: Tensor, r: Tensor, s: Tensor, block: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Indices i, j of pairs and their squared distances, which are exact wherever ``r[i]`` or ``s[j]`` is in doubt.

    The pairs left out have neither ``d_ij² < r[i]`` nor ``d_ij² < s[j]``.
    """
    bounds = _Bounds.between(x, y, _fast(x))
    above_r, above_s = bounds.above(r), bounds.above(s)
    for rows in torch.arange(len(x), device=x.device).split(block):
        low = bounds.low(rows)
        pairs = _nonzero(low < torch.maximum(above_r[rows, None], above_s))
        i, j = rows[pairs // low.shape[1]], pairs % low.shape[1]
        squared = low.flatten()[pairs].double() * bounds.unit
        high = squared + bounds.width(i, j)
        doubt = torch.zeros_like(pairs, dtype=torch.bool)
        for limit in (r[i], s[j]):
            doubt |= (squared < limit) & (limit <= high)
        squared[doubt] = _squared(x, y, i[doubt], j[doubt])
        yield i, j, squared


class _Bounds(NamedTuple):
    """Bounds on ``‖x_i − y_j‖²`` by matrix products: ``low`` is a lower one in ``unit``, ``low + width`` an upper one.

    A product of d + 2 terms in a type of precision ε is within ``(d + 2) ε`` of the sum of its absolute terms, which is
    at most ``2 (‖x‖² + ‖y‖²)``; the rest of the slack is for rounding what goes in.
    """

    left: Tensor
    right: Tensor
    unit: float
    slack_x: Tensor
    slack_y: Tensor

    @classmethod
    def between(cls, x: Tensor, y: Tensor, dtype: torch.dtype) -> _Bounds:
        centre = x.mean(0)
        x, y = x - centre, y - centre
        # A power of two: dividing by it rounds nothing, and squares neither overflow nor vanish.
        scale = 2.0 ** math.ceil(math.log2(max(float(x.abs().max()), float(y.abs().max())) or 1.0))
        x, y = x / scale, y / scale
        a, b = x.square().sum(1), y.square().sum(1)
        # What is added here covers products too small for float32.
        slack_a, slack_b = (2 * (x.shape[1] + 16) * torch.finfo(dtype).eps * (norms + 1e-30) for norms in (a, b))
        left = torch.cat([-2 * x, (a - slack_a)[:, None], torch.ones_like(a[:, None])], 1)
        right = torch.cat([y, torch.ones_like(b[:, None]), (b - slack_b)[:, None]], 1)
        return cls(left.to(dtype), right.to(dtype).T.contiguous(), scale**2, slack_a, slack_b)

    def low(self, rows: Tensor) -> Tensor:
        return _matmul(self.left[rows], self.right)

    def width(self, i: Tensor, j: Tensor) -> Tensor:
        return 2 * self.unit * (self.slack_x[i] + self.slack_y[j])

    def above(self, squared: Tensor) -> Tensor:
        """In ``unit`` and the type of ``low``, rounded up."""
        info = torch.finfo(self.left.dtype)
        return (squared / self.unit * (1 + 2 * info.eps) + info.tiny).to(self.left.dtype)


def _squared(x: Tensor, y: Tensor, i: Tensor, j: Tensor) -> Tensor:
    """``‖x_i − y_j‖²`` by differences, for i and j of one shape; the same to the last bit wherever a pair stands."""
    pairs = zip(*(index.flatten().split(max(1, CELLS // x.shape[1])) for index in (i, j)), strict=True)
    return torch.cat([(x[a] - y[b]).square_().sum(1) for a, b in pairs]).reshape(i.shape)


def _smallest(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k smallest of each row and their columns, in no order; of all of them where there are not more.

    They lie in the k groups of columns with the smallest minima, which takes one quick pass to find.
    """
    rows, n = values.shape
    if n < 4 * GROUPS or k > GROUPS // 4:
        found = values.topk(min(k, n), largest=False, sorted=False)
        return found.values, found.indices
    even = n - n % GROUPS
    grouped = values[:, :even].unflatten(1, (-1, GROUPS))
    groups = grouped.amin(1).topk(k, largest=False, sorted=False).indices
    columns = (groups[:, None, :] + GROUPS * torch.arange(even // GROUPS, device=values.device)[:, None]).flatten(1)
    columns = torch.cat([columns, torch.arange(even, n, device=values.device).expand(rows, -1)], 1)
    found = values.gather(1, columns).topk(k, largest=False, sorted=False)
    return found.values, columns.gather(1, found.indices)


def _nonzero(mask: Tensor) -> Tensor:
    """Flat indices of what is true. numpy's is several times as fast on a CPU."""
    if mask.device.type != "cpu":
        return mask.flatten().nonzero()[:, 0]
    return torch.from_numpy(mask.numpy().ravel().nonzero()[0])


# Wasserstein distances.


def wasserstein_1d(x: Tensor, y: Tensor) -> Tensor:
    """``W1 = ∫₀¹ |F⁻¹(t) − G⁻¹(t)| dt`` of each column of ``x (n, k)`` and ``y (m, k)``, exactly, for any n and m;
    ``(k,)`` in float64, in the unit of the data."""
    n, m = len(x), len(y)
    x, y = _sorted(x.detach()), _sorted(y.detach())
    if n == m:
        return (x - y).abs_().mean(0, dtype=torch.float64)
    # Both quantile functions are constant between the points i/n and j/m; in integers, between the multiples of m and
    # n.
    steps = (torch.arange(1, size + 1, device=x.device) * other for size, other in ((n, m), (m, n)))
    ends = torch.cat(list(steps)).unique()
    width = ends.diff(prepend=ends.new_zeros(1)).double() / (n * m)
    return width @ (x[(ends - 1) // m] - y[(ends - 1) // n]).abs_().double()


def _sorted(x: Tensor) -> Tensor:
    """Each column in order. numpy's sort is several times as fast on a CPU."""
    if x.device.type != "cpu":
        return x.sort(0).values
    return torch.from_numpy(np.sort(x.T.numpy(), axis=1)).T


def sliced_wasserstein(x: Tensor, y: Tensor, directions: Tensor) -> float:
    """The mean of ``W1(⟨x, θ⟩, ⟨y, θ⟩)`` over the columns θ of ``directions (d, k)``, for ``x (n, d)`` and ``y (m, d)``
    (Rabin et al. 2012; Bonneel et al. 2015), in the unit of the data if the directions have length 1.

    Within ``1e-6`` of the value in float64, relatively: samples are projected in float32 where its rounding, measured
    on some of them, moves the mean by less (four standard errors), and in float64 elsewhere.
    """
    x, y = _samples(x, y, least=1)
    if directions.dim() != 2 or len(directions) != x.shape[1] or not directions.shape[1]:
        raise OptionError(f"directions must be ({x.shape[1]}, k), not {tuple(directions.shape)}")
    if not _finite(x, y):
        return math.nan
    with _threads():
        if _fast(x) is torch.float32:
            value = _sliced(x, y, directions, torch.float32)
            if 4 * _rounding(x, y, directions) <= SLICED_ERROR * value:
                return value
        return _sliced(x, y, directions, torch.float64)


def _sliced(x: Tensor, y: Tensor, directions: Tensor, dtype: torch.dtype) -> float:
    x, y, directions = x.to(dtype), y.to(dtype), directions.to(dtype)
    parts = directions.split(max(16, CELLS // (len(x) + len(y))), 1)
    total = sum(wasserstein_1d(*(_matmul(part.T, samples.T).T for samples in (x, y))).sum() for part in parts)
    return float(total / directions.shape[1])


def _rounding(x: Tensor, y: Tensor, directions: Tensor) -> float:
    """The standard error that rounding to float32 adds to the mean over all samples and directions."""
    variance = 0.0
    for samples in (x, y):
        some = samples[:PROBE]
        error = some.double() @ directions.double() - _matmul(some.float(), directions.float()).double()
        variance += float(error.square().mean()) / len(samples)
    return math.sqrt(variance / directions.shape[1])


def mean_distance(x: Tensor, y: Tensor) -> float:
    """``E‖X − Y‖`` over all pairs of samples ``(n, d)`` and ``(m, d)``, in the units of the data.

    In few dimensions by differences, in blocks that stay in the cache; in many from products in float64, but for the
    small ones, which that would lose; otherwise by `torch.cdist`. Within 1e-8 of each distance.
    """
    x, y = _samples(x, y, 1)
    if x.shape[1] >= MANY:
        return _mean_by_products(x.double(), y.double())
    rows = max(1, CACHED // len(y))
    total = sum(float(_distances(block, y).sum(dtype=torch.float64)) for block in x.split(rows))
    return total / (len(x) * len(y))


def _mean_by_products(x: Tensor, y: Tensor) -> float:
    if not _finite(x, y):
        return math.nan
    centre = y.mean(0)
    x, y = x - centre, y - centre
    of_x, of_y = x.square().sum(1), y.square().sum(1)
    total, rows = 0.0, max(1, CELLS // len(y))
    with _threads():
        for start in range(0, len(x), rows):
            block = slice(start, start + rows)
            size = of_x[block, None] + of_y
            squares = _matmul(x[block], y.T).mul_(-2).add_(size)
            # Of samples that are all alike, which a collapsed generator gives, that is every pair: never all at once.
            for small in (squares < SMALL * size).nonzero().split(max(1, CELLS // x.shape[1])):
                i, j = small.unbind(1)
                squares[i, j] = (x[block][i] - y[j]).square().sum(1)
            total += float(squares.sqrt_().sum())
    return total / (len(x) * len(y))


def _distances(x: Tensor, y: Tensor) -> Tensor:
    if x.shape[1] > FEW:
        return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
    squares = (x[:, :1] - y[:, 0]).square_()
    for k in range(1, x.shape[1]):
        gap = x[:, k, None] - y[:, k]
        squares.addcmul_(gap, gap)
    return squares.sqrt_()
