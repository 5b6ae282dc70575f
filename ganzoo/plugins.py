"""The plugin host: finds plugins, asks their hooks for entries, and survives whatever they do.

A plugin that cannot be imported, has a wrong hook or raises in one costs only its own entries, and one line on stderr.
``GANZOO_STRICT_PLUGINS=1`` raises instead.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from typing import Any

import pluggy

from ganzoo import hookspecs
from ganzoo.errors import PluginError, UnknownNameError, suggest
from ganzoo.hookspecs import HOOKS
from ganzoo.part import KINDS, Option
from ganzoo.registry import Entry, RecipeEntry, Registry, SuiteEntry, normalise

GROUP = "ganzoo"
NAME = re.compile(r"[a-z0-9]+([-_][a-z0-9]+)*", re.IGNORECASE)


@dataclass
class Plugin:
    """One entry point of the group, and what became of it."""

    distribution: str
    version: str
    entry_point: str
    status: str = "ok"
    error: str = ""
    entries: list[Entry] = field(default_factory=list[Entry])


class Host:
    """Every plugin of this environment, loaded once."""

    def __init__(self) -> None:
        self.manager = pluggy.PluginManager("ganzoo")
        self.manager.add_hookspecs(hookspecs)
        self.registry = Registry()
        self.plugins = [self._load(point) for point in _entry_points()]

    def _load(self, point: metadata.EntryPoint) -> Plugin:
        assert point.dist is not None
        plugin = Plugin(point.dist.name, point.dist.version, point.name)
        phase, name = "import", f"{plugin.distribution}:{plugin.entry_point}"
        try:
            module = point.load()
            phase = "registration"
            self.manager.register(module, name)
            self._known_hooks(module)
            found: list[tuple[str, Entry]] = []
            for kind, hook in HOOKS.items():
                phase = hook
                found += [(kind, entry) for entry in _entries(getattr(self.manager.hook, hook), name, kind)]
            _check_unique(found)
            # Only a plugin whose every hook answered gets in: half a plugin would be harder to explain than none.
            plugin.entries = [self.registry.adopt(k, e, plugin.distribution, plugin.version) for k, e in found]
        except (Exception, SystemExit) as error:
            if self.manager.has_plugin(name):
                self.manager.unregister(name=name)  # nor does a failed plugin hear of training events
            if os.environ.get("GANZOO_STRICT_PLUGINS") == "1":
                raise PluginError(_failure(plugin, phase, error)) from error
            plugin.status, plugin.error = "failed", f"{phase}: {_one_line(error)}"
            print(f"ganzoo: {_failure(plugin, phase, error)}", file=sys.stderr)
        return plugin

    def _known_hooks(self, module: Any) -> None:
        known = {name for name in vars(hookspecs) if name.startswith("ganzoo_")}
        marked = {name for name in dir(module) if self.manager.parse_hookimpl_opts(module, name) is not None}
        if unknown := marked - known:
            raise PluginError(f"no hook is called {', '.join(sorted(unknown))}")

    def announce(self, event: str, **what: Any) -> None:
        """Tell every plugin of a training event; one that raises is named and the run goes on."""
        for implementation in getattr(self.manager.hook, event).get_hookimpls():
            try:
                implementation.function(*(what[name] for name in implementation.argnames))
            except (Exception, SystemExit) as error:
                print(f"ganzoo: plugin {implementation.plugin_name} raised in {event}: {error!r}", file=sys.stderr)


def _entry_points() -> Iterator[metadata.EntryPoint]:
    """Core first, then by distribution, so that what is found does not depend on the order on disk."""
    points = metadata.entry_points(group=GROUP)
    unique = {(name, point.name): point for point in points if (name := _distribution(point))}
    yield from (unique[key] for key in sorted(unique, key=lambda key: (normalise(key[0]) != Registry.core, key)))


def _distribution(point: metadata.EntryPoint) -> str:
    """Its name; none where an interrupted uninstall left an entry point without metadata."""
    try:
        return (point.dist and point.dist.name) or ""
    except Exception:  # what it raises differs between versions of Python
        return ""


def _entries(caller: pluggy.HookCaller, plugin: str, kind: str) -> Iterator[Entry]:
    expected = {"recipe": RecipeEntry, "suite": SuiteEntry}.get(kind, Entry)
    for implementation in caller.get_hookimpls():
        if implementation.plugin_name != plugin:
            continue
        found: Any = implementation.function()
        for entry in found:
            if not isinstance(entry, expected):
                raise PluginError(f"{caller.name} must return {expected.__name__} objects, not {entry!r:.80}")
            _check_entry(entry, caller.name, dots=kind == "recipe")
            yield entry


def _check_entry(entry: Any, hook: str, *, dots: bool) -> None:
    """What is not of its type would raise later, and in somebody else's hands."""
    name = entry.name if isinstance(entry.name, str) else ""
    if not all(NAME.fullmatch(piece) for piece in (name.split(".") if dots else [name])):
        raise PluginError(f"{hook}: {entry.name!r:.80} is no name: letters, digits, and single - or _ between them")
    if not isinstance(entry.target, str) or not isinstance(entry.summary, str):
        raise PluginError(f"{hook}: the target and the summary of {name} must be strings")
    if not isinstance(entry.options, tuple) or not all(isinstance(option, Option) for option in entry.options):
        raise PluginError(f"{hook}: the options of {name} must be a tuple of Option objects, not {entry.options!r:.80}")


def _check_unique(found: list[tuple[str, Entry]]) -> None:
    names = [(kind, normalise(entry.name)) for kind, entry in found]
    if twice := {f"{kind} {name}" for kind, name in names if names.count((kind, name)) > 1}:
        raise PluginError(f"it registers more than once: {', '.join(sorted(twice))}")


def _failure(plugin: Plugin, phase: str, error: BaseException) -> str:
    return (
        f"plugin {plugin.distribution} {plugin.version} (entry point {plugin.entry_point}) failed in its {phase}: "
        f"{_one_line(error)}. Its entries are left out; upgrade it or uninstall it"
    )


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


@cache
def host() -> Host:
    return Host()


def registry() -> Registry:
    return host().registry


def find_any(name: str) -> list[Entry]:
    """Every entry of that name, of whatever kind; `UnknownNameError` if there is none."""
    found: list[Entry] = []
    for kind in KINDS:
        with suppress(UnknownNameError):
            found.append(registry().find(kind, name))
    if not found:
        known = [each for kind in KINDS for each in registry().names(kind)]
        raise UnknownNameError(f"nothing is called {name!r}; {suggest(name, known)}")
    return found
