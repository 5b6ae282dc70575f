"""A run: a recipe and a seed in a folder, with its log, its checkpoints and its pictures. Several are trained together.

A run that is killed at any moment and resumed ends, on the CPU, with the same bits as one that was not.
"""

from __future__ import annotations

import copy
import json
import math
import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, final

import numpy as np
import torch
from torch import Tensor, nn

from ganzoo import checkpoint, pictures
from ganzoo.dataset import Dataset
from ganzoo.device import pick_device
from ganzoo.engine import AUTO, COMPILED, SINGLE, STACK, Choice, choose, make
from ganzoo.engine.base import Engine
from ganzoo.errors import GanzooError, OptionError
from ganzoo.evaluate import origin, sample, translations, validation
from ganzoo.files import finite
from ganzoo.folder import claim, locked
from ganzoo.generator import Generator, Translator
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
    """How a run ended: ``step`` is the last one whose state is kept; ``seconds`` counts every attempt's own time, and
    of a stack's time its share."""

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

    engine: Engine

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
        self.step = 0
        self.best_step: int | None = None
        self.best_validation: float | None = None
        self.diverged_at: int | None = None
        self.best: dict[str, Tensor] = {}
        self._log_length, self.seconds_before, self._saved_step = 0, 0.0, 0

    def train(self, *, resume: bool = False, listen: Listener = lambda record: None, engine: str = AUTO) -> Outcome:
        """Train to the end, to divergence or to an interruption (Ctrl-C), and keep a checkpoint in every case.

        Args:
            resume: go on from the newest whole checkpoint; without it a folder that holds a run is refused.
            listen: called with every record of the log.
            engine: ``auto``, ``stack`` or ``single``.

        Raises:
            LockedError: another process works in the folder.
            RunError: the folder holds another run, or a run and ``resume`` is not set.
        """
        ((_, outcome),) = together([self], resume=resume, listen=lambda run, record: listen(record), engine=engine)
        return outcome

    def generator(self, which: Literal["last", "best"] = "last") -> Generator:
        """The averaged generator of the last step, or of the best one by validation."""
        generator = self.engine.generator(self._index)
        if which == "best" and self.best:
            generator = copy.deepcopy(generator)
            generator.load_state_dict(self.best)
        return generator

    def network(self, player: str) -> nn.Module:
        """A player's network as it is now, not averaged."""
        return self.engine.network(self._index, player)

    def validate(self, record: dict[str, Any]) -> None:
        generator = self.generator()
        value = validation(generator, self.dataset, self.seed)
        record["validation"] = value
        if math.isfinite(value) and (self.best_validation is None or value < self.best_validation):
            self.best_step, self.best_validation = self.step, value
            self.best = {key: tensor.detach().clone() for key, tensor in generator.state_dict().items()}

    def log(self, record: dict[str, Any], listen: Listener) -> None:
        record = finite(record)
        with self._log_path.open("a") as file:
            file.write(json.dumps(record) + "\n")
        host().announce("ganzoo_logged", recipe=self.recipe, seed=self.seed, record=record)
        listen(record)

    def draw_if_due(self) -> None:
        """Pictures at the start, in the middle and at the end. Drawing has a random stream of its own."""
        if not self.draw or self.step not in (0, self.recipe.steps // 2, self.recipe.steps):
            return
        path = self.folder / "pictures" / f"step-{self.step:09d}.png"
        if not path.exists() or self.step == self.recipe.steps:
            self._draw(path, f"{self.recipe.name}, seed {self.seed}, step {self.step:,}")

    def _draw(self, path: Path, title: str) -> None:
        generator, n, seed = self.generator(), pictures.count(self.dataset.shape), derive(self.seed, "picture")
        if isinstance(generator, Translator) and len(self.dataset.shape) == 3:
            shown = translations(generator, self.dataset)
            pictures.draw_rows(self.dataset.described(), shown.x, path, title, shown.names)
        else:
            start = origin(generator, self.dataset, n, "held-out", seed)
            n = n if start is None else len(start.x)
            pictures.draw(self.dataset, sample(generator, n, seed, batch=start).x, path, title)

    # State ------------------------------------------------------------------------------------------------------------

    def found(self, resume: bool, listen: Callable[[Run, Mapping[str, Any]], None]) -> checkpoint.Checkpoint | None:
        """The checkpoint to go on from."""
        found = checkpoint.load(self.folder / "checkpoints") if resume else None
        for message in found.damaged if found else ():
            listen(self, {"warning": f"damaged checkpoint passed over: {message}; going on from step {found.step}"})  # pyright: ignore[reportOptionalMemberAccess]
        if found and found.meta["device"] != self.device.type:
            raise OptionError(
                f"{self.folder} was trained on {found.meta['device']}, whose random state means nothing to "
                f"{self.device.type}: go on with --device {found.meta['device']}, or choose another folder with --out"
            )
        return found

    def attach(self, engine: Engine, found: checkpoint.Checkpoint | None) -> None:
        """Become one of the runs of an engine, where the checkpoint says or at the beginning."""
        self.engine, self._index = engine, engine.seeds.index(self.seed)
        if found is not None:
            if found.meta.get("data") not in (None, self._data):
                raise OptionError(
                    f"{self.folder} was trained on other data than {self.recipe.dataset.name} gives now: bring those "
                    "back, or choose another folder with --out"
                )
            self._restore(found)
        self._truncate_log()

    def save(self, seconds: float) -> None:
        state = self.engine.tensors(self._index, self.step)
        tensors = {**state, **{f"best.{name}": tensor for name, tensor in self.best.items()}}
        kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
        version, internal, gauss_next = random.getstate()
        tensors["rng.numpy"] = torch.from_numpy(np.asarray(keys).astype(np.int64))
        tensors["rng.python"] = torch.tensor(internal, dtype=torch.int64)
        meta = {
            "recipe": self.recipe.digest,
            "seed": self.seed,
            "device": self.device.type,
            "data": self._data,
            "engine": self.engine.name,
            "best_step": self.best_step,
            "best_validation": self.best_validation,
            "log_length": self._log_path.stat().st_size,
            "seconds": seconds,
            "numpy": [kind, position, has_gauss, gauss],
            "python": [version, gauss_next],
        }
        checkpoint.save(self.folder / "checkpoints", self.step, tensors, meta)
        self._saved_step = self.step

    def freeze(self) -> None:
        """It diverged: it goes back to what was saved of it, and the others of its engine go on."""
        if (found := checkpoint.load(self.folder / "checkpoints")) is not None:
            self.engine.freeze(self._index, found.step, found.tensors)

    def _restore(self, found: checkpoint.Checkpoint) -> None:
        meta, tensors = found.meta, found.tensors
        self.engine.load(self._index, found.step, tensors)
        self.step, self.best_step, self.best_validation = found.step, meta["best_step"], meta["best_validation"]
        self.best = {k.removeprefix("best."): v.to(self.device) for k, v in tensors.items() if k.startswith("best.")}
        self._log_length, self.seconds_before, self._saved_step = meta["log_length"], meta["seconds"], found.step
        kind, position, has_gauss, gauss = meta["numpy"]
        np.random.set_state((kind, tensors["rng.numpy"].numpy().astype(np.uint32), position, has_gauss, gauss))
        random.setstate((meta["python"][0], tuple(tensors["rng.python"].tolist()), meta["python"][1]))

    @cached_property
    def _data(self) -> str | None:
        """The hash of the samples, where they can change under their name."""
        self.dataset.stored("train")  # what is not read yet may not be known
        return self.dataset.provenance.get("sha256")

    # The folder -------------------------------------------------------------------------------------------------------

    @property
    def _log_path(self) -> Path:
        return self.folder / "log.jsonl"

    def _truncate_log(self) -> None:
        """What was logged after the checkpoint will be logged again."""
        self._log_path.touch()
        with self._log_path.open("r+b") as file:
            file.truncate(min(self._log_length, self._log_path.stat().st_size))

    def outcome(self, status: Status, seconds: float) -> Outcome:
        return Outcome(
            status,
            self._saved_step,
            self.recipe.steps,
            round(seconds, 3),
            round(self.step / max(1e-9, seconds), 1),
            self.best_step,
            self.best_validation,
            self.diverged_at,
        )


# The loop -------------------------------------------------------------------------------------------------------------


def together(
    runs: Sequence[Run],
    *,
    resume: bool = False,
    listen: Callable[[Run, Mapping[str, Any]], None] = lambda run, record: None,
    engine: str = AUTO,
    refused: Callable[[Run, GanzooError], None] | None = None,
) -> Iterator[tuple[Run, Outcome]]:
    """Train runs of one recipe, as few programs as that takes, and yield each as it is over, its engine still there.

    Runs that go on do so with the engine that they began with; those that are not at the same step do so one program
    after the other. Arguments and errors are those of `Run.train`; with ``refused``, a run that cannot begin is left
    out, and it hears why.
    """
    with ExitStack() as stack:
        found: dict[Run, checkpoint.Checkpoint | None] = {}
        for run in runs:
            try:
                stack.enter_context(locked(run.folder, run.patience))
                claim(run.folder, run.recipe, run.seed, resume=resume)
                found[run] = run.found(resume, listen)
            except GanzooError as error:
                if refused is None:
                    raise
                refused(run, error)
        for run in found:
            run.dataset = runs[0].dataset  # they have one recipe: there is no need of a copy each
        for choice, program, at in list(_programs(found, engine)):
            if at[0] and engine not in (AUTO, STACK if choice.name == COMPILED else choice.name):
                why = "since another would round otherwise; --engine is for runs that begin"
                listen(program[0], {"warning": f"goes on by the engine that it began with, {choice.name}, {why}"})
            yield from _Program(choice, program, at, listen).outcomes()


def _programs(
    found: Mapping[Run, checkpoint.Checkpoint | None], asked: str
) -> Iterator[tuple[Choice, list[Run], list[checkpoint.Checkpoint | None]]]:
    """Which runs take their steps together, by which engine, from which checkpoints."""
    first = min((each.step for each in found.values() if each), default=0)
    groups: dict[tuple[int, str], dict[Run, checkpoint.Checkpoint | None]] = {}
    for run, each in found.items():
        if each and each.step > first:  # one of several that were killed while they were saved, one by one
            each = checkpoint.load(run.folder / "checkpoints", first) or each
        key = (each.step, str(each.meta.get("engine", SINGLE))) if each else (0, "")
        groups.setdefault(key, {})[run] = each
    for (_, name), group in groups.items():
        members = list(group)
        choice = Choice(name) if name else _chosen(members, asked)
        for part in [[run] for run in members] if choice.name == SINGLE else [members]:
            yield choice, part, [group[run] for run in part]


def _chosen(runs: list[Run], asked: str) -> Choice:
    run = runs[0]
    return choose(run.recipe, run.dataset.stored("train"), len(runs), run.device, asked)


@final
class _Program:
    """Runs that take their steps together."""

    def __init__(
        self,
        choice: Choice,
        runs: list[Run],
        found: list[checkpoint.Checkpoint | None],
        listen: Callable[[Run, Mapping[str, Any]], None],
    ) -> None:
        self.choice, self.runs, self.found, self.listen = choice, runs, found, listen
        self.recipe, self.device = runs[0].recipe, runs[0].device
        self.log_every, self.evaluate_every = runs[0].log_every, runs[0].evaluate_every
        self._stop = False

    def outcomes(self) -> Iterator[tuple[Run, Outcome]]:
        with self._interruptible(), _own_randomness(self.device):
            self._begin()
            how = {"engine": self.engine.name, "together": len(self.runs), "why": self.choice.why}
            for run in self.runs:
                self.listen(run, how)
                host().announce("ganzoo_started", recipe=run.recipe, seed=run.seed, folder=run.folder)
            interrupted = self._loop()
            seconds = self._seconds() / len(self.runs)
        for run in self.runs:
            status: Status = "diverged" if run.diverged_at is not None else "finished"
            status = "interrupted" if interrupted and status == "finished" else status
            host().announce("ganzoo_finished", recipe=run.recipe, seed=run.seed, folder=run.folder, status=status)
            yield run, run.outcome(status, seconds)

    def _begin(self) -> None:
        for source in (random.seed, lambda seed: np.random.seed(seed % 2**32)):  # for parts that use them
            source(derive(self.runs[0].seed, "global"))
        train = self.runs[0].dataset.stored("train")
        self.engine = make(self.choice, self.recipe, train, [run.seed for run in self.runs], self.device)
        for run, found in zip(self.runs, self.found, strict=True):
            run.attach(self.engine, found)
        self.step, self._before = self.runs[0].step, max(run.seconds_before for run in self.runs)
        self._started = self._saved_at = time.monotonic()

    @property
    def _live(self) -> list[Run]:
        return [run for run in self.runs if run.diverged_at is None]

    def _loop(self) -> bool:
        """Whether it was interrupted."""
        steps = self.recipe.steps
        pending: list[dict[str, Tensor]] = []
        if self.step == 0:
            self._save()  # a run that diverges at once must have something to go back to
        while self.step < steps and self._live:
            for run in self._live:
                run.draw_if_due()
            due = any((self.step + 1) % every == 0 for every in (self.log_every, self.evaluate_every, steps))
            pending.append(self.engine.step(self.step, observe=due))
            self.step += 1
            if due:
                self._record(pending)
                pending = []
                if self._stop or self.step == steps or time.monotonic() - self._saved_at >= self._save_every:
                    self._save()
                if self._stop and self.step < steps:
                    return True
        for run in self._live:
            run.draw_if_due()
        return False

    @property
    def _save_every(self) -> float:
        return min(run.checkpoint_seconds for run in self.runs)

    def _save(self) -> None:
        for run in self._live:
            run.step = self.step
            run.save(self._seconds())
        self._saved_at = time.monotonic()

    def _record(self, pending: list[dict[str, Tensor]]) -> None:
        """The means since the last record, read from the device in one go; notes divergences and their steps."""
        # A lazy term is not there at every step; what is observed besides belongs to no player, and is no loss.
        names = list(dict.fromkeys(name for row in pending for name in row if "/" in name))
        absent = torch.zeros(len(self.runs), device=self.device)
        rows = [torch.stack([row.get(name, absent).float().expand_as(absent) for name in names]) for row in pending]
        table = torch.stack(rows).cpu()  # (steps, names, runs)
        there = torch.tensor([[name in row for name in names] for row in pending])
        means = (table.sum(0) / there.sum(0)[:, None]).T.tolist()
        extra = {name: value.float().expand_as(absent).tolist() for name, value in pending[-1].items()}
        for note in self.engine.take_notes():
            self.listen(self.runs[0], {"warning": note})
        whole = self.engine.finite()
        seconds = self._seconds()
        for index, run in enumerate(self.runs):
            if run.diverged_at is not None:
                continue
            run.step = self.step
            bad = (~table[:, :, index].isfinite()).any(1)
            if bad.any() or not whole[index]:
                first = int(bad.int().argmax()) if bad.any() else len(pending) - 1
                run.diverged_at = self.step - len(pending) + first + 1
            observed = {name: values[index] for name, values in extra.items() if name not in names}
            record = {
                "step": self.step,
                "steps": self.recipe.steps,
                "losses": dict(zip(names, means[index], strict=True)),
                **({"observed": observed} if observed else {}),
                "seconds": round(seconds, 3),
                "steps_per_second": round(self.step / max(1e-9, seconds), 1),
            }
            self._tell(run, record)

    def _tell(self, run: Run, record: dict[str, Any]) -> None:
        listen = lambda record: self.listen(run, record)  # noqa: E731
        if run.diverged_at is not None:
            run.log({"step": self.step, "diverged_at": run.diverged_at}, listen)
            if len(self.runs) > 1:
                run.freeze()
            return
        if self.step % self.evaluate_every == 0 or self.step == self.recipe.steps:
            run.validate(record)
        run.log(record, listen)

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
        return self._before + time.monotonic() - self._started


@contextmanager
def _own_randomness(device: torch.device) -> Iterator[None]:
    """What a run does with the random states that all code shares is undone for whoever called it."""
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield
    random.setstate(states[0])
    np.random.set_state(states[1])
