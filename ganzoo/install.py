"""Plugins come and go: install, uninstall, and bring back those that an upgrade of ganzoo dropped.

Which plugins were asked for is kept outside of the environment, in ``plugins.json`` of the user's configuration folder,
since a tool's upgrade may make the environment anew.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import click
from filelock import FileLock

from ganzoo.errors import InstallError, PluginError, UsageError, suggest
from ganzoo.files import write_json
from ganzoo.installer import KEPT, Request, detect, installed, names_of, public, without_extras
from ganzoo.plugins import distribution_of
from ganzoo.registry import canonical
from ganzoo.survey import Row, survey

FORMAT: Final = 1
TOOLS: Final = ("pip", "setuptools", "uv")


def install(request: Request) -> list[Row]:
    """Install, and say from a fresh process what the new distributions registered.

    `InstallError` where the tool fails, `PluginError` where what was installed is no plugin or a broken one.
    """
    request = replace(
        request, specs=tuple(map(_absolute, request.specs)), editables=tuple(map(_path, request.editables))
    )
    _check_names(request)
    installer, before = detect(), installed()
    try:
        installer.install(request)
    except InstallError as error:
        kept = " and ".join(f"{name} {metadata.version(name)}" for name in KEPT)
        unchanged = " Nothing was changed." if installed() == before else ""
        raise InstallError(f"{error}. It was told to keep {kept}.{unchanged}") from None
    changed = sorted(dict(installed().items() - before.items()).keys() & {*_plugins()})
    named = {name: (spec, editable) for spec, editable in _asked(request) for name in names_of(spec) or changed}
    rows = [row for row in survey() if canonical(row["distribution"]) in named]
    # What is only upgraded, or was there, goes on coming from where it came from.
    fresh = {canonical(row["distribution"]) for row in rows} & ({*changed} | named.keys() - _recorded().keys())
    if request.upgrade:
        fresh -= _recorded().keys()
    _remember({name: asked for name, asked in named.items() if name in fresh})
    _require_plugins(named, rows)
    return rows


def restore() -> list[Row]:
    """Install again what was once installed by ganzoo and is there no more.

    `InstallError` names what cannot be had any more, after the rest was installed.
    """
    recorded, there = _recorded(), installed()
    if not recorded:
        raise UsageError(f"no plugin was installed into {sys.prefix} by `ganzoo install`: there is nothing to restore")
    missing = {name: each for name, each in recorded.items() if name not in there}
    gone = {name: each["spec"] for name, each in missing.items() if not _can_be_had(each["spec"])}
    wanted = [each for name, each in missing.items() if name not in gone]
    specs = tuple(each["spec"] for each in wanted if not each["editable"])
    editables = tuple(each["spec"] for each in wanted if each["editable"])
    rows = install(Request(specs, editables)) if wanted else []
    if gone:
        what = ", ".join(f"{name} ({spec} is no more)" for name, spec in gone.items())
        raise InstallError(f"not restored: {what}. `ganzoo uninstall {' '.join(gone)}` forgets it")
    return rows


def uninstall(names: Sequence[str]) -> None:
    """Remove distributions, and forget that they were wanted; what ganzoo itself needs is refused."""
    check_uninstall(names)
    if there := [name for name in names if canonical(name) in installed()]:
        detect().uninstall(there)
    _forget(map(canonical, names))


def check_uninstall(names: Iterable[str]) -> list[str]:
    """What would be removed, as ``name version``; `UsageError` for what is not there or is needed."""
    there, wanted, plugins, needed = installed(), _recorded(), _plugins(), _needed("ganzoo")
    for name in map(canonical, names):
        if name not in there and name not in wanted:
            raise UsageError(f"{name} is not installed; {suggest(name, plugins)}")
        if name in needed:
            raise UsageError(f"{name} is no plugin: ganzoo itself needs it")
        users = [each for each in plugins if each not in map(canonical, names) and name in _needed(each)]
        if name not in plugins and (users or name in TOOLS):
            raise UsageError(f"{name} is no plugin{f': {users[0]} needs it' if users else ''}")
    detect()  # what cannot be done is said before anybody is asked
    return [f"{name} {there.get(name, '(which is not there any more)')}" for name in map(canonical, names)]


def _check_names(request: Request) -> None:
    for name in (name for spec in (*request.specs, *request.editables) for name in names_of(spec)):
        if name in KEPT:
            raise UsageError(f"{name} is no plugin: upgrade it with what installed ganzoo")


def _require_plugins(named: Iterable[str], rows: Sequence[Row]) -> None:
    found = {canonical(row["distribution"]) for row in rows}
    for name in named:
        if name not in found:
            raise PluginError(
                f"{name} was installed, but it is no plugin: it has no entry point in the group 'ganzoo', so it "
                f"registers nothing. `ganzoo uninstall {name}` removes it"
            )
    for row in rows:
        if row["status"] == "failed":
            raise PluginError(
                f"{row['distribution']} {row['version']} was installed, but fails in its {row['error']}. "
                f"`ganzoo uninstall {row['distribution']}` removes it"
            )
        if row["status"] == "ok" and not (row["entries"] or row["events"]):
            raise PluginError(
                f"{row['distribution']} {row['version']} was installed, but its entry point {row['entry_point']} "
                f"registers nothing. `ganzoo uninstall {row['distribution']}` removes it"
            )


def _asked(request: Request) -> list[tuple[str, bool]]:
    return [*((spec, False) for spec in request.specs), *((path, True) for path in request.editables)]


def _absolute(spec: str) -> str:
    """A path as it is from everywhere, since it is remembered; what else a spec can be stays."""
    from packaging.requirements import InvalidRequirement, Requirement

    if not spec.strip():
        raise UsageError("an empty name cannot be installed")
    if spec.endswith((".whl", ".tar.gz", ".zip")) and Path(spec).expanduser().exists():
        return _path(spec)  # which would be a name by its letters
    try:
        Requirement(spec)
    except InvalidRequirement:
        return spec if "://" in spec else _path(spec)
    return spec


def _path(given: str) -> str:
    place = without_extras(given)
    path = Path(place).expanduser().absolute()
    if not path.exists():
        raise UsageError(f"{given!r} is neither a requirement (like name or 'name>=1.0') nor a path that exists")
    return str(path.resolve()) + given.removeprefix(place)


def _can_be_had(spec: str) -> bool:
    """Whether a remembered path is still there; of anything else only the installer knows."""
    return not spec.startswith("/") or Path(without_extras(spec)).exists()


def _plugins() -> list[str]:
    points = metadata.entry_points(group="ganzoo")
    return sorted({canonical(name) for point in points if (name := distribution_of(point))} - {"ganzoo"})


def _needed(name: str, found: set[str] | None = None) -> set[str]:
    """A distribution and all that it needs, as far as that is installed."""
    from packaging.requirements import InvalidRequirement, Requirement

    found = set() if found is None else found
    if canonical(name) not in found:
        try:
            required_by = [Requirement(line) for line in metadata.requires(name) or ()]
        except (metadata.PackageNotFoundError, InvalidRequirement):
            return found
        found.add(canonical(name))
        for required in required_by:
            if required.marker is None or required.marker.evaluate({"extra": ""}):
                _needed(required.name, found)
    return found


# What was installed on purpose: {"environments": {prefix: {name: {"spec": …, "editable": …}}}}.


def record_path() -> Path:
    return Path(click.get_app_dir("ganzoo")) / "plugins.json"


def _recorded() -> dict[str, dict[str, Any]]:
    return _record()["environments"].get(sys.prefix, {})


def _record() -> dict[str, Any]:
    try:
        record = json.loads(record_path().read_bytes())
        if record["format"] > FORMAT:
            raise InstallError(f"{record_path()} was written by a newer ganzoo")
        if isinstance(record["environments"], dict):
            return record
    except (OSError, ValueError, KeyError, TypeError):
        pass  # none yet, or damaged: the plugins themselves are none the worse
    return {"format": FORMAT, "environments": {}}


def _remember(plugins: dict[str, tuple[str, bool]]) -> None:
    _change({name: {"spec": public(spec), "editable": editable} for name, (spec, editable) in plugins.items()}, ())


def _forget(names: Iterable[str]) -> None:
    _change({}, names)


def _change(added: dict[str, Any], removed: Iterable[str]) -> None:
    """What cannot be written down is still installed: that is a warning."""
    path, gone = record_path(), set(removed)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            record = _record()
            here: dict[str, Any] = {**record["environments"].get(sys.prefix, {}), **added}
            record["environments"][sys.prefix] = {name: each for name, each in here.items() if name not in gone}
            write_json(path, record)
    except (OSError, InstallError) as error:
        print(f"ganzoo: `ganzoo install --restore` will not know of this: {error}", file=sys.stderr)
