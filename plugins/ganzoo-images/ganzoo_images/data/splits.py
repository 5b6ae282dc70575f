"""Which rows of which split are the three parts of a dataset."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from ganzoo.dataset import PARTS, PartName
from ganzoo.errors import DataError, OptionError, suggest
from ganzoo_images.data.sources import Label, standard

#: Rows of each part: the split that they are from, and where in it they are.
Index = Mapping[PartName, tuple[str, np.ndarray]]
TENTH: Final = 10


@final
@dataclass(frozen=True)
class Rule:
    """How parts are taken from splits.

    ``train``, ``validation`` and ``test`` name splits of the source; what is none is found by its usual name. Without a
    validation split, or a test split, a tenth of the train split stands for each: of every class alike, chosen and
    ordered by ``seed``. The first row of each class is always trained on. With ``last`` and a source in an order of its
    own, that many rows of ``of`` at the end of the train split are the validation part, as in the literature, and rows
    keep their order.
    """

    train: str | None = None
    validation: str | None = None
    test: str | None = None
    seed: int = 0
    last: tuple[int, int] | None = None

    def named(self, known: Collection[str], what: str) -> dict[PartName, str]:
        """The split of each part that has one of its own."""
        train = self._one("train", self.train, known, what)
        found: dict[PartName, str] = {"train": train or self._only(known, what)}
        for part, kind, wanted in (("validation", "validation", self.validation), ("held-out", "test", self.test)):
            split = self._one(kind, wanted, known, what)
            if wanted is not None and wanted in found.values():
                raise OptionError(
                    f"{what}: the split {wanted!r} cannot be two parts of the data; name another for {part}"
                )
            if split is not None and split not in found.values():
                found[part] = split  # type: ignore[index]
        return found

    @staticmethod
    def _one(kind: str, wanted: str | None, known: Collection[str], what: str) -> str | None:
        if wanted is not None and wanted not in known:
            raise OptionError(f"{what} has no split {wanted!r}; {suggest(wanted, known)}")
        return wanted or next((name for name in known if standard(name) == kind), None)

    @staticmethod
    def _only(known: Collection[str], what: str) -> str:
        if len(known) != 1:
            raise OptionError(f"{what} has the splits {', '.join(known)}; say which to train on: -o dataset.split=…")
        return next(iter(known))

    def parts(self, splits: Mapping[PartName, str], labels: Mapping[str, Sequence[Label]], mixed: bool) -> Index:
        """``labels`` of each split's rows, none where they have none."""
        ordered = self.last is not None and mixed
        rng = np.random.default_rng(self.seed)
        train = splits["train"]
        index: dict[PartName, tuple[str, np.ndarray]] = {}
        for part, split in splits.items():
            rows = np.arange(len(labels[split]))
            index[part] = split, rows if ordered else rng.permutation(rows)
        missing: list[PartName] = [part for part in ("validation", "held-out") if part not in splits]
        if ordered and missing == ["validation"] and self.last is not None:
            rows = index["train"][1]
            count = max(1, len(rows) * self.last[0] // self.last[1])
            index["train"], index["validation"] = (train, rows[:-count]), (train, rows[-count:])
            return index
        if missing:
            taken = _tenths(labels[train], len(missing), rng)
            rest = np.setdiff1d(index["train"][1], np.concatenate(taken))
            index["train"] = train, rng.permutation(rest)
            for part, rows in zip(missing, taken, strict=True):
                index[part] = train, rows
        return index

    def said(
        self, splits: Mapping[PartName, str], labels: Mapping[str, Sequence[Label]], mixed: bool
    ) -> dict[str, str]:
        """Where each part is from, for a model's config; ``labels`` are those of `parts`."""
        train = splits["train"]
        last = self.last if mixed and "held-out" in splits else None
        tenth = "a tenth of every class" if any(label is not None for label in labels[train]) else "a tenth"
        share = f"the last {last[0]}/{last[1]}" if last else tenth
        how = "" if mixed and self.last else f", in an order by seed {self.seed}"
        own = splits if len(splits) == len(PARTS) else {**splits, "train": f"the rest of {train}"}
        return {part: f"{own.get(part) or f'{share} of {train}'}{how}" for part in PARTS}


def _tenths(labels: Sequence[Label], parts: int, rng: np.random.Generator) -> list[np.ndarray]:
    """A tenth of the rows for each part, evenly from all classes, shuffled."""
    by_class: dict[Label, list[int]] = {}
    for row in rng.permutation(len(labels)):
        by_class.setdefault(labels[row], []).append(int(row))
    rest = np.array(
        [row for _, rows in sorted(by_class.items(), key=lambda each: str(each[0])) for row in rows[1:]], dtype=np.int64
    )
    many = parts * max(1, round(len(labels) / TENTH))
    if len(rest) < many:
        raise DataError(
            f"{len(labels)} images of {len(by_class)} classes are too few to be split: give more, or a validation and "
            "a test split"
        )
    chosen = rest[((np.arange(many) + 0.5) * len(rest) / many).astype(np.int64)]
    return [rng.permutation(chosen[part::parts]) for part in range(parts)]
