"""How packages get into the environment that ganzoo runs in: pip, uv, a uv tool, pipx. Nothing here loads a plugin."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Final, cast, final
from urllib.parse import parse_qs, unquote, urlsplit

from ganzoo.errors import InstallError
from ganzoo.registry import canonical


@dataclass(frozen=True)
class Request:
    """What to install, and how: pip's words for both."""

    specs: tuple[str, ...] = ()
    editables: tuple[str, ...] = ()
    upgrade: bool = False
    pre: bool = False
    force: bool = False
    cache: bool = True

    @property
    def what(self) -> list[str]:
        """The end of a command line: no spec is mistaken for an option."""
        editables = [word for path in self.editables for word in ("-e", path)]
        return [*editables, *(["--", *self.specs] if self.specs else [])]


class Installer(ABC):
    """One way to change this environment. Its tool says on the screen what it does."""

    @abstractmethod
    def install(self, request: Request) -> None:
        """Raise `InstallError` where the tool fails."""

    @abstractmethod
    def uninstall(self, names: Sequence[str]) -> None:
        """Remove distributions, without asking."""


def detect() -> Installer:
    """What manages the environment that this Python runs in; `InstallError` says what to do where nothing may."""
    prefix = Path(sys.prefix)
    if (prefix / RECEIPT).exists():
        return UvTool()
    if (prefix / PIPX).exists():
        return Pipx()
    managed = Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED"
    if sys.prefix == sys.base_prefix and managed.exists():
        raise InstallError(
            f"this Python ({sys.executable}) belongs to the operating system, which lets nobody else install into it. "
            "Put ganzoo into an environment of its own: `python3 -m venv .venv && .venv/bin/pip install ganzoo`, "
            "`uv tool install ganzoo` or `pipx install ganzoo`"
        )
    if importlib.util.find_spec("pip"):
        return Pip()
    if shutil.which("uv"):
        return Uv()
    raise InstallError(
        f"there is neither pip in this environment ({sys.prefix}) nor uv on the path. "
        f"Run `{shlex.quote(sys.executable)} -m ensurepip`, or install uv"
    )


@final
class Pip(Installer):
    def install(self, request: Request) -> None:
        flags = _pip_flags(request)
        with constraints() as kept:
            _run([*self._pip("install"), "-c", kept, *flags, *request.what])
        if request.force:  # what was named, as it is now, and not also torch and all else below it
            with constraints(as_it_is=True) as kept:
                _run([*self._pip("install"), "-c", kept, "--force-reinstall", "--no-deps", *flags, *request.what])

    def uninstall(self, names: Sequence[str]) -> None:
        _run([*self._pip("uninstall"), "--yes", *names])

    def _pip(self, command: str) -> list[str]:
        return [sys.executable, "-P", "-m", "pip", "--disable-pip-version-check", command]


@final
class Uv(Installer):
    def install(self, request: Request) -> None:
        flags = _uv_flags(request)
        with constraints() as kept:
            _run([*self._uv("install"), "--constraints", kept, *flags, *request.what])
        if request.force:
            with constraints(as_it_is=True) as kept:
                _run([*self._uv("install"), "--constraints", kept, "--reinstall", "--no-deps", *flags, *request.what])

    def uninstall(self, names: Sequence[str]) -> None:
        _run([*self._uv("uninstall"), *names])

    def _uv(self, command: str) -> list[str]:
        return [_tool("uv"), "pip", command, "--python", sys.executable]


RECEIPT: Final = "uv-receipt.toml"


