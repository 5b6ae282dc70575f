"""The Dirac-GAN: where its unregularised games turn in circles and R1 converges (Mescheder et al. 2018).

The data are one point at 0, ``G(z) = θ`` and ``D(x) = ψ x``: the smallest GAN there is, with its equilibrium at
``(0, 0)``. Mescheder, Geiger & Nowozin, "Which training methods for GANs do actually converge?" (2018), sections 2
to 4, follow the gradient vector field ``v = (−∂_θ L_G, −∂_ψ L_D)``, whose Jacobian at the equilibrium has the
eigenvalues

- ``± i |f'(0)|`` without a penalty: ½ i for the original game and its non-saturating form, i for Wasserstein;
- ``−γ/2 ± √(γ²/4 − f'(0)²)`` with ``γ/2 · R1``.

A simultaneous step of size h multiplies by ``1 + h λ``, so its spectral radius is above 1 in the first case and, for a
small enough h, below 1 in the second. With ``a = f'(0)`` and the discriminator first, an alternating step has the
Jacobian ``[[1 − h² a², ∓ h a (1 − h γ)], [± h a, 1 − h γ]]`` and the determinant ``1 − h γ``: its radius is 1 without a
penalty, and ``√(1 − h γ)`` with one while the eigenvalues are complex. On the circle of radius 1 the linear part says
nothing about where a step leads in the end: the non-saturating game, alternating, creeps inwards.

Everything is measured on ganzoo's own losses and turns: the field by differentiating a turn's losses, a step by moving
the parameters with `Eager.step`, all in float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import _shared
import numpy as np
import torch
from torch import Tensor, nn

from ganzoo.dataset import Batch
from ganzoo.discriminator import Discriminator, Verdict
from ganzoo.engine.eager import Eager
from ganzoo.engine.functional import Functional
from ganzoo.game import DISCRIMINATOR, GENERATOR, Round, Turn, Weighted, part
from ganzoo.generator import Generator
from ganzoo.plugins import registry
from ganzoo.recipe import Player, Recipe
from ganzoo.registry import Entry

PAPER = "Mescheder, Geiger & Nowozin (2018), arXiv:1801.04406"
RATE, STEPS, START = 0.2, 500, (1.0, 1.0)
TOLERANCE = 1e-3
MODES = {"simultaneous": True, "alternating": False}


@final
class Point(Generator):
    """``G(z) = θ``: it reads no noise, and is a distribution all the same, a Dirac's."""

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def source(self, n: int, rng: torch.Generator, batch: Any = None, label: Any = None) -> tuple[Tensor, None]:
        return torch.zeros(n, 1, dtype=torch.float64), None

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        return z + self.theta


@final
class Slope(Discriminator):
    """``D(x) = ψ x``."""

    def __init__(self) -> None:
        super().__init__()
        self.psi = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, x: Tensor, c: Tensor | None = None) -> Verdict:
        return Verdict((x * self.psi).squeeze(1))


@dataclass(frozen=True)
class Game:
    """A divergence, the generator's form of it, and the γ of ``γ/2 · R1``."""

    title: str
    divergence: str
    saturating: bool = True
    gamma: float = 0.0


GAMES = {
    "gan": Game("GAN", "gan"),
    "ns-gan": Game("non-saturating GAN", "gan", saturating=False),
    "wgan": Game("WGAN", "wasserstein"),
    "gan-r1-0.3": Game("GAN + R1, γ = 0.3", "gan", gamma=0.3),
    "gan-r1-1.0": Game("GAN + R1, γ = 1", "gan", gamma=1.0),
}

#: The eigenvalue with the imaginary part ≥ 0 of the field's Jacobian, and the spectral radii of a step with h = 0.2.
#: All follow from the formulas above; at γ = 1 the eigenvalues of an alternating step are real.
EIGENVALUES = {
    "gan": (0.0, 0.5),
    "ns-gan": (0.0, 0.5),
    "wgan": (0.0, 1.0),
    "gan-r1-0.3": (-0.15, (0.25 - 0.15**2) ** 0.5),
    "gan-r1-1.0": (-0.5, 0.0),
}
RADII = {
    "simultaneous": {"gan": 1.00499, "ns-gan": 1.00499, "wgan": 1.01980, "gan-r1-0.3": 0.97468, "gan-r1-1.0": 0.9},
    "alternating": {"gan": 1.0, "ns-gan": 1.0, "wgan": 1.0, "gan-r1-0.3": 0.96954, "gan-r1-1.0": 0.92702},
}


