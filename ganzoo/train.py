"""One run: a recipe and a seed in a folder, with its log, its checkpoints and its pictures.

A run that is killed at any moment and resumed ends, on the CPU, with the same bits as one that was not.
"""

from __future__ import annotations

import copy
import json
import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import filelock
import numpy as np
import torch
from torch import Tensor

from ganzoo import checkpoint, pictures
from ganzoo.dataset import Dataset
from ganzoo.engine.eager import Eager
from ganzoo.errors import LockedError, OptionError, RunError
from ganzoo.evaluate import sample, validation
from ganzoo.files import finite, write_json
from ganzoo.generator import Generator
from ganzoo.plugins import host
from ganzoo.recipe import Recipe
from ganzoo.seeds import derive

Status = Literal["finished", "diverged", "interrupted"]
Listener = Callable[[Mapping[str, Any]], None]

#: A log has about this many lines, and a run is checked for divergence as often.
LINES: Final = 100


@dataclass(frozen=True)
class Outcome:
    """How a run ended: ``step`` is the last one whose state is kept; ``seconds`` counts every attempt's own time."""

    status: Status
    step: int
    steps: int
    seconds: float
    steps_per_second: float
    best_step: int | None = None
    best_validation: float | None = None
    diverged_at: int | None = None


class Run:
    """A recipe and a seed in ``folder``.

    Args:
        recipe: what to train.
        seed: of this run.
        folder: made if need be; one process at a time may work in it.
        device: ``auto`` is cuda, else mps, else cpu.
        draw: whether to draw sample pictures at the start, in the middle and at the end.
        checkpoint_seconds: at least this long between two checkpoints; it does not change the result.
        patience: seconds to wait for another process that works in the folder.
    """

    def __init__(
        self,
        recipe: Recipe,
        seed: int,
        folder: Path,
        *,
        device: str = "auto",
        draw: bool = True,
        checkpoint_seconds: float = 15.0,
        patience: float = 0.0,
    ) -> None:
        self.recipe, self.seed, self.folder, self.draw = recipe, seed, folder, draw
        self.device = pick_device(device)
        self.checkpoint_seconds, self.patience = checkpoint_seconds, patience
        self.dataset: Dataset = recipe.dataset.build()
        self.log_every = min(100, max(1, recipe.steps // LINES))
        self.evaluate_every = max(1, recipe.steps // recipe.evaluations)
        self._stop = False

    def train(self, *, resume: bool = False, listen: Listener = lambda record: None) -> Outcome:
        """Train to the end, to divergence or to an interruption (Ctrl-C), and keep a checkpoint in every case.

        Args:
            resume: go on from the newest whole checkpoint; without it a folder that holds a run is refused.
            listen: called with every record of the log.

        Raises:
            LockedError: another process works in the folder.
            RunError: the folder holds another run, or a run and ``resume`` is not set.
        """
        with self._locked(), self._interruptible():
            self._claim(resume)
            self._begin()
            if resume and (found := checkpoint.load(self.folder / "checkpoints")):
                for message in found.damaged:
                    listen({"warning": f"damaged checkpoint passed over: {message}; going on from step {found.step}"})
                self._restore(found)
            self._truncate_log()
            host().announce("ganzoo_started", recipe=self.recipe, seed=self.seed, folder=self.folder)
            status = self._loop(listen)
            host().announce("ganzoo_finished", recipe=self.recipe, seed=self.seed, folder=self.folder, status=status)
            return self._outcome(status)

    def generator(self, which: Literal["last", "best"] = "last") -> Generator:
        """The averaged generator of the last step, or of the best one by validation."""
        generator = next(iter(self.engine.ema.values()))
        if which == "best" and self.best:
            generator = copy.deepcopy(generator)
            generator.load_state_dict(self.best)
        return generator

    # The loop ---------------------------------------------------------------------------------------------------------

    def _loop(self, listen: Listener) -> Status:
        steps = self.recipe.steps
        pending: list[dict[str, Tensor]] = []
        while self.step < steps and self.diverged_at is None:
            self._draw_if_due()
            due = any((self.step + 1) % every == 0 for every in (self.log_every, self.evaluate_every, steps))
            pending.append(self.engine.step(self.step, observe=due))
            self.step += 1
            if not due:
                continue
            record = self._record(pending)
            pending = []
            if self.diverged_at is None and (self.step % self.evaluate_every == 0 or self.step == steps):
                self._validate(record)
            if self.diverged_at is None:
                self._log(record, listen)
                if self._stop or self.step == steps or time.monotonic() - self._saved_at >= self.checkpoint_seconds:
                    self._save()
                if self._stop and self.step < steps:
                    return "interrupted"
        if self.diverged_at is not None:
            self._log({"step": self.step, "diverged_at": self.diverged_at}, listen)
            return "diverged"
        self._draw_if_due()
        return "finished"

    def _record(self, pending: list[dict[str, Tensor]]) -> dict[str, Any]:
        """The means since the last record, read from the device in one go; notes a divergence and its step."""
        # A lazy term is not there at every step; what is observed besides belongs to no player, and is no loss.
        names = list(dict.fromkeys(name for row in pending for name in row if "/" in name))
        absent = torch.zeros((), device=self.device)
        table = torch.stack([torch.stack([row.get(name, absent).float() for name in names]) for row in pending]).cpu()
        there = torch.tensor([[name in row for name in names] for row in pending])
        bad = (~table.isfinite()).any(1)
        if bad.any() or not self.engine.finite():
            first = int(bad.int().argmax()) if bad.any() else len(pending) - 1
            self.diverged_at = self.step - len(pending) + first + 1
        means = dict(zip(names, (table.sum(0) / there.sum(0)).tolist(), strict=True))
        extra = {name: float(value) for name, value in pending[-1].items() if name not in means}
        seconds = self._seconds()
        return {
            "step": self.step,
            "steps": self.recipe.steps,
            "losses": means,
            **({"observed": extra} if extra else {}),
            "seconds": round(seconds, 3),
            "steps_per_second": round(self._rate(), 1),
        }

    def _validate(self, record: dict[str, Any]) -> None:
        generator = self.generator()
        value = validation(generator, self.dataset, self.seed)
        record["validation"] = value
        if self.best_validation is None or value < self.best_validation:
            self.best_step, self.best_validation = self.step, value
            self.best = {key: tensor.detach().clone() for key, tensor in generator.state_dict().items()}

    def _log(self, record: dict[str, Any], listen: Listener) -> None:
        record = finite(record)
        with self._log_path.open("a") as file:
            file.write(json.dumps(record) + "\n")
        host().announce("ganzoo_logged", recipe=self.recipe, seed=self.seed, record=record)
        listen(record)

    def _draw_if_due(self) -> None:
        """Pictures at the start, in the middle and at the end. Drawing has a random stream of its own."""
        if not self.draw or self.step not in (0, self.recipe.steps // 2, self.recipe.steps):
            return
        path = self.folder / "pictures" / f"step-{self.step:09d}.png"
        if not path.exists() or self.step == self.recipe.steps:
            x = sample(self.generator(), pictures.SHOWN, derive(self.seed, "picture")).x
            pictures.draw(self.dataset, x, path, f"{self.recipe.name}, seed {self.seed}, step {self.step:,}")

    # State ------------------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        for source in (random.seed, lambda seed: np.random.seed(seed % 2**32)):  # for parts that use them
            source(derive(self.seed, "global"))
        self.engine = Eager(self.recipe, self.dataset.part("train"), self.seed, self.device)
        self.step, self.best_step, self.best_validation, self.diverged_at = 0, None, None, None
        self.best: dict[str, Tensor] = {}
        self._log_length, self._seconds_before = 0, 0.0
        self._started = self._saved_at = time.monotonic()
        self._first_step = 0

    def _save(self) -> None:
        tensors = {**self.engine.tensors(), **{f"best.{name}": tensor for name, tensor in self.best.items()}}
        kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
        version, internal, gauss_next = random.getstate()
        tensors["rng.numpy"] = torch.from_numpy(np.asarray(keys).astype(np.int64))
        tensors["rng.python"] = torch.tensor(internal, dtype=torch.int64)
        meta = {
            "recipe": self.recipe.digest,
            "seed": self.seed,
            "consumed": self.engine.sampler.consumed,
            "best_step": self.best_step,
            "best_validation": self.best_validation,
            "log_length": self._log_path.stat().st_size,
            "seconds": self._seconds(),
            "numpy": [kind, position, has_gauss, gauss],
            "python": [version, gauss_next],
        }
        checkpoint.save(self.folder / "checkpoints", self.step, tensors, meta)
        self._saved_at = time.monotonic()

    def _restore(self, found: checkpoint.Checkpoint) -> None:
        meta, tensors = found.meta, found.tensors
        self.engine.load(tensors)
        self.engine.sampler.consumed = meta["consumed"]
        self.step, self.best_step, self.best_validation = found.step, meta["best_step"], meta["best_validation"]
        self.best = {k.removeprefix("best."): v.to(self.device) for k, v in tensors.items() if k.startswith("best.")}
        self._log_length, self._seconds_before, self._first_step = meta["log_length"], meta["seconds"], found.step
        kind, position, has_gauss, gauss = meta["numpy"]
        np.random.set_state((kind, tensors["rng.numpy"].numpy().astype(np.uint32), position, has_gauss, gauss))
        random.setstate((meta["python"][0], tuple(tensors["rng.python"].tolist()), meta["python"][1]))

    # The folder -------------------------------------------------------------------------------------------------------

    @property
    def _log_path(self) -> Path:
        return self.folder / "log.jsonl"

    def _truncate_log(self) -> None:
        """What was logged after the checkpoint will be logged again."""
        self._log_path.touch()
        with self._log_path.open("r+b") as file:
            file.truncate(min(self._log_length, self._log_path.stat().st_size))

    def _claim(self, resume: bool) -> None:
        path = self.folder / "recipe.json"
        definition = {"seed": self.seed, "digest": self.recipe.digest, "recipe": self.recipe.record()}
        if path.exists():
            held = definition_in(path)
            if (held["seed"], held["digest"]) != (self.seed, self.recipe.digest):
                raise OptionError(
                    f"{self.folder} holds another run: {held['recipe']['name']}, seed {held['seed']}, definition "
                    f"{held['digest']} and not {self.recipe.digest} "
                    f"({difference(held['recipe'], self.recipe.record())}). Choose another folder with --out"
                )
            if not resume:
                raise RunError(
                    f"{self.folder} already holds this run. Go on with --resume, or choose another folder with --out"
                )
        for leftover in self.folder.rglob(".*.tmp"):
            leftover.unlink()
        write_json(path, definition)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with filelock.FileLock(self.folder / ".lock", timeout=self.patience):
                yield
        except filelock.Timeout:
            raise LockedError(
                f"another process is working in {self.folder}; wait for it, or choose another folder with --out"
            ) from None

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """The first Ctrl-C (or a polite kill) stops after the records that are due; the second one stops at once."""
        self._stop = False

        def stop(number: int, _: Any) -> None:
            if self._stop and number == signal.SIGINT:
                raise KeyboardInterrupt
            self._stop = True

        try:
            before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not in the main thread: whoever runs the thread decides
            before = {}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _seconds(self) -> float:
        return self._seconds_before + time.monotonic() - self._started

    def _rate(self) -> float:
        return (self.step - self._first_step) / max(1e-9, time.monotonic() - self._started)

    def _outcome(self, status: Status) -> Outcome:
        return Outcome(
            status,
            self.step,
            self.recipe.steps,
            round(self._seconds(), 3),
            round(self._rate(), 1),
            self.best_step,
            self.best_validation,
            self.diverged_at,
        )


def pick_device(name: str) -> torch.device:
    """``auto`` is the best there is; anything else must be there."""
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, there in here.items() if there))
    if not here.get(name.partition(":")[0], False):
        raise OptionError(
            f"there is no device {name!r} here; there is {', '.join(k for k, there in here.items() if there)}"
        )
    return torch.device(name)


def definition_in(path: Path) -> dict[str, Any]:
    """What a run's ``recipe.json`` says: its seed, its recipe and the recipe's digest."""
    try:
        held = json.loads(path.read_bytes())
        return {key: held[key] for key in ("seed", "digest", "recipe")}
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path} is damaged ({type(error).__name__}: {error}), and without it nobody knows what was trained here. "
            "Choose another folder with --out"
        ) from None


def difference(old: Any, new: Any, at: str = "") -> str:
    """Where two JSON documents first differ, and how."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            if old.get(key) != new.get(key):
                return difference(old.get(key), new.get(key), f"{at}.{key}" if at else str(key))
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (a, b) in enumerate(zip(old, new, strict=True)):
            if a != b:
                return difference(a, b, f"{at}[{index}]")
    return f"{at}: {old!r:.60} there, {new!r:.60} here"
