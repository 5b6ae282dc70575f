"""Environments that are really separate, and wheels that are really built, without a network.

An environment is made by `venv` or `uv venv`; what ganzoo needs is linked into it, file by file, from the one that runs
the tests, which is the state that an install leaves; ganzoo itself comes from its built wheel.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import chdir
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path

from hatchling.build import build_wheel
from packaging.requirements import Requirement
from processes import Ended, ran

ROOT = Path(__file__).parents[1]

PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "{version}"
dependencies = {dependencies}

{entry_points}

[tool.hatch.build.targets.wheel]
packages = ["{module}"]
"""


def project(
    folder: Path,
    name: str,
    source: str,
    *,
    version: str = "1.0",
    requires: Iterable[str] = ("ganzoo>=0.1,<0.2",),
    plugin: bool = True,
    **modules: str,
) -> Path:
    """The sources of a distribution whose package is a plugin (if ``plugin``), with further ``modules`` in it."""
    module = name.replace("-", "_")
    points = f'[project.entry-points.ganzoo]\nmain = "{module}"' if plugin else ""
    text = PROJECT.format(name=name, version=version, module=module, dependencies=[*requires], entry_points=points)
    home = folder / name
    (home / module).mkdir(parents=True)
    (home / "pyproject.toml").write_text(text)
    (home / module / "__init__.py").write_text(source)
    for each, content in modules.items():
        (home / module / f"{each}.py").write_text(content)
    return home


def wheel(home: Path, into: Path) -> Path:
    """Build the wheel of a project, with the backend that pip would call."""
    into.mkdir(parents=True, exist_ok=True)
    with chdir(home):
        return into / build_wheel(str(into))


@dataclass(frozen=True)
class Environment:
    """A Python of its own, with ganzoo in it. ``config`` is its user's configuration folder."""

    prefix: Path
    config: Path
    variables: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def python(self) -> Path:
        return self.prefix / "bin" / "python"

    def run(self, *command: object, **variables: str) -> Ended:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("GANZOO", "COVERAGE", "COV_", "PYTHONPATH"))}
        env = {**kept, "XDG_CONFIG_HOME": str(self.config), "COLUMNS": "240", **self.variables, **variables}
        return ran(command, cwd=self.config, env=env)

    def ganzoo(self, *args: object, **variables: str) -> Ended:
        """As the installed command."""
        return self.run(self.prefix / "bin" / "ganzoo", *args, **variables)

    def take(self, *wheels: Path) -> None:
        """Install wheels with nothing else looked at."""
        pip = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            self.python,
            "install",
            "-q",
            "--no-deps",
            "--no-index",
            "--force-reinstall",
        ]
        done = self.run(*pip, *wheels)
        assert done.code == 0, done.err

    def drop(self, *names: str) -> None:
        """Uninstall distributions, by uv, which needs no Python for it; it is no matter if one is not there."""
        done = self.run(UV, "pip", "uninstall", "--python", self.python, *names)
        assert done.code == 0, done.err

    def plugins(self) -> set[str]:
        """The distributions that are plugins, and ganzoo."""
        (site,) = (self.prefix / "lib").glob("python*/site-packages")
        points = ((found.name, found.entry_points) for found in metadata.distributions(path=[str(site)]))
        return {name for name, each in points if each.select(group="ganzoo")}


def environment(prefix: Path, core: Path, *, pip: bool, config: Path | None = None, **variables: str) -> Environment:
    """A new environment with ganzoo from the wheel ``core``, and with pip in it or not."""
    make = [sys.executable, "-m", "venv"] if pip else [UV, "venv", "-q", "--python", sys.executable]
    subprocess.run([*make, str(prefix)], check=True, capture_output=True)
    (site,) = (prefix / "lib").glob("python*/site-packages")
    for name in _closure("ganzoo", "hatchling", "editables") - {"ganzoo"}:
        _link(metadata.distribution(name), site)
    config = config or prefix.with_name(f"{prefix.name}-config")
    config.mkdir(exist_ok=True)
    offline = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "UV_OFFLINE": "1", "UV_NO_BUILD_ISOLATION": "1"}
    path = f"{Path(UV).parent}:/usr/bin:/bin"
    made = Environment(prefix, config, {**offline, "PATH": path, **variables})
    made.take(core)
    return made


def _find_uv() -> str:
    from uv import find_uv_bin

    return str(find_uv_bin())


UV = _find_uv()


@cache
def _closure(*names: str) -> frozenset[str]:
    """Distributions and all that they need, of what is installed here."""
    found: set[str] = set()
    todo = [*names]
    while todo:
        name = todo.pop()
        if name in found:
            continue
        try:
            required = [*map(Requirement, metadata.requires(name) or ())]
        except metadata.PackageNotFoundError:
            continue
        found.add(name)
        todo += [r.name for r in required if r.marker is None or r.marker.evaluate({"extra": ""})]
    return frozenset(found)


def _link(distribution: metadata.Distribution, site: Path) -> None:
    """Put a distribution's files into another site-packages, as links to the same bytes where the disk allows it."""
    for file in distribution.files or ():
        source = Path(str(distribution.locate_file(file)))
        if ".." in file.parts or not source.exists():
            continue  # scripts are of no use elsewhere
        target = site / file
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            try:
                os.link(source, target)
            except OSError:
                shutil.copy2(source, target)