def _register() -> None:
    """The two networks, under the name of a plugin of this experiment: recipes are made of registered things."""
    for kind, name, target in (("generator", "dirac-point", Point), ("discriminator", "dirac-slope", Slope)):
        if registry().owner(kind, name) is None:
            entry = Entry(name, f"{__name__}:{target.__name__}", "of the Dirac-GAN")
            registry().adopt(kind, entry, "dirac-gan", "0", "experiment")


def recipe(game: Game, *, simultaneous: bool) -> Recipe:
    """The discriminator's turn, then the generator's, by gradient descent with the step ``h``. It reads no dataset."""
    _register()
    divergence, sgd = part("divergence", game.divergence), part("optimizer", "sgd", lr=RATE)
    penalty = (Weighted(part("penalty", "r1"), game.gamma / 2),) if game.gamma else ()
    return Recipe(
        "dirac-gan.point",
        dataset=part("dataset", "mixture-1d"),
        players={
            GENERATOR: Player(part("generator", "dirac-point"), sgd),
            DISCRIMINATOR: Player(part("discriminator", "dirac-slope"), sgd),
        },
        turns=(
            Turn(DISCRIMINATOR, (part("term", "criticise", divergence=divergence), *penalty)),
            Turn(GENERATOR, part("term", "fool", divergence=divergence, saturating=game.saturating)),
        ),
        steps=STEPS,
        batch_size=1,
        ema=0.0,
        evaluations=1,
        simultaneous=simultaneous,
    )


DATA = Batch(torch.zeros(1, 1, dtype=torch.float64))


class Dirac:
    """A game in the engine, at any point ``(θ, ψ)`` one likes."""

    def __init__(self, game: Game, *, simultaneous: bool) -> None:
        self.engine = Eager(recipe(game, simultaneous=simultaneous), DATA, 0, torch.device("cpu"))
        networks = self.engine.networks
        self._parameters = [networks[GENERATOR].theta, networks[DISCRIMINATOR].psi]

    def step(self, point: Any) -> np.ndarray:
        """Where `Eager.step` takes ``point``."""
        with torch.no_grad():
            for parameter, value in zip(self._parameters, point, strict=True):
                parameter.fill_(float(value))
        self.engine.step(0)
        return np.array([parameter.item() for parameter in self._parameters])

    def field(self, point: Tensor) -> Tensor:
        """``v(θ, ψ) = (−∂_θ L_G, −∂_ψ L_D)``, each loss that of the player's own turn."""
        losses = {turn.player: turn.losses for turn in self.engine.turns}

        def loss(player: str, at: Tensor) -> Tensor:
            moved = {GENERATOR: {"theta": at[:1]}, DISCRIMINATOR: {"psi": at[1:]}}
            networks = {name: Functional(network, moved[name]) for name, network in self.engine.networks.items()}
            with Round(networks, DATA, {GENERATOR: (torch.zeros_like(DATA.x), None)}) as round:
                return losses[player](round)[0]

        gradients = [torch.func.grad(loss, argnums=1)(player, point) for player in (GENERATOR, DISCRIMINATOR)]
        return -torch.stack([gradients[0][0], gradients[1][1]])

    def trajectory(self, steps: int = STEPS, start: tuple[float, float] = START) -> np.ndarray:
        """``(steps + 1, 2)``, the points that the steps go through."""
        path = [np.array(start)]
        for _ in range(steps):
            path.append(self.step(path[-1]))
        return np.array(path)


def eigenvalue(game: Game) -> complex:
    """Of the Jacobian of the field at the equilibrium, by automatic differentiation: that with imaginary part ≥ 0."""
    jacobian = torch.func.jacrev(Dirac(game, simultaneous=True).field)(torch.zeros(2, dtype=torch.float64))
    return complex(max(np.linalg.eigvals(jacobian.numpy()), key=lambda value: value.imag))


def radius(game: Game, *, simultaneous: bool, epsilon: float = 1e-4) -> float:
    """The largest ``|λ|`` of the Jacobian of `Eager.step` at the equilibrium, by central differences."""
    dirac = Dirac(game, simultaneous=simultaneous)
    columns = [(dirac.step(epsilon * e) - dirac.step(-epsilon * e)) / (2 * epsilon) for e in np.eye(2)]
    return float(np.abs(np.linalg.eigvals(np.stack(columns, 1))).max())


