"""Python that is warm, for shells: what does `python -m MODULE` or `python -c CODE` in a process that is forked from a
server with everything imported. A fresh interpreter would spend seconds on that.

A client, which imports nothing to speak of, sends its words, folder, variables and open files to a server, and ends as
the process does that the server forks. That is a real process, and the packages of its environment count.
"""

from __future__ import annotations

import json
import os
import runpy
import shlex
import site
import socket
import sys
import sysconfig
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import current_process
from multiprocessing.connection import arbitrary_address
from pathlib import Path

from processes import keep_warm, server

CLIENT = """
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect(sys.argv[1])
    asked = json.dumps([sys.argv[2:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [len(asked).to_bytes(8)], [0, 1, 2])
    server.sendall(asked)
    code = int.from_bytes(server.recv(8), signed=True)
if code < 0:
    os.kill(os.getpid(), -code)
os._exit(code)
"""


class WarmPython:
    """A server for the environment in ``prefix``, for as long as this process lives."""

    def __init__(self, prefix: Path) -> None:
        self.address = arbitrary_address("AF_UNIX")  # a short one: the system takes no long ones
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.address)
        listener.listen()
        server().Process(target=_serve, args=(listener, prefix), daemon=True).start()
        listener.close()

    @property
    def command(self) -> str:
        """What a shell runs in place of `python`; the next word must be ``-m`` or ``-c``."""
        return shlex.join([sys.executable, "-IS", "-c", CLIENT, self.address])


def _serve(listener: socket.socket, prefix: Path) -> None:
    current_process().daemon = False  # what is forked here may have children
    client, _ = listener.accept()
    while os.fork():
        client.close()
        client, _ = listener.accept()
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:  # those who have answered
                pass
    listener.close()
    length, descriptors, *_ = socket.recv_fds(client, 8, 3)
    words, folder, variables = json.loads(client.recv(int.from_bytes(length), socket.MSG_WAITALL))
    if pid := os.fork():
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        client.send(code.to_bytes(8, signed=True))
        os._exit(0)
    client.close()
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    keep_warm()
    _move_to(prefix)
    _run(words)


def _move_to(prefix: Path) -> None:
    """Be the Python of another environment, with what is installed into it by now."""
    sys.prefix = sys.exec_prefix = str(prefix)
    sys.executable = str(prefix / "bin" / "python")
    stdlib = sysconfig.get_path("stdlib")
    sys.path[:] = ["", stdlib, f"{stdlib}/lib-dynload"]
    (packages,) = (prefix / "lib").glob("python*/site-packages")
    site.addsitedir(str(packages))
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)


def _run(words: Sequence[str]) -> None:
    """As ``python`` does: ``-m MODULE …`` or ``-c CODE …``."""
    how, what, *rest = words
    sys.argv = [how, *rest]
    if how == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})