@final
class UvTool(Installer):
    """A tool that ``uv tool install`` made: what is not in its receipt is dropped by the next upgrade.

    So a plugin is installed under the constraints first, and written into the receipt after: constraints given to
    ``uv tool install`` itself would stay in the receipt, and hold ganzoo at its version for ever.
    """

    def install(self, request: Request) -> None:
        Uv().install(request)
        new = [*(word for path in request.editables for word in ("--with-editable", path))]
        new += [word for spec in request.specs for word in ("--with", spec)]
        importlib.invalidate_caches()
        new += ["--prerelease=allow"] if request.pre else []
        self._rewrite(new, without={name for spec in (*request.specs, *request.editables) for name in names_of(spec)})

    def uninstall(self, names: Sequence[str]) -> None:
        Uv().uninstall(names)
        self._rewrite([], without={canonical(name) for name in names})

    def _rewrite(self, new: Sequence[str], without: set[str]) -> None:
        """``uv tool install`` as it was last run, with other plugins."""
        receipt = tomllib.loads((Path(sys.prefix) / RECEIPT).read_text())["tool"]
        requirements = [cast("dict[str, Any]", each) for each in receipt["requirements"]]
        (root,) = [each for each in requirements if canonical(each["name"]) == "ganzoo"] or [{"name": "ganzoo"}]
        others = [each for each in requirements if each is not root and canonical(each["name"]) not in without]
        command = [_tool("uv"), "tool", "install", *_root(root), *(w for each in others for w in _with(each)), *new]
        if python := receipt.get("python"):
            command += ["--python", python]
        files = {kind: [_requirement(each) for each in receipt.get(kind, ())] for kind in ("constraints", "overrides")}
        # Where it looks for packages, which it would forget else. How it builds them is no setting of a file.
        settings = {key: value for key, value in receipt.get("options", {}).items() if key != "build-isolation"}
        files["config-file"] = [f"{key} = {_toml(value)}" for key, value in settings.items()]
        with tempfile.TemporaryDirectory() as folder:
            for kind, lines in files.items():
                if lines:
                    (Path(folder) / f"{kind}.toml").write_text("\n".join(lines) + "\n")
                    command += [f"--{kind}", str(Path(folder) / f"{kind}.toml")]
            _run(command)


PIPX: Final = "pipx_metadata.json"


@final
class Pipx(Installer):
    def install(self, request: Request) -> None:
        inside = self._inside()
        flags = (_uv_flags if isinstance(inside, Uv) else _pip_flags)(replace(request, upgrade=False))
        command = [_tool("pipx"), "inject", *([f"--pip-args={' '.join(flags)}"] if flags else [])]
        venv = Path(sys.prefix).name
        with constraints() as kept:
            # Not as an argument: pipx keeps those, and would look for the file at the next upgrade.
            also = {"PIP_CONSTRAINT": kept, "UV_CONSTRAINT": kept}
            if request.specs:
                _run([*command, venv, *request.specs], also)
            for path in request.editables:
                _run([*command, "--editable", venv, path], also)
        # What is injected already pipx leaves alone, whatever was asked; by force it would do the same to torch.
        inside.install(request)

    def uninstall(self, names: Sequence[str]) -> None:
        try:
            _run([_tool("pipx"), "uninject", "--leave-deps", Path(sys.prefix).name, *names])
        except InstallError:  # it was not injected, but installed by other means
            self._inside().uninstall(names)

    def _inside(self) -> Installer:
        """What pipx itself uses in this environment."""
        return Uv() if json.loads((Path(sys.prefix) / PIPX).read_bytes()).get("backend") == "uv" else Pip()


@contextmanager
def constraints(*, as_it_is: bool = False) -> Iterator[str]:
    """A file that keeps this ganzoo and this torch, and all else that ganzoo needs within what it takes; or,
    ``as_it_is``, everything that is installed."""
    if as_it_is:
        lines = [f"{name}=={version}" for name, version in installed().items()]
    else:
        lines = [f"{name}=={metadata.version(name)}" for name in KEPT]
        lines += [line for line in metadata.requires("ganzoo") or () if ";" not in line and name_in(line) not in KEPT]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "constraints.txt"
        path.write_text("\n".join(lines) + "\n")
        yield str(path)


def installed() -> dict[str, str]:
    """Versions by canonical name; of one that is there twice, that which is imported."""
    importlib.invalidate_caches()
    found: dict[str, str] = {}
    for each in metadata.distributions():
        with suppress(Exception):  # what an interrupted uninstall left has no name
            found.setdefault(canonical(each.name), each.version)
    return found


KEPT: Final = ("ganzoo", "torch")


def _pip_flags(request: Request) -> list[str]:
    chosen = {"--upgrade": request.upgrade, "--pre": request.pre, "--no-cache-dir": not request.cache}
    return [flag for flag, wanted in chosen.items() if wanted]


def _uv_flags(request: Request) -> list[str]:
    chosen = {"--prerelease=allow": request.pre, "--no-cache": not request.cache}
    # What was named: uv's --upgrade goes through all that is below it too.
    named = [f"--upgrade-package={name}" for name in map(name_in, request.specs) if name] if request.upgrade else []
    return [*(flag for flag, wanted in chosen.items() if wanted), *named]


