"""The other loops: faithful textbook ones, with plain modules of torch.

They are what tutorials show: a shuffling ``DataLoader`` over a ``TensorDataset`` of floats, two Adams, the default
memory format, separate forwards of real and generated samples, ``.item()`` on both losses at every step. Networks,
widths, batches, rates and losses are those of ours.

`perceptrons` draws new noise for each turn, as Goodfellow et al. (2014), Algorithm 1, and ours do. `dcgan` does so or
takes one generated batch for both turns, as PyTorch's DCGAN tutorial does: of the two habits the faster one. `sngan`
draws new noise for each of its turns, of which the discriminator has five, and a real batch for each, as published code
does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from _timing import Loop, Setting
from torch import Tensor, nn
from torch.nn.utils import spectral_norm
from torch.utils.data import DataLoader, TensorDataset

Pair = tuple[nn.Module, nn.Module]


def perceptrons(x: Tensor, setting: Setting, *, hidden: int, depth: int, batch: int, noise: int = 2) -> Loop:
    def body(inputs: int, outputs: int, activation: Callable[[], nn.Module]) -> nn.Sequential:
        layers: list[nn.Module] = []
        for i in range(depth):
            layers += [nn.Linear(hidden if i else inputs, hidden), activation()]
        return nn.Sequential(*layers, nn.Linear(hidden, outputs))

    networks = body(noise, x.shape[1], nn.ReLU), body(x.shape[1], 1, lambda: nn.LeakyReLU(0.2))
    return cross_entropy(networks, x, setting, batch=batch, noise=(noise,), rate=1e-3, one_batch=False)


def dcgan(
    x: Tensor, setting: Setting, *, width: int, batch: int, upsample: bool = False, one_batch: bool = True
) -> Loop:
    networks = dcgan_networks(width, upsample)
    return cross_entropy(networks, x, setting, batch=batch, noise=(100, 1, 1), rate=2e-4, one_batch=one_batch)


def sngan(x: Tensor, setting: Setting, *, generator: int, discriminator: int, batch: int) -> Loop:
    return hinge(sngan_networks(generator, discriminator), x, setting, batch=batch, noise=128, k=5)


# Networks of 32 × 32 pixels -------------------------------------------------------------------------------------------


def dcgan_networks(width: int, upsample: bool = False) -> Pair:
    def grow(inputs: int, outputs: int, bias: bool = False) -> list[nn.Module]:
        if upsample:
            return [nn.Upsample(scale_factor=2), nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias)]
        return [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=bias)]

    w = width
    generator = nn.Sequential(
        *(nn.ConvTranspose2d(100, 4 * w, 4, 1, 0, bias=False), nn.BatchNorm2d(4 * w), nn.ReLU(True)),
        *(*grow(4 * w, 2 * w), nn.BatchNorm2d(2 * w), nn.ReLU(True)),
        *(*grow(2 * w, w), nn.BatchNorm2d(w), nn.ReLU(True)),
        *(*grow(w, 3, True), nn.Tanh()),
    )
    discriminator = nn.Sequential(
        *(nn.Conv2d(3, w, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)),
        *(nn.Conv2d(w, 2 * w, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * w), nn.LeakyReLU(0.2, inplace=True)),
        *(nn.Conv2d(2 * w, 4 * w, 4, 2, 1, bias=False), nn.BatchNorm2d(4 * w), nn.LeakyReLU(0.2, inplace=True)),
        nn.Conv2d(4 * w, 1, 4, 1, 0),
        nn.Flatten(0),
    )
    for module in (*generator.modules(), *discriminator.modules()):
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, 0.0, 0.02)
    return generator, discriminator


class Block(nn.Module):
    """``body(x) + shortcut(x)``."""

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.shortcut(x)


class Sum(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sum((2, 3))


def sngan_networks(generator: int, discriminator: int) -> Pair:
    """The residual networks of SNGAN for CIFAR-10, shortcuts in the order of the paper's figure."""
    w = generator

    def up() -> Block:
        body = nn.Sequential(
            *(nn.BatchNorm2d(w), nn.ReLU(), nn.Upsample(scale_factor=2), nn.Conv2d(w, w, 3, 1, 1, bias=False)),
            *(nn.BatchNorm2d(w), nn.ReLU(), nn.Conv2d(w, w, 3, 1, 1, bias=False)),
        )
        return Block(body, nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(w, w, 1, bias=False)))

    first = nn.Linear(128, w * 16), nn.Unflatten(1, (w, 4, 4))
    last = nn.BatchNorm2d(w), nn.ReLU(), nn.Conv2d(w, 3, 3, 1, 1), nn.Tanh()
    return nn.Sequential(*first, up(), up(), up(), *last), _judge(discriminator)


