"""`ganzoo` in processes of its own: as a fresh interpreter, or forked from a server that has everything imported.

A fresh interpreter costs seconds of imports; a forked one a tenth of a second. Both are real processes running the real
command line, with files for their output, that can be killed.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from ganzoo.executor import LocalProcesses
from ganzoo.plugins import LOAD

COMMAND = [sys.executable, "-m", "ganzoo"]
SECONDS = 120.0  # more than anything here takes

PRELOAD = ["ganzoo.executor", "ganzoo.preload", "ganzoo.progress", "ganzoo.sampling"]
# Under the Hub's client, which reads the environment when it is imported; of the HTTP libraries one is there.
PRELOAD += ["click", "rich.live", "tqdm.auto", "yaml", "anyio", "httpx", "httpx2"]


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    code: int
    out: str
    err: str


def environment(*paths: Path, **more: str) -> dict[str, str]:
    """This one's, wide enough that no line is broken; ``paths`` are where the plugins are that count."""
    known = {**os.environ, "COLUMNS": "240"}
    if paths:
        before = [known["PYTHONPATH"]] if known.get("PYTHONPATH") else []
        known |= {LOAD: ",".join(plugins_in(*paths)), "PYTHONPATH": os.pathsep.join([*map(str, paths), *before])}
    return {**known, **more}


def plugins_in(*paths: Path) -> list[str]:
    """The names of the distributions in folders that are on the path."""
    found = [file.read_text() for path in paths for file in path.glob("*.dist-info/METADATA")]
    return [line.removeprefix("Name: ") for text in found for line in text.splitlines() if line.startswith("Name: ")]


def ran(words: Iterable[object], *, cwd: Path, env: dict[str, str], **options: Any) -> Ended:
    """Run a command to its end, with nothing to read."""
    done = subprocess.run(
        [*map(str, words)],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        stdin=subprocess.DEVNULL,
        check=False,
        **options,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def command(*args: object, cwd: Path, env: dict[str, str] | None = None, **options: Any) -> Ended:
    """Run `ganzoo` in a fresh interpreter to its end."""
    return ran([*COMMAND, *args], cwd=cwd, env=env or environment(), **options)


class Process:
    """A running `ganzoo` that leads a process group of its own. As a context manager it leaves nothing behind."""

    def __init__(self, cwd: Path) -> None:
        self.log = cwd / ".output"
        self.log.mkdir(parents=True, exist_ok=True)
        self.out, self.err = (self.log / f"{time.monotonic_ns()}.{name}" for name in ("out", "err"))
        for path in (self.out, self.err):
            path.touch()

    pid: int

    def poll(self) -> int | None:
        raise NotImplementedError

    def send(self, number: int) -> None:
        """A signal to this process alone."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """As a power cut would."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()

    def until(self, look: Callable[[], Any]) -> None:
        """Wait for ``look`` to find something, while this process lives."""
        wait_for(lambda: look() or self.poll() is not None)
        assert look() or self.poll() is None, f"it ended first: {self.err.read_text()}"

    def wait(self) -> Ended:
        code = wait_for(self.poll, lambda code: code is not None)
        return Ended(code, self.out.read_text(), self.err.read_text())

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        if self.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
            self.wait()


class Fresh(Process):
    """`ganzoo` in a fresh interpreter."""

    def __init__(self, *args: object, cwd: Path, env: dict[str, str] | None = None) -> None:
        super().__init__(cwd)
        with self.out.open("w") as out, self.err.open("w") as err:
            self.process = subprocess.Popen(
                [*COMMAND, *map(str, args)],
                cwd=cwd,
                env=env or environment(),
                stdout=out,
                stderr=err,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.pid = self.process.pid

    def poll(self) -> int | None:
        return self.process.poll()


class Forked(Process):
    """`ganzoo` forked from a server that has everything imported, or Python, if the first word is ``-c``.

    ``file_size`` is the most bytes a file may get, ``env`` what its environment has besides.
    """

    def __init__(
        self, *args: object, cwd: Path, file_size: int | None = None, env: dict[str, str] | None = None
    ) -> None:
        super().__init__(cwd)
        self.process = server().Process(
            target=_ganzoo, args=([*map(str, args)], cwd, self.out, self.err, file_size, env or {}), daemon=False
        )
        self.process.start()
        assert self.process.pid is not None
        self.pid = self.process.pid

    def poll(self) -> int | None:
        return self.process.exitcode


def forked(*args: object, cwd: Path, env: dict[str, str] | None = None) -> Ended:
    """Run `ganzoo` to its end, forked."""
    with Forked(*args, cwd=cwd, env=env) as process:
        return process.wait()


def server() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    return context


def _ganzoo(args: list[str], cwd: Path, out: Path, err: Path, file_size: int | None, env: dict[str, str]) -> None:
    os.setpgrp()
    keep_warm()
    os.environ.update({"COLUMNS": "240"} | env)
    sys.path[:0] = filter(None, env.get("PYTHONPATH", "").split(os.pathsep))
    os.chdir(cwd)
    for path, number in ((out, 1), (err, 2)):
        descriptor = os.open(path, os.O_WRONLY)
        os.dup2(descriptor, number)
        os.close(descriptor)
    if file_size is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    sys.argv = ["ganzoo", *args]
    if args[0] == "-c":
        exec(args[1], {"__name__": "__main__"})
        return
    from ganzoo.cli import main

    main()


def keep_warm() -> None:
    """What multiprocessing starts a fresh interpreter for, a fork of this process does: a bench has a server too."""
    multiprocessing.util.spawnv_passfds = _forked_instead  # pyright: ignore[reportAttributeAccessIssue]


def _forked_instead(_: object, words: list[str], descriptors: Iterable[int]) -> int:
    if pid := os.fork():
        return pid
    try:
        kept = sorted({0, 1, 2, *descriptors})
        for one, next_one in pairwise([*kept, os.sysconf("SC_OPEN_MAX")]):
            os.closerange(one + 1, next_one)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        exec(words[-1], {"__name__": "__main__"})
    finally:
        os._exit(0)


def wait_for(look: Callable[[], Any], good: Callable[[Any], bool] = bool, seconds: float = SECONDS) -> Any:
    """What ``look`` finds once it is ``good``."""
    end = time.monotonic() + seconds
    while not good(found := look()):
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:g} s for {look}")
        time.sleep(0.002)
    return found


def local(jobs: int = 2) -> LocalProcesses:
    """The executor of the bench, with its server already warm."""
    server().Process(target=_nothing).start()
    return LocalProcesses(jobs)


def _nothing() -> None:
    pass


def distribution(folder: Path, name: str, source: str) -> Path:
    """An installed distribution ``name`` whose one module is a ganzoo plugin; ``folder`` goes on the path."""
    module = name.replace("-", "_")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{module}.py").write_text(source)
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[ganzoo]\nmain = {module}\n")
    return folder


def same(a: Path, b: Path, names: Iterable[str]) -> bool:
    """Whether the files ``names`` in two folders are equal, byte for byte."""
    return all((a / name).read_bytes() == (b / name).read_bytes() for name in names)
