"""What exists: entries under names. Nothing here imports torch.

An *entry* declares a name, an import target and the options that the target takes.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from ganzoo.errors import AmbiguousNameError, OptionError, PluginError, UnknownNameError, suggest
from ganzoo.part import KINDS, Option, build

#: ``method.dataset``, either of them perhaps with its distribution. Names become folders: nothing else gets through.
RECIPE_NAME: Final = re.compile(r"([\w-]+/)?[\w-]+\.([\w-]+/)?[\w-]+")


@dataclass(frozen=True)
class Paper:
    """Where a thing was published."""

    title: str
    authors: str
    year: int
    venue: str = ""
    url: str = ""

    def bibtex(self) -> str:
        first = self.authors.split(" and ")[0]
        family = first.split(",")[0] if "," in first else first.split()[-1]
        key = f"{family.lower()}{self.year}"
        rows = {
            "title": self.title,
            "author": self.authors,
            "year": self.year,
            "booktitle": self.venue,
            "url": self.url,
        }
        body = ",\n".join(f"  {name} = {{{value}}}" for name, value in rows.items() if value)
        return f"@inproceedings{{{key},\n{body}\n}}"


@dataclass(frozen=True)
class Entry:
    """One registered name. Plugins fill the first five fields; the host fills the rest.

    ``target`` is ``"package.module:Name"``, imported on first use and called with the options.
    """

    name: str
    target: str
    summary: str = ""
    options: tuple[Option, ...] = ()
    paper: Paper | None = None
    kind: str = field(default="", kw_only=True)
    distribution: str = field(default="", kw_only=True)
    version: str = field(default="", kw_only=True)
    entry_point: str = field(default="", kw_only=True)

    def __str__(self) -> str:
        return f"{self.kind} {self.qualified}"

    @property
    def qualified(self) -> str:
        """``distribution/name``, with the distribution as PEP 503 writes it: recipes are split at their first dot."""
        return f"{canonical(self.distribution)}/{self.name}"

    def resolve(self) -> Callable[..., Any]:
        """Import the target."""
        module, _, attribute = self.target.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except (Exception, SystemExit) as error:  # a plugin's import may raise anything
            raise PluginError(
                f"{self._whose} failed in the import of its target {self.target}: {type(error).__name__}: {error}. "
                f"Nothing else of the plugin is lost; `ganzoo check {canonical(self.distribution)}` says more"
            ) from error

    def parse(self, options: Mapping[str, Any], *, complete: bool = False) -> dict[str, Any]:
        """Validate ``options`` against the declared ones; with ``complete``, defaults are filled in."""
        owner = f"{self.kind} {self.name}"
        declared = {option.name: option for option in self.options}
        for name in options:
            if name not in declared:
                raise OptionError(f"{owner} has no option {name!r}; {suggest(name, declared)}")
        values = {name: declared[name].parse(value, owner) for name, value in options.items()}
        if not complete:
            return values
        for name, option in declared.items():
            if name not in values and option.default is ...:
                raise OptionError(f"{owner} needs {name}: {option.accepts}")
        missing = {n: o.parse(o.default, owner) for n, o in declared.items() if n not in values}
        return {name: values.get(name, missing.get(name)) for name in declared}

    def create(self, options: Mapping[str, Any]) -> Any:
        """The thing itself: the target called with every option, parts among them built (but for a method, which is
        made of parts)."""
        target = self.resolve()
        values = self.parse(options, complete=True)
        made = target(**(values if self.kind == "method" else {name: build(value) for name, value in values.items()}))
        module, _, attribute = KINDS[self.kind].partition(":")
        base = getattr(importlib.import_module(module), attribute)
        if not isinstance(made, base):
            raise PluginError(
                f"{self._whose}: its target {self.target} made a {type(made).__name__}, no {base.__name__}"
            )
        return made

    @property
    def _whose(self) -> str:
        return f"{self.kind} {self.name} of {self.distribution} {self.version} (entry point {self.entry_point})"


@dataclass(frozen=True)
class Expected:
    """A published result that a recipe can be held against."""

    metric: str
    value: float
    error: float | None = None
    source: str = ""


@dataclass(frozen=True)
class RecipeEntry(Entry):
    """A named recipe with overrides of its own: what its pair of method and dataset needs, and what was published."""

    target: str = ""
    overrides: Mapping[str, Any] = field(default_factory=dict[str, Any], kw_only=True)
    expected: tuple[Expected, ...] = field(default=(), kw_only=True)


@dataclass(frozen=True)
class SuiteEntry(Entry):
    """A named list of recipes to bench, with the budget each of them gets (patterns to overrides)."""

    target: str = ""
    recipes: tuple[str, ...] = field(default=(), kw_only=True)
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]], kw_only=True)
    seeds: int = field(default=5, kw_only=True)


def normalise(name: str) -> str:
    """Names are compared without case, and ``_`` is ``-``."""
    return name.lower().replace("_", "-")


def canonical(distribution: str) -> str:
    """A distribution's name in the one form that PEP 503 gives it."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


class Registry:
    """Entries by kind and name. Core names cannot be taken over; a name that two plugins share needs its
    distribution."""

    core: Final = "ganzoo"

    def __init__(self) -> None:
        self._entries: dict[str, dict[str, list[Entry]]] = {kind: {} for kind in KINDS}

    def add(self, entry: Entry) -> None:
        self._entries[entry.kind].setdefault(normalise(entry.name), []).append(entry)

    def all(self, kind: str) -> Iterator[Entry]:
        """Every entry of a kind, in the order in which plugins registered them; core comes first."""
        for entries in self._entries[kind].values():
            yield from entries

    def names(self, kind: str) -> list[str]:
        """The name that finds each entry."""
        return [self.name(entry) for entry in self.all(kind)]

    def name(self, entry: Entry) -> str:
        """The name that finds ``entry``: bare where that is enough, else ``distribution/name``."""
        return entry.name if self.owner(entry.kind, entry.name) is entry else entry.qualified

    def owner(self, kind: str, name: str) -> Entry | None:
        """The entry that a bare name means; none if there is none or there are several."""
        entries = self._entries[kind].get(normalise(name), [])
        core = [entry for entry in entries if entry.distribution == self.core]
        return core[0] if core else entries[0] if len(entries) == 1 else None

    def find(self, kind: str, name: str) -> Entry:
        distribution, _, bare = name.rpartition("/")
        entries = self._entries[kind].get(normalise(bare), [])
        if distribution:
            entries = [entry for entry in entries if canonical(entry.distribution) == canonical(distribution)]
            if entries:
                return entries[0]
        elif found := self.owner(kind, bare):
            return found
        if len(entries) > 1:
            names = " or ".join(entry.qualified for entry in entries)
            raise AmbiguousNameError(f"several plugins register the {kind} {name!r}: say {names}")
        near = suggest(name, self.names(kind), f": `ganzoo list {kind}`")
        raise UnknownNameError(f"no {kind} is called {name!r}; {near}")

    def adopt(self, kind: str, entry: Entry, distribution: str, version: str, entry_point: str = "") -> Entry:
        """Add what a plugin's hook returned, under that plugin's name."""
        whose = {"distribution": distribution, "version": version, "entry_point": entry_point}
        entry = replace(entry, kind=kind, **whose)
        self.add(entry)
        return entry
