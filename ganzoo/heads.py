"""Where networks read labels: their code, the last layers of discriminators that read them there, and what class logits
say of them.

==============  ==================================  =================================================
head            score of features ``φ``, label y    class logits
==============  ==================================  =================================================
`score`         ``w·φ + b``                         none; a label, where it is read, is read with x
`projection`    ``w·φ + b + ⟨e(y), φ⟩``             none
`classify`      ``w·φ + b``                         ``V φ + a``; no label is read
==============  ==================================  =================================================
"""

from __future__ import annotations

from typing import Final, final

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

from ganzoo.discriminator import Verdict
from ganzoo.errors import IncompatibleError

SCORE: Final = "score"
PROJECTION: Final = "projection"
CLASSIFY: Final = "classify"
HEADS: Final = (SCORE, PROJECTION, CLASSIFY)


def read(c: Tensor | None, classes: int) -> Tensor:
    """Labels that have to be there.

    Raises:
        IncompatibleError: they are not.
    """
    if c is None:
        raise IncompatibleError(f"this network reads a label of {classes} classes, and the dataset has none")
    return c


def code(c: Tensor | None, classes: int, like: Tensor) -> Tensor:
    """The code ``(n, classes)`` of labels, in the precision of ``like``: one-hot of labels ``(n,)``, several labels
    ``(n, classes)`` themselves. Raises as `read` does."""
    c = read(c, classes)
    return (one_hot(c, classes) if c.ndim == 1 else c).to(like.dtype)


def condition(x: Tensor, c: Tensor | None, classes: int) -> Tensor:
    """``x (n, d, …)`` with the label's code as more features or constant maps; ``x`` itself without classes."""
    if not classes:
        return x
    label = code(c, classes, x)
    return torch.cat([x, label[(...,) + (None,) * (x.ndim - 2)].expand(-1, -1, *x.shape[2:])], 1)


@final
class Head(nn.Module):
    """The verdict on features ``φ (n, features)``, as the table above has it.

    `projection` is that of Miyato & Koyama, "cGANs with Projection Discriminator" (2018), eq. 4; `classify` that of
    Odena, Olah & Shlens, "Conditional Image Synthesis with Auxiliary Classifier GANs" (2017). All layers are
    ``nn.Linear``: that of the codes ``e`` takes labels one-hot.

    Raises:
        IncompatibleError: a head other than `score` without classes.
    """

    def __init__(self, features: int, classes: int = 0, kind: str = SCORE) -> None:
        super().__init__()
        if kind != SCORE and not classes:
            raise IncompatibleError(f"the head {kind!r} is for labels, and with classes=0 there are none")
        self.classes = classes
        self.score = nn.Linear(features, 1)
        self.label = nn.Linear(classes, features, bias=False) if kind == PROJECTION else None
        self.logits = nn.Linear(features, classes) if kind == CLASSIFY else None

    def forward(self, x: Tensor, c: Tensor | None = None) -> Verdict:
        score = self.score(x).squeeze(1)
        if self.label is not None:
            score = score + (x * self.label(code(c, self.classes, x))).sum(1)
        return Verdict(score, None if self.logits is None else self.logits(x))


def classification(logits: Tensor, label: Tensor) -> Tensor:
    """``−E log P(label | logits)`` in nats, a scalar: of labels ``(n,)`` by a softmax, of several labels ``(n,
    classes)`` by as many independent sigmoids, summed."""
    if label.ndim == 1:
        return cross_entropy(logits, label)
    return binary_cross_entropy_with_logits(logits, label.to(logits.dtype), reduction="sum") / len(logits)


def right(logits: Tensor, label: Tensor) -> Tensor:
    """Whether the label has the largest logit, ``(n,)``; of several labels whether each logit has the sign of its
    label, ``(n, classes)``."""
    return logits.argmax(1) == label if label.ndim == 1 else (logits > 0) == label.bool()