def _judge(w: int) -> nn.Module:
    def conv(inputs: int, size: int) -> nn.Module:
        return spectral_norm(nn.Conv2d(inputs, w, size, 1, size // 2))

    def plain() -> Block:
        return Block(nn.Sequential(nn.ReLU(), conv(w, 3), nn.ReLU(), conv(w, 3)), nn.Identity())

    first = Block(
        nn.Sequential(conv(3, 3), nn.ReLU(), conv(w, 3), nn.AvgPool2d(2)), nn.Sequential(nn.AvgPool2d(2), conv(3, 1))
    )
    down = Block(
        nn.Sequential(nn.ReLU(), conv(w, 3), nn.ReLU(), conv(w, 3), nn.AvgPool2d(2)),
        nn.Sequential(conv(w, 1), nn.AvgPool2d(2)),
    )
    return nn.Sequential(first, down, plain(), plain(), nn.ReLU(), Sum(), spectral_norm(nn.Linear(w, 1)), nn.Flatten(0))


# Loops ----------------------------------------------------------------------------------------------------------------


def endless(x: Tensor, batch: int, device: torch.device) -> Iterator[Tensor]:
    loader = DataLoader(TensorDataset(x), batch_size=batch, shuffle=True, drop_last=True)
    while True:
        for (real,) in loader:
            yield real.to(device)


def read(*losses: Tensor) -> list[float]:
    return [loss.item() for loss in losses]


def cross_entropy(
    networks: Pair, x: Tensor, setting: Setting, *, batch: int, noise: tuple[int, ...], rate: float, one_batch: bool
) -> Loop:
    """The original game, non-saturating."""
    G, D = (network.to(setting.device) for network in networks)
    opt_G, opt_D = (torch.optim.Adam(m.parameters(), lr=rate, betas=(0.5, 0.999)) for m in (G, D))
    loss = nn.BCEWithLogitsLoss()
    batches = endless(x, batch, setting.device)
    with torch.no_grad():
        shape = D(next(batches)).shape
    ones, zeros = torch.ones(shape, device=setting.device), torch.zeros(shape, device=setting.device)

    def draw() -> Tensor:
        return torch.randn(batch, *noise, device=setting.device)

    def run(steps: int) -> None:
        for _ in range(steps):
            real = next(batches)
            opt_D.zero_grad()
            fake = G(draw())
            loss_D = loss(D(real), ones) + loss(D(fake.detach()), zeros)
            loss_D.backward()
            opt_D.step()
            opt_G.zero_grad()
            if not one_batch:
                fake = G(draw())
            loss_G = loss(D(fake), ones)
            loss_G.backward()
            opt_G.step()
            read(loss_D, loss_G)

    return Loop(run)


def hinge(networks: Pair, x: Tensor, setting: Setting, *, batch: int, noise: int, k: int) -> Loop:
    G, D = (network.to(setting.device) for network in networks)
    opt_G, opt_D = (torch.optim.Adam(m.parameters(), lr=2e-4, betas=(0.0, 0.9)) for m in (G, D))
    batches = endless(x, batch, setting.device)

    def draw() -> Tensor:
        return torch.randn(batch, noise, device=setting.device)

    def run(steps: int) -> None:
        for _ in range(steps):
            losses: list[Tensor] = []
            for _ in range(k):
                opt_D.zero_grad()
                fake = G(draw()).detach()
                loss_D = (1 - D(next(batches))).relu().mean() + (1 + D(fake)).relu().mean()
                loss_D.backward()
                opt_D.step()
                losses[:] = [loss_D]
            opt_G.zero_grad()
            loss_G = -D(G(draw())).mean()
            loss_G.backward()
            opt_G.step()
            read(*losses, loss_G)

    return Loop(run)


def sampling(generator: nn.Module, setting: Setting, *, batch: int, noise: int = 100) -> Loop:
    """Batches of images, in evaluation mode."""
    generator = generator.to(setting.device).eval()

    @torch.no_grad()
    def run(batches: int) -> None:
        for _ in range(batches):
            generator(torch.randn(batch, noise, 1, 1, device=setting.device)).cpu()

    return Loop(run, batch)
