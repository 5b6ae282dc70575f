"""Where runs are carried out: a job is one run with its evaluation; an executor carries out many."""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import os
import pickle
import signal
import sys
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, final

import torch

from ganzoo import meter, model, pictures, sides
from ganzoo.engine import AUTO, widths
from ganzoo.errors import ExportError, GanzooError
from ganzoo.evaluate import FAILED, evaluate, metrics
from ganzoo.files import finite, write_json
from ganzoo.game import DISCRIMINATOR
from ganzoo.metric import Metric
from ganzoo.plugins import host
from ganzoo.provenance import environment
from ganzoo.recipe import Recipe
from ganzoo.train import Outcome, Run, together

RESULT = "result.json"
Result = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Job:
    """One run of a bench. It travels to other processes and machines, so it is plain data."""

    recipe: Recipe
    seed: int
    folder: Path
    device: str = "auto"
    draw: bool = True
    checkpoint_seconds: float = 15.0
    patience: float = 0.0
    measure: bool = False  # every divergence, by fresh critics
    control: bool = False  # and between halves of the real data
    engine: str = AUTO
    metrics: tuple[str, ...] = ()  # those that are measured on request only

    @property
    def label(self) -> str:
        return f"{self.recipe.name} seed {self.seed}"

    def result(self) -> Result | None:
        """What was found if this very run has ended before, and all that is asked for now was asked for then."""
        found = self.before()
        return None if found is None or self._lacks(found) else found

    def before(self) -> Result | None:
        """What was found if this very run has ended before."""
        try:
            found = json.loads((self.folder / RESULT).read_bytes())
        except (OSError, ValueError):
            return None
        mine = isinstance(found, dict) and (found.get("digest"), found.get("seed")) == (self.recipe.digest, self.seed)
        return found if mine else None

    def _lacks(self, found: Result) -> bool:
        asked = {"divergences": self.measure, "control": self.control}
        lacks = any(asks and name not in found for name, asks in asked.items())
        return found.get("status") == "finished" and (lacks or any(self.open(name, found) for name in self.metrics))

    def open(self, name: str, found: Result) -> bool:
        """Whether a metric was not asked for by then, or failed."""
        score = found["metrics"].get(name, {})
        return name not in found.get("asked", found["metrics"]) or str(score.get("how", "")).startswith(FAILED)


def carry_out(
    jobs: Sequence[Job],
    listen: Callable[[Job, Mapping[str, Any]], None] = lambda job, record: None,
    *,
    resume: bool = True,
) -> Iterator[tuple[Job, Result]]:
    """Train jobs of one recipe together; of each: measure on the held-out part, export, write ``result.json``.

    Of one that has ended before, what is there is only read.
    """
    todo: list[Job] = []
    for job in jobs:
        if resume and (found := job.result()):
            yield job, found
        else:
            todo.append(job)
    runs = {
        Run(
            job.recipe,
            job.seed,
            job.folder,
            device=job.device,
            draw=job.draw,
            checkpoint_seconds=job.checkpoint_seconds,
            patience=job.patience,
        ): job
        for job in todo
    }

    def heard(run: Run, record: Mapping[str, Any]) -> None:
        listen(runs[run], record)

    if not runs:
        return
    refusals: dict[Job, GanzooError] = {}
    refused = (lambda run, error: refusals.update({runs[run]: error})) if len(jobs) > 1 else None
    for run, outcome in together(list(runs), resume=resume, listen=heard, engine=todo[0].engine, refused=refused):
        yield runs[run], _result(runs[run], run, outcome)
    for job, error in refusals.items():
        yield job, {"status": "failed", "error": str(error)}


