"""The desk of a plugin's author: an environment that has all that this one has, but for plugins, and keeps what is
installed into it.

Making one takes a tenth of a second, since nothing is copied. What pip, pytest and ganzoo do there is real.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from processes import Ended, ran
from warm import WarmPython

HERE = Path(sys.executable).parent
#: Programs, and for each the first words with which it gets a fresh interpreter; with others it gets a warm one. Fresh
#: is whatever asks about the environment itself, or imports no torch.
PROGRAMS = {
    "ganzoo": ("-m ganzoo", "install | uninstall | plugins | list | new | -*"),
    "pip": ("-m pip", "*"),
    "pytest": ("-m pytest", "''"),
    "python": ("", "[!-]* | -[!c]* | -"),
}
PROGRAM = """#!/bin/sh
case "${{1-}}" in {words}) exec {fresh} {begin} "$@" ;; esac
exec {warm} {begin} "$@"
"""


@dataclass(frozen=True)
class Workbench:
    """An environment in ``prefix`` and a folder to work in."""

    prefix: Path
    folder: Path

    @classmethod
    def make(cls, where: Path, *plugins: str) -> Workbench:
        """``plugins`` are those of this environment that may be seen in it."""
        bench = cls(where / "venv", where / "work")
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bench.prefix)], check=True)
        (site,) = (bench.prefix / "lib").glob("python*/site-packages")
        # A path alone would not do: editable installs are .pth files too, and only of site directories are they read.
        here = sysconfig.get_path("purelib")
        (site / "here.pth").write_text(f"import site; site.addsitedir({here!r})\n")
        others = {p.dist.name for p in metadata.entry_points(group="ganzoo") if p.dist} - {"ganzoo", *plugins}
        for other in others:  # of two distributions with one name, that of the bench itself is the one that counts
            info = site / f"{other.replace('-', '_')}-0.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {other}\nVersion: 0\n")
        programs, python = bench.programs, shlex.quote(str(bench.prefix / "bin" / "python"))
        programs.mkdir()
        warm = WarmPython(bench.prefix).command
        for name, (begin, words) in PROGRAMS.items():
            script = programs / name
            script.write_text(PROGRAM.format(words=words, fresh=python, warm=warm, begin=begin))
            script.chmod(0o755)
        bench.folder.mkdir()
        return bench

    @property
    def programs(self) -> Path:
        return self.prefix / "programs"

    @property
    def variables(self) -> dict[str, str]:
        """Without a network, without what steers the tests themselves, and on one core."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("GANZOO", "COV", "PYTEST", "PYTHON"))}
        path = os.pathsep.join(
            [str(self.programs), str(self.prefix / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
        )
        offline = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        place = {"PATH": path, "VIRTUAL_ENV": str(self.prefix), "XDG_CONFIG_HOME": str(self.prefix / "config")}
        return {**kept, **offline, **place, "COLUMNS": "120", "OMP_NUM_THREADS": "1"}

    def sh(self, command: str, **variables: str) -> Ended:
        """Run a shell command in the folder."""
        words = ["bash", "-euo", "pipefail", "-c", command]
        return ran(words, cwd=self.folder, env={**self.variables, **variables})
