"""The plugin host: finds plugins, asks their hooks for entries, and survives whatever they do.

A plugin that cannot be imported, has a wrong hook or raises in one costs only its own entries, and one line on stderr.
``GANZOO_STRICT_PLUGINS=1`` raises instead; ``GANZOO_LOAD_PLUGINS=a,b`` loads only these.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import metadata
from typing import Any, Final, NoReturn

import pluggy

from ganzoo import __version__, hookspecs
from ganzoo.errors import PluginError, UnknownNameError, suggest
from ganzoo.hookspecs import HOOKS
from ganzoo.part import KINDS, Option
from ganzoo.registry import Entry, RecipeEntry, Registry, SuiteEntry, canonical, normalise

GROUP = "ganzoo"
NAME = re.compile(r"[a-z0-9]+([-_][a-z0-9]+)*", re.IGNORECASE)


#: Raise where a plugin fails, instead of leaving it out.
STRICT: Final = "GANZOO_STRICT_PLUGINS"
#: Load these distributions only, with commas between them; none where it is empty. The core is always loaded.
LOAD: Final = "GANZOO_LOAD_PLUGINS"


@dataclass
class Plugin:
    """One entry point of the group, and what became of it."""

    point: metadata.EntryPoint = field(repr=False)
    status: str = "ok"  # or "failed", or "blocked" by `LOAD`
    error: str = ""
    entries: list[Entry] = field(default_factory=list[Entry])
    events: list[str] = field(default_factory=list[str])  # the hooks of training that it hears
    imports_torch: bool | None = None  # where it cannot be said, since torch was there before
    seconds: float = 0.0

    @cached_property
    def distribution(self) -> str:
        return distribution_of(self.point)

    @cached_property
    def version(self) -> str:
        return self.point.dist.version if self.point.dist else ""

    @property
    def entry_point(self) -> str:
        return self.point.name

    @property
    def core(self) -> bool:
        return self.distribution == Registry.core

    @cached_property
    def requires(self) -> str:
        """Which versions of ganzoo it asks for; empty where it does not say."""
        from packaging.requirements import InvalidRequirement, Requirement

        try:
            asked = [Requirement(line) for line in (self.point.dist and self.point.dist.requires) or ()]
        except InvalidRequirement:
            return ""
        return ",".join(str(r.specifier) for r in asked if canonical(r.name) == Registry.core and not r.marker)

    @property
    def met(self) -> bool:
        from packaging.specifiers import SpecifierSet

        return SpecifierSet(self.requires).contains(__version__, prereleases=True)


class Host:
    """Every plugin of this environment, loaded once: those that ``begin`` is true of, which hears of each before."""

    def __init__(self, begin: Callable[[Plugin], bool] = lambda plugin: True) -> None:
        self.manager = pluggy.PluginManager("ganzoo")
        self.manager.add_hookspecs(hookspecs)
        self.registry = Registry()
        self.plugins: list[Plugin] = []
        found = _found()
        allowed = _allowed(found)
        for plugin in found:
            if begin(plugin):
                self.plugins.append(plugin)
                self._load(plugin, allowed)

    def _load(self, plugin: Plugin, allowed: set[str] | None) -> None:
        if allowed is not None and not plugin.core and canonical(plugin.distribution) not in allowed:
            plugin.status, plugin.error = "blocked", f"{LOAD} does not name it"
            return
        torch, start = "torch" in sys.modules, time.perf_counter()
        try:
            # What a plugin prints is not what a command was asked for.
            with redirect_stdout(sys.stderr), _no_exit():
                self._register(plugin)
        finally:
            plugin.imports_torch = None if torch else "torch" in sys.modules
            plugin.seconds = time.perf_counter() - start

    def _register(self, plugin: Plugin) -> None:
        phase, name = "import", f"{plugin.distribution}:{plugin.entry_point}"
        try:
            module = plugin.point.load()
            phase = "registration"
            self.manager.register(module, name)
            self._known_hooks(module)
            found: list[tuple[str, Entry]] = []
            for kind, hook in HOOKS.items():
                phase = hook
                found += [(kind, entry) for entry in _entries(getattr(self.manager.hook, hook), name, kind)]
            phase = "registration"
            mine = [e for p in self.plugins if p.distribution == plugin.distribution for e in p.entries]
            _check_unique([*((entry.kind, entry) for entry in mine), *found])
            # Only a plugin whose every hook answered gets in: half a plugin would be harder to explain than none.
            whose = (plugin.distribution, plugin.version, plugin.entry_point)
            callers = self.manager.get_hookcallers(module) or ()
            plugin.events = [
                caller.name for caller in callers if caller.has_spec() and caller.name not in HOOKS.values()
            ]
            plugin.entries = [self.registry.adopt(kind, entry, *whose) for kind, entry in found]
        except KeyboardInterrupt:
            print(
                f"ganzoo: stopped while the plugin {plugin.distribution} {plugin.version} was loading; "
                f"`ganzoo uninstall {plugin.distribution}` if it never ends",
                file=sys.stderr,
            )
            raise
        except BaseException as error:
            if self.manager.has_plugin(name):
                self.manager.unregister(name=name)  # nor does a failed plugin hear of training events
            plugin.status, plugin.error = "failed", f"{phase}: {_one_line(error)}"
            if os.environ.get(STRICT) == "1":
                raise PluginError(_failure(plugin, phase, error)) from error
            print(f"ganzoo: {_failure(plugin, phase, error)}", file=sys.stderr)

    def _known_hooks(self, module: Any) -> None:
        """A hook that is marked optional may be one of a newer ganzoo; any other must be known."""
        known = {name for name in vars(hookspecs) if name.startswith("ganzoo_")}
        marked = {name: self.manager.parse_hookimpl_opts(module, name) for name in dir(module)}
        if unknown := {name for name, opts in marked.items() if opts and not opts.get("optionalhook")} - known:
            raise PluginError(f"no hook is called {', '.join(sorted(unknown))}; {suggest(min(unknown), known)}")

    def announce(self, event: str, **what: Any) -> None:
        """Tell every plugin of a training event. One that raises is named, hears of that event no more, and the run
        goes on."""
        plugins = {f"{plugin.distribution}:{plugin.entry_point}": plugin for plugin in self.plugins}
        for implementation in getattr(self.manager.hook, event).get_hookimpls():
            plugin = plugins[implementation.plugin_name]
            if event not in plugin.events:
                continue
            try:
                implementation.function(*(what[name] for name in implementation.argnames))
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                plugin.events.remove(event)
                print(f"ganzoo: {_failure(plugin, event, error, 'It hears of that no more')}", file=sys.stderr)


@contextmanager
def _no_exit() -> Iterator[None]:
    """``os._exit`` raises: called by a plugin, it would end a command as if all had gone well, without a word."""

    def refuse(status: int = 0) -> NoReturn:
        raise PluginError(f"it called os._exit({status})")

    leave, os._exit = os._exit, refuse
    try:
        yield
    finally:
        os._exit = leave


def _allowed(found: list[Plugin]) -> set[str] | None:
    """The distributions that `LOAD` names; none where it is not set."""
    if (names := os.environ.get(LOAD)) is None:
        return None
    allowed = {canonical(name.strip()) for name in names.split(",") if name.strip()}
    if missing := allowed - {canonical(plugin.distribution) for plugin in found}:
        print(f"ganzoo: {LOAD} names {', '.join(sorted(missing))}, which is not installed", file=sys.stderr)
    return allowed


def _found() -> list[Plugin]:
    """Core first, then by distribution, so that what is found does not depend on the order on disk."""
    every = [Plugin(point) for point in metadata.entry_points(group=GROUP)]  # each reads its metadata's name once
    unique = {(plugin.distribution, plugin.entry_point): plugin for plugin in every if plugin.distribution}
    return [unique[key] for key in sorted(unique, key=lambda key: (normalise(key[0]) != Registry.core, key))]


def distribution_of(point: metadata.EntryPoint) -> str:
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


def _failure(plugin: Plugin, phase: str, error: BaseException, cost: str = "Its entries are left out") -> str:
    name = plugin.distribution
    asks = "" if plugin.met else f" It asks for ganzoo {plugin.requires}, and this is {__version__}."
    return (
        f"plugin {name} {plugin.version} (entry point {plugin.entry_point}) failed in its {phase}: "
        f"{_one_line(error)}.{asks} {cost}; `ganzoo install -U {name}` or `ganzoo uninstall {name}`"
    )


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(" .:?")


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