def _result(job: Job, run: Run, outcome: Outcome) -> Result:
    """What the run came to; of one that had ended before, what is new is added to what was found then."""
    before = job.before()
    if before is not None and outcome.status == "finished" and _same(before, outcome):
        _add_measured(before, job, run)
        write_json(job.folder / RESULT, before)
        return before
    result: Result = {
        "recipe": job.recipe.name,
        "digest": job.recipe.digest,
        "seed": job.seed,
        **asdict(outcome),
        "engine": run.engine.name,
        "together": len(run.engine.seeds),
        "environment": environment(run.device),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "metrics": {},
    }
    if outcome.status == "interrupted":
        return result
    if outcome.status == "finished":
        _add_measured(result, job, run)
    result["peak_memory_mib"] = _peak_memory()
    write_json(job.folder / RESULT, result)
    return result


def _same(before: Result, outcome: Outcome) -> bool:
    """Whether it was not trained again since."""
    now = finite(asdict(outcome))
    return all(before.get(key) == now[key] for key in ("status", "step", "best_step", "best_validation"))


def _add_measured(result: Result, job: Job, run: Run) -> None:
    """Measure what was not measured yet, and export the model with all numbers."""
    wanted = metrics() | metrics(job.metrics)
    todo = {n: m for n, m in wanted.items() if job.open(n, result)}
    result["metrics"] = {**result["metrics"], **_measured(run, job.seed, todo)}
    result["asked"] = [*dict.fromkeys([*result.get("asked", result["metrics"]), *todo])]
    result |= _divergences(job, run)
    export(job, run, result)


def _peak_memory() -> float | None:
    """Of this process, in MiB; none where the system does not say."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def _measured(run: Run, seed: int, chosen: Mapping[str, Metric]) -> dict[str, Any]:
    last = evaluate(run.generator("last"), run.dataset, seed, chosen)
    best = last if run.best_step == run.step else evaluate(run.generator("best"), run.dataset, seed, chosen)
    for name, score in last.items():
        if score.picture is not None:
            path = run.folder / "pictures" / f"{name.replace(':', '-')}.png"
            pictures.draw_rows(run.dataset.described(), score.picture, path, f"{name}: {score.how}")
    return {
        name: {"last": score.value, "best": best[name].value, "how": score.how, "detail": dict(score.detail)}
        for name, score in last.items()
        if name in best
    }


def _divergences(job: Job, run: Run) -> Result:
    """What fresh critics say of the last step's generator, and of the data's two halves."""
    found: Result = {}
    if not (job.measure or job.control):
        return found
    real, device = sides.of_dataset(run.dataset), run.device
    if job.measure:
        fake = sides.of_generator(run.generator("last"), run.dataset).draw(job.seed).to(device)
        found["divergences"] = finite(meter.matrix(real.draw(job.seed).to(device), fake, job.seed))
    if job.control:
        one, other = (half.to(device) for half in real.halves(job.seed))
        found["control"] = finite(meter.matrix(one, other, job.seed))
    return found


def export(job: Job, run: Run, result: Result) -> None:
    """The model of a finished run: the last step's averaged generator, never the best one, and its discriminator."""
    provenance = {
        "seed": job.seed,
        "step": result["step"],
        "when": result["when"],
        "weights": "last step, exponential moving average",
        "environment": result["environment"],
        "metrics": {name: value["last"] for name, value in result["metrics"].items()},
    }
    try:
        critic = run.network(DISCRIMINATOR) if DISCRIMINATOR in job.recipe.players else None
        model.export(job.folder / "model", job.recipe, run.generator("last"), provenance, critic)
    except ExportError as error:  # what was measured is worth keeping all the same
        result["no_model"] = str(error)


class Executor(ABC):
    """Carries out jobs, somewhere. A cluster engine is a plugin with another leaf."""

    @abstractmethod
    def run(
        self, jobs: Sequence[Job], listen: Callable[[Job, Mapping[str, Any]], None]
    ) -> Iterator[tuple[Job, Result]]:
        """Yield each job with its result as it ends.

        A job that raises or whose process dies has the status ``failed`` and an ``error``; it does not stop the others.
        ``listen`` hears the records of their logs.
        """