def run(seeds: int, jobs: int) -> dict[str, Any]:
    """Nothing here is random and all of it takes seconds: seeds and jobs are not used."""
    measured = {name: _measure(game) for name, game in GAMES.items()}
    return {
        "paper": PAPER,
        "seeds": "none: the game is deterministic",
        "settings": {"h": RATE, "steps": STEPS, "start": START, "dtype": "float64", "optimizer": "sgd"},
        "measured": measured,
        "checks": [*_eigenvalue_checks(measured), *_radius_checks(measured), *_end_checks(measured)],
    }


def _measure(game: Game) -> dict[str, Any]:
    value = eigenvalue(game)
    found: dict[str, Any] = {"eigenvalue": [value.real, value.imag], "radius": {}, "distance": {}}
    for mode, simultaneous in MODES.items():
        found["radius"][mode] = radius(game, simultaneous=simultaneous)
        path = Dirac(game, simultaneous=simultaneous).trajectory()
        found["distance"][mode] = np.linalg.norm(path, axis=1)[::50].tolist()
    return found


def _eigenvalue_checks(measured: dict[str, Any]) -> list[_shared.Check]:
    source = f"{PAPER}, eigenvalues of the Dirac-GAN's gradient vector field, with and without R1"
    return [
        _shared.close(f"{name}: {which} part of the eigenvalue", expected, found, TOLERANCE, source)
        for name, pair in EIGENVALUES.items()
        for which, expected, found in zip(("real", "imaginary"), pair, measured[name]["eigenvalue"], strict=True)
    ]


def _radius_checks(measured: dict[str, Any]) -> list[_shared.Check]:
    source = f"from the eigenvalues of {PAPER}, for h = {RATE}"
    return [
        _shared.close(f"{name}: radius, {mode}", expected, measured[name]["radius"][mode], TOLERANCE, source)
        for mode, radii in RADII.items()
        for name, expected in radii.items()
    ]


def _end_checks(measured: dict[str, Any]) -> list[_shared.Check]:
    """What the radii mean for a game that starts at a distance, where it is not linear."""
    checks: list[_shared.Check] = []
    for name, game in GAMES.items():
        for mode in MODES:
            begin, *_, end = measured[name]["distance"][mode]
            converges, expected = end < 1e-3 * begin, bool(game.gamma)
            words = "at the equilibrium" if expected else "not at the equilibrium"
            what = f"{name}: from {START}, after {STEPS} steps, {mode}"
            checks.append(_shared.true(what, words, f"{end:.3g} away", converges == expected, PAPER))
    return checks


def table(result: dict[str, Any]) -> str:
    head = [
        "game",
        "eigenvalue",
        "radius simultaneous",
        "alternating",
        "distance at the end: simultaneous",
        "alternating",
    ]
    body = [
        [
            GAMES[name].title,
            f"{found['eigenvalue'][0]:+.5f} ± {found['eigenvalue'][1]:.5f} i",
            *(f"{found['radius'][mode]:.5f}" for mode in MODES),
            *(f"{found['distance'][mode][-1]:.3g}" for mode in MODES),
        ]
        for name, found in result["measured"].items()
    ]
    return _shared.rows(head, body)


def draw(path: Path) -> None:
    """One panel a game: the steps from the start, simultaneous above, alternating below."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 5.1), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(GAMES), sharex=True, sharey=True)
    for row, (mode, simultaneous) in zip(axes, MODES.items(), strict=True):
        for axis, game in zip(row, GAMES.values(), strict=True):
            _panel(axis, Dirac(game, simultaneous=simultaneous).trajectory(), radius(game, simultaneous=simultaneous))
        row[0].set_ylabel(f"{mode}\n\nψ")
    for axis, game in zip(axes[0], GAMES.values(), strict=True):
        axis.set_title(game.title, fontsize=10)
    for axis in axes[1]:
        axis.set_xlabel("θ")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _panel(axis: Any, path: np.ndarray, radius: float, reach: float = 3.2) -> None:
    axis.plot(*path.T, color="tab:blue", linewidth=0.5, alpha=0.6)
    axis.scatter(*path.T, c=np.arange(len(path)), cmap="viridis", s=5, linewidths=0)
    axis.plot(*path[0], "o", color="black", markersize=4)
    axis.plot(0, 0, "+", color="red", markersize=9)
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    axis.text(0.03, 0.04, f"|λ| = {radius:.3f}", transform=axis.transAxes, fontsize=8, bbox=box)
    axis.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