def name_in(spec: str) -> str:
    """The canonical name that a requirement begins with; empty for a path or an address."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        asked = Requirement(spec)
        return canonical(asked.name) if asked.marker is None or asked.marker.evaluate() else ""
    except InvalidRequirement:
        return ""


def names_of(spec: str) -> list[str]:
    """The distributions that a spec put here: by its name, the wheel's, or where they say they came from (PEP 610).
    None where that cannot be told."""
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    if name := name_in(spec):
        return [name]
    try:
        return [canonical(parse_wheel_filename(re.split(r"[/\\]", spec)[-1])[0])]
    except InvalidWheelFilename:
        pass
    place = without_extras(spec)
    places = _places(Path(place).as_uri() if Path(place).is_absolute() else spec)
    found: list[str] = []
    for each in metadata.distributions():
        with suppress(Exception):  # damaged metadata say nothing
            came = json.loads(each.read_text("direct_url.json") or "{}")
            if came and _places(came["url"], came.get("subdirectory")) & places:
                found.append(canonical(each.name))
    return found


def without_extras(spec: str) -> str:
    """``./folder`` of ``./folder[test]``."""
    return re.sub(r"\[[^\[\]]*\]$", "", spec)


def _places(address: str, subdirectory: str | None = None) -> set[tuple[str, ...]]:
    """What an address may mean: without its scheme, user and quoting, and without what may be a revision."""
    parts = urlsplit(re.sub(r"^(git|hg|bzr|svn)\+", "", address))
    inside = subdirectory or "".join(parse_qs(parts.fragment).get("subdirectory", ()))
    path = unquote(parts.path).rstrip("/")
    return {(parts.hostname or "", each, inside.strip("/")) for each in (path, path.rpartition("@")[0]) if each}


def _root(requirement: Mapping[str, Any]) -> list[str]:
    if "editable" in requirement:
        return ["--editable", requirement["editable"]]
    return [_requirement(requirement)]


def _with(requirement: Mapping[str, Any]) -> list[str]:
    if "editable" in requirement:
        return ["--with-editable", requirement["editable"]]
    return ["--with", _requirement(requirement)]


def _requirement(given: Mapping[str, Any]) -> str:
    """A requirement of a uv receipt as it is written on a command line."""
    extras = f"[{','.join(given['extras'])}]" if given.get("extras") else ""
    for place in ("path", "directory"):
        if place in given:
            return given[place] + extras
    inside = given.get("subdirectory", "")
    if "git" in given:
        address, _, query = given["git"].partition("?")
        said = {key: values[0] for key, values in parse_qs(query).items()}
        revision = next((f"@{said[key]}" for key in ("rev", "tag", "branch") if key in said), "")
        inside = inside or said.get("subdirectory", "")
        return f"{given['name']}{extras} @ git+{address}{revision}{f'#subdirectory={inside}' if inside else ''}"
    if "url" in given:
        return f"{given['name']}{extras} @ {given['url']}{f'#subdirectory={inside}' if inside else ''}"
    marker = f" ; {given['marker']}" if given.get("marker") else ""
    return f"{given['name']}{extras}{given.get('specifier', '')}{marker}"


def _toml(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_toml(each)}' for key, each in cast('dict[str, Any]', value).items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, cast('list[Any]', value)))}]"
    return json.dumps(value) if isinstance(value, (str, bool, int, float)) else json.dumps(str(value))


def _tool(name: str) -> str:
    if found := shutil.which(name):
        return found
    raise InstallError(
        f"{sys.prefix} is managed by {name}, which is not on the path: add it to the path, and run this again"
    )


def public(text: str) -> str:
    """The same without the user and the token that an address may hold."""
    return re.sub(r"(?<=://)[^/@\s]+@", "", text)


def _run(command: Sequence[str], also: Mapping[str, str] | None = None) -> None:
    """Run a tool and show what it says, but for pip's line on each thing that is there already."""
    print(f"$ {public(shlex.join(command))}", file=sys.stderr, flush=True)
    env = {**os.environ, "PIP_NO_INPUT": "1", **(also or {})}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True, errors="replace") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if not line.startswith("Requirement already satisfied"):
                print(line, end="", flush=True)
    if process.returncode:
        tool = "pip" if command[2:4] == ["-m", "pip"] else Path(command[0]).stem
        raise InstallError(f"{tool} failed with exit code {process.returncode}; what it says of it is above")