@final
@dataclass(frozen=True)
class LocalProcesses(Executor):
    """Processes with one thread each, ``jobs`` at a time: small networks do not profit from more threads.

    The seeds of a recipe share a process, where they may be trained together; where there are fewer recipes than
    processes, several share them. The processes are forked from a server that has torch loaded, so that only the first
    one pays for importing it.
    """

    jobs: int = 1

    def run(
        self, jobs: Sequence[Job], listen: Callable[[Job, Mapping[str, Any]], None]
    ) -> Iterator[tuple[Job, Result]]:
        context = _context()
        waiting = shares(jobs, self.jobs)
        running: dict[Connection, tuple[list[Job], BaseProcess]] = {}
        try:
            while waiting or running:
                while waiting and len(running) < self.jobs:
                    share = waiting.pop(0)
                    try:
                        connection, process = _start(context, share)
                    except (TypeError, AttributeError, pickle.PicklingError) as error:
                        why = {"status": "failed", "error": f"it cannot travel to another process: {error}"}
                        yield from ((job, why) for job in share)
                        continue
                    running[connection] = share, process
                for connection in wait(list(running)):
                    assert isinstance(connection, Connection)
                    share, process = running[connection]
                    kind, index, content = _receive(connection, process)
                    if kind == "record":
                        listen(share[index], content)
                    elif kind == "result":
                        yield share[index], content
                        share[index] = None  # pyright: ignore
                    else:
                        del running[connection]
                        connection.close()
                        process.join()
                        yield from ((job, content) for job in share if job is not None)
        finally:
            for connection, (_, process) in running.items():  # interrupted: each writes a checkpoint and ends
                process.terminate()
                connection.close()  # whoever waits to be heard must not wait for ever
            for _, process in running.values():
                process.join()


def shares(jobs: Sequence[Job], processes: int = 1) -> list[list[Job]]:
    """Jobs that may be carried out together, where so many processes are there for all of them."""
    alike: dict[Any, list[Job]] = {}
    for job in jobs:
        alike.setdefault((job.recipe.digest, job.device, job.engine), []).append(job)
    at_once = max(1, processes // max(1, len(alike)))
    shares: list[list[Job]] = []
    for (_, _, engine), group in alike.items():
        for width in widths(len(group), at_once, engine):
            shares.append(group[:width])
            group = group[width:]
    return shares


def _context() -> BaseContext:
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ganzoo.executor", "ganzoo.preload"])
    return context


def _start(context: BaseContext, jobs: list[Job]) -> tuple[Connection, BaseProcess]:
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(jobs, sender), name=jobs[0].label)  # pyright: ignore[reportAttributeAccessIssue]
    process.start()
    sender.close()
    return receiver, process


def _receive(connection: Connection, process: BaseProcess) -> tuple[str, int, Any]:
    try:
        return connection.recv()
    except (EOFError, OSError):  # it ended before a message, or within one
        process.join()
        why = f"its process died with exit code {process.exitcode}"
        return "end", 0, {"status": "failed", "error": why}


def _child(jobs: list[Job], connection: Connection) -> None:
    # A Ctrl-C at the terminal reaches everybody; outside of training it is the parent's alone, which ends its children.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    with contextlib.redirect_stderr(io.StringIO()):
        host()  # whoever started this has said already which plugins are broken
    place = {job: index for index, job in enumerate(jobs)}

    def tell(job: Job, record: Mapping[str, Any]) -> None:
        try:
            connection.send(("record", place[job], dict(record)))
        except OSError:  # nobody listens any more: stop as if asked to, with a checkpoint
            os.kill(os.getpid(), signal.SIGTERM)

    end: Result = {"status": "failed", "error": "it ended without a result"}
    try:
        with _one_thread():
            for job, result in carry_out(jobs, tell):
                with contextlib.suppress(OSError):
                    connection.send(("result", place[job], result))
    except GanzooError as error:
        end = {"status": "failed", "error": str(error)}
    except KeyboardInterrupt:
        end = {"status": "interrupted"}
    except Exception as error:
        trace = traceback.format_exc()
        end = {"status": "failed", "error": f"{type(error).__name__}: {error}", "traceback": trace}
    with contextlib.suppress(OSError):
        connection.send(("end", 0, end))


def _one_thread() -> Any:
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1)
