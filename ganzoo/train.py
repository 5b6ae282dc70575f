"""One run: a recipe and a seed in a folder, with its log, its checkpoints and its pictures.

A run that is killed at any moment and resumed ends, on the CPU, with the same bits as one that was not.
"""

from __future__ import annotations

import copy
import json
import math
import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, final

import numpy as np
import torch
from torch import Tensor

from ganzoo import checkpoint, pictures
from ganzoo.dataset import Dataset
from ganzoo.device import pick_device
from ganzoo.engine.eager import Eager
from ganzoo.errors import OptionError
from ganzoo.evaluate import sample, validation
from ganzoo.files import finite
from ganzoo.folder import claim, locked
from ganzoo.generator import Generator
from ganzoo.plugins import host
from ganzoo.recipe import Recipe
from ganzoo.seeds import derive

Status = Literal["finished", "diverged", "interrupted"]
Listener = Callable[[Mapping[str, Any]], None]

#: A log has at least this many lines, where there are as many steps, and a line at least every so many steps. As often
#: a run looks whether it has diverged, is to be saved or is to stop: only there does the host wait for the device.
LINES: Final = 100
MOST_STEPS: Final = 50


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


@final
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
        self.log_every = min(MOST_STEPS, max(1, recipe.steps // LINES))
        self.evaluate_every = math.ceil(recipe.steps / recipe.evaluations)
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
        with locked(self.folder, self.patience), self._interruptible(), _own_randomness(self.device):
            claim(self.folder, self.recipe, self.seed, resume=resume)
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
        generator = self.engine.ema[self.recipe.model]
        if which == "best" and self.best:
            generator = copy.deepcopy(generator)
            generator.load_state_dict(self.best)
        return generator

    # The loop ---------------------------------------------------------------------------------------------------------

    def _loop(self, listen: Listener) -> Status:
        steps = self.recipe.steps
        pending: list[dict[str, Tensor]] = []
        if self.step == 0:
            self._save()  # a run that diverges at once must have something to go back to
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
        if math.isfinite(value) and (self.best_validation is None or value < self.best_validation):
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
        self._log_length, self._seconds_before, self._saved_step = 0, 0.0, 0
        self._started = self._saved_at = time.monotonic()

    def _save(self) -> None:
        tensors = {**self.engine.tensors(), **{f"best.{name}": tensor for name, tensor in self.best.items()}}
        kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
        version, internal, gauss_next = random.getstate()
        tensors["rng.numpy"] = torch.from_numpy(np.asarray(keys).astype(np.int64))
        tensors["rng.python"] = torch.tensor(internal, dtype=torch.int64)
        meta = {
            "recipe": self.recipe.digest,
            "seed": self.seed,
            "device": self.device.type,
            "consumed": self.engine.sampler.consumed,
            "best_step": self.best_step,
            "best_validation": self.best_validation,
            "log_length": self._log_path.stat().st_size,
            "seconds": self._seconds(),
            "numpy": [kind, position, has_gauss, gauss],
            "python": [version, gauss_next],
        }
        checkpoint.save(self.folder / "checkpoints", self.step, tensors, meta)
        self._saved_at, self._saved_step = time.monotonic(), self.step

    def _restore(self, found: checkpoint.Checkpoint) -> None:
        meta, tensors = found.meta, found.tensors
        if meta["device"] != self.device.type:
            raise OptionError(
                f"{self.folder} was trained on {meta['device']}, whose random state means nothing to "
                f"{self.device.type}: go on with --device {meta['device']}, or choose another folder with --out"
            )
        self.engine.load(tensors)
        self.engine.sampler.consumed = meta["consumed"]
        self.step, self.best_step, self.best_validation = found.step, meta["best_step"], meta["best_validation"]
        self.best = {k.removeprefix("best."): v.to(self.device) for k, v in tensors.items() if k.startswith("best.")}
        self._log_length, self._seconds_before, self._saved_step = meta["log_length"], meta["seconds"], found.step
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
        return self.step / max(1e-9, self._seconds())

    def _outcome(self, status: Status) -> Outcome:
        return Outcome(
            status,
            self._saved_step,
            self.recipe.steps,
            round(self._seconds(), 3),
            round(self._rate(), 1),
            self.best_step,
            self.best_validation,
            self.diverged_at,
        )


@contextmanager
def _own_randomness(device: torch.device) -> Iterator[None]:
    """What a run does with the random states that all code shares is undone for whoever called it."""
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield
    random.setstate(states[0])
    np.random.set_state(states[1])
