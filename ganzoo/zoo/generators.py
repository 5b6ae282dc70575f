"""Built-in generators: a perceptron that can only be sampled, and two densities that can be written down."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from ganzoo.dataset import Batch
from ganzoo.errors import IncompatibleError
from ganzoo.generator import Generator, TractableGenerator
from ganzoo.heads import condition


def perceptron(inputs: int, hidden: int, depth: int, outputs: int, activation: nn.Module) -> nn.Sequential:
    """``depth`` hidden layers of ``hidden`` units, then a linear one."""
    widths = [inputs, *[hidden] * depth]
    layers = [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), activation)]
    return nn.Sequential(*layers, nn.Linear(widths[-1], outputs))


@final
class MLPGenerator(Generator):
    """``G(z)`` with ``z ∼ N(0, I)`` or uniform on (−1, 1), a multilayer perceptron; with ``classes`` it reads the label
    too."""

    def __init__(
        self,
        shape: tuple[int, ...],
        noise: int = 16,
        hidden: int = 128,
        depth: int = 2,
        law: str = "normal",
        classes: int = 0,
    ) -> None:
        super().__init__()
        self.shape, self.noise, self.law, self.classes = tuple(shape), noise, law, classes
        self.body = perceptron(noise + classes, hidden, depth, math.prod(shape), nn.ReLU())

    def source(
        self, n: int, rng: torch.Generator, batch: Batch | None = None, label: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        if self.law == "uniform":
            z = 2 * torch.rand(n, self.noise, generator=rng, device=rng.device) - 1
        else:
            z = torch.randn(n, self.noise, generator=rng, device=rng.device)
        if not self.classes:
            return z, None
        if label is None and batch is not None:
            label = batch.label  # while training, labels come as often as in the data
        if label is None:
            label = torch.randint(self.classes, (n,), generator=rng, device=rng.device)
        return z, label

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        return self.body(condition(z, c, self.classes)).unflatten(1, self.shape)


@final
class GaussianGenerator(TractableGenerator):
    """``N(μ, Σ)`` with full covariance: ``x = μ + L z``, ``Σ = L Lᵀ``, L lower triangular with a positive diagonal.

    It starts from ``N(0, I)``, or from the ``moments`` of the train part, where the likelihood is largest.
    """

    def __init__(self, shape: tuple[int, ...], start: str = "standard") -> None:
        super().__init__()
        self.shape, self.start, d = tuple(shape), start, math.prod(shape)
        self.mean = nn.Parameter(torch.zeros(d))
        self.log_diagonal = nn.Parameter(torch.zeros(d))
        self.lower = nn.Parameter(torch.zeros(d, d))

    def scale(self) -> Tensor:
        """``L (d, d)``."""
        return self.lower.tril(-1) + torch.diag_embed(self.log_diagonal.exp())

    def source(
        self, n: int, rng: torch.Generator, batch: Batch | None = None, label: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        return torch.randn(n, math.prod(self.shape), generator=rng, device=rng.device), None

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        return (self.mean + z @ self.scale().T).unflatten(1, self.shape)

    def log_prob(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        return _normal_log_prob(x.flatten(1), self.mean, self.scale())

    def initialise(self, x: Tensor, rng: torch.Generator) -> None:
        if self.start == "standard":
            return
        x = x.flatten(1).double()
        root, failed = torch.linalg.cholesky_ex(x.T.cov(correction=0).reshape(x.shape[1], -1))
        if failed:
            raise IncompatibleError(
                "the samples lie in fewer dimensions than they have numbers: a Gaussian of any likelihood fits them"
            )
        with torch.no_grad():
            self.mean.copy_(x.mean(0))
            self.log_diagonal.copy_(root.diagonal().log())
            self.lower.copy_(root.tril(-1))


@final
class MixtureGenerator(TractableGenerator):
    """``Σ_k π_k N(μ_k, Σ_k)``, ``Σ_k = A_k A_kᵀ + floor·I``: no direction of a component gets a variance below
    ``floor``.

    The source is a normal vector and a uniform number that picks the component. It starts from k-means on the train
    part, as EM implementations do, since the likelihood has many local optima.
    """

    def __init__(
        self, shape: tuple[int, ...], components: int | None = None, covariance: str = "full", floor: float = 1e-6
    ) -> None:
        super().__init__()
        self.shape, d, k = tuple(shape), math.prod(shape), components or 10
        self.covariance, self.floor = covariance, floor
        self.logits = nn.Parameter(torch.zeros(k))
        self.mean = nn.Parameter(torch.randn(k, d))
        self.log_diagonal = nn.Parameter(torch.zeros(k, d))
        self.lower = nn.Parameter(torch.zeros(k, d, d if covariance == "full" else 0))

    def scale(self) -> Tensor:
        """The Cholesky factors ``L_k (k, d, d)`` of the components' covariances."""
        diagonal = self.log_diagonal.exp()
        if self.covariance == "diag":
            return torch.diag_embed((diagonal.square() + self.floor).sqrt())
        a = self.lower.tril(-1) + torch.diag_embed(diagonal)
        return torch.linalg.cholesky(a @ a.mT + self.floor * torch.eye(a.shape[-1], dtype=a.dtype, device=a.device))

    def source(
        self, n: int, rng: torch.Generator, batch: Batch | None = None, label: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        normal = torch.randn(n, math.prod(self.shape), generator=rng, device=rng.device)
        return torch.cat([normal, torch.rand(n, 1, generator=rng, device=rng.device)], 1), None

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        z, u = z[:, :-1], z[:, -1:]
        edges = self.logits.softmax(0).cumsum(0)[:-1]
        chosen = one_hot((u >= edges).sum(1), len(self.logits)).to(z.dtype)
        moved = torch.einsum("kij,nj->nki", self.scale(), z) + self.mean
        return torch.einsum("nk,nki->ni", chosen, moved).unflatten(1, self.shape)

    def log_prob(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        each = _normal_log_prob(x.flatten(1).unsqueeze(0), self.mean.unsqueeze(1), self.scale())
        return (self.logits.log_softmax(0).unsqueeze(1) + each).logsumexp(0)

    def initialise(self, x: Tensor, rng: torch.Generator) -> None:
        from sklearn.cluster import KMeans

        x = x.flatten(1)
        points = x[torch.randperm(len(x), generator=rng)[:10_000]].double().numpy()
        state = int(torch.randint(2**31, (), generator=rng))
        found = KMeans(len(self.logits), n_init=5, random_state=state).fit(points)  # pyright: ignore[reportArgumentType]
        with torch.no_grad():
            for k, centre in enumerate(found.cluster_centers_):
                members = points[found.labels_ == k]
                spread = np.cov(members.T, ddof=0).reshape(x.shape[1], -1) if len(members) > 1 else np.eye(x.shape[1])
                # Sampling error must not start a component flatter than the data can say: shrink towards a ball.
                ball = np.eye(x.shape[1]) * max(np.trace(spread) / x.shape[1], 10 * self.floor)
                root = torch.from_numpy(np.linalg.cholesky(0.9 * spread + 0.1 * ball)).float()
                self.logits[k] = math.log(len(members) / len(points))
                self.mean[k] = torch.from_numpy(centre)
                if self.covariance == "full":
                    self.log_diagonal[k] = root.diagonal().log()
                    self.lower[k] = root.tril(-1)
                else:
                    self.log_diagonal[k] = torch.from_numpy(0.9 * spread + 0.1 * ball).diagonal().log() / 2


def _normal_log_prob(x: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """``log N(x; mean, scale·scaleᵀ)`` over the last dimension of ``x (…, n, d)``."""
    white = torch.linalg.solve_triangular(scale, (x - mean).mT, upper=False)
    log_det = scale.diagonal(dim1=-2, dim2=-1).log().sum(-1, keepdim=True)
    return -0.5 * (white.square().sum(-2) + x.shape[-1] * math.log(2 * math.pi)) - log_det
