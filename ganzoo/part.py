"""Options and parts: how a recipe says what it is made of. Nothing here imports torch.

An *option* is declared by an entry, and its `Option.parse` is the one piece of code that validates a value, wherever it
comes from. A *part* refers to an entry with values for some of its options: recipes are made of parts, because parts go
through JSON and back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, cast

from ganzoo.errors import ExportError, OptionError, suggest

if TYPE_CHECKING:
    from ganzoo.registry import Entry

#: Every kind of entry, and the class that its target must make ("" where the entry itself is the data).
KINDS: Final[Mapping[str, str]] = {
    "dataset": "ganzoo.dataset:Dataset",
    "generator": "ganzoo.generator:Generator",
    "discriminator": "ganzoo.discriminator:Discriminator",
    "divergence": "ganzoo.divergence:AnyDivergence",
    "method": "ganzoo.recipe:Method",
    "metric": "ganzoo.metric:Metric",
    "extractor": "ganzoo.extractor:Extractor",
    "term": "ganzoo.terms:Term",
    "penalty": "ganzoo.penalties:Penalty",
    "schedule": "ganzoo.update:Schedule",
    "optimizer": "ganzoo.update:Optimizer",
    "projection": "ganzoo.update:Projection",
    "pair": "ganzoo.pair:Pair",
    "executor": "ganzoo.executor:Executor",
    "recipe": "",
    "suite": "",
}


@dataclass(frozen=True)
class Option:
    """One declared option of an entry.

    ``type`` is ``int``, ``float``, ``bool``, ``str``, or the name of a kind: then the value is a `Part` of that kind.
    ``many`` makes it a tuple of such values. ``fit`` names the attribute of the dataset that fills the option
    (``shape``, ``classes``) when a recipe does not say; where the option has a default, when it says none.
    """

    name: str
    type: type | str
    default: Any = ...  # none: it must be given
    low: float | None = None
    high: float | None = None
    choices: tuple[Any, ...] = ()
    many: bool = False
    optional: bool = False
    fit: str = ""
    help: str = ""

    @property
    def accepts(self) -> str:
        """What is allowed, in words."""
        word = self.type if isinstance(self.type, str) else self.type.__name__
        if self.choices:
            word = " or ".join(map(str, self.choices))
        bounds = [f"≥ {self.low:g}"] if self.low is not None else []
        bounds += [f"≤ {self.high:g}"] if self.high is not None else []
        word = " ".join([word, *bounds])
        word = f"a list of {word}" if self.many else word
        return f"{word} or none" if self.optional else word

    def parse(self, value: Any, owner: str) -> Any:
        """The value as the target takes it, from Python, JSON or a command line's text; `OptionError` if it is none."""
        if value is None or (isinstance(value, str) and value.lower() in ("none", "null")):
            if self.optional:
                return None
            if value is None or value not in self.choices:
                raise self._wrong(value, owner)
        if not self.many:
            return self._one(value, owner)
        if isinstance(value, str):
            value = value.replace("x", ",") if self.type is int else value  # 1x8x8
            value = [piece.strip() for piece in value.split(",") if piece.strip()]
        if not isinstance(value, (list, tuple)):
            raise self._wrong(value, owner)
        return tuple(self._one(item, owner) for item in cast("list[Any]", value))

    def _one(self, value: Any, owner: str) -> Any:
        if isinstance(self.type, str):
            return self._part(value, owner)
        try:
            value = _CONVERT[self.type](value)
            allowed = self._allows(value)
        except (TypeError, ValueError, KeyError, OverflowError):
            allowed = False
        if not allowed:
            raise self._wrong(value, owner)
        return value

    def _allows(self, value: Any) -> bool:
        if isinstance(value, (int, float)) and not (
            math.isfinite(value)
            and (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
        ):
            return False
        return not self.choices or value in self.choices

    def _part(self, value: Any, owner: str) -> Any:
        kind = str(self.type)
        if isinstance(value, str):
            return Part(kind, value)
        if isinstance(value, Mapping):
            value = Part.parse({"kind": kind, **value}, f"{owner}.{self.name}")
        if isinstance(value, Part) and value.kind != kind:
            raise OptionError(f"{owner}: {self.name} must be a {kind}, not the {value.kind} {value.name!r}")
        if value is None or isinstance(value, (int, float, list, tuple)):
            raise self._wrong(value, owner)
        return value  # a part, or in Python a ready-made object

    def _wrong(self, value: Any, owner: str) -> OptionError:
        return OptionError(f"{owner}: {self.name}={value!r} is not allowed; it takes {self.accepts}")


def _int(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError
    return int(value.replace("_", "")) if isinstance(value, str) else int(value)


def _float(value: Any) -> float:
    if isinstance(value, bool):
        raise ValueError
    return float(value)


def _str(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _bool(value: Any) -> bool:
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    return value if isinstance(value, bool) else words[str(value).lower()]


_CONVERT: Final[Mapping[type, Callable[[Any], Any]]] = {int: _int, float: _float, str: _str, bool: _bool}


@dataclass(frozen=True)
class Part:
    """A reference to a registered thing, with options: ``Part("divergence", "js")``."""

    kind: str
    name: str
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @cached_property
    def entry(self) -> Entry:
        from ganzoo.plugins import registry

        return registry().find(self.kind, self.name)

    def build(self) -> Any:
        return self.entry.create(self.options)

    def resolved(self, **fitted: Any) -> Part:
        """The same with its canonical name and every declared option spelt out; ``fitted`` fills what has to fit."""
        from ganzoo.plugins import registry

        filled = {
            option.name: fitted[option.fit]
            for option in self.entry.options
            if option.fit in fitted and self._open(option) and fitted[option.fit] is not None
        }
        values = self.entry.parse({**self.options, **filled}, complete=True)
        return Part(self.kind, registry().name(self.entry), {name: resolve(value) for name, value in values.items()})

    def _open(self, option: Option) -> bool:
        """Whether it is for the data to say."""
        value = self.options.get(option.name, option.default)
        return value in (None, ...) or (isinstance(value, str) and value.lower() in ("none", "null"))

    def json(self) -> dict[str, Any]:
        options = {name: to_json(value) for name, value in self.options.items()}
        return {"kind": self.kind, "name": self.name, **({"options": options} if options else {})}

    @classmethod
    def parse(cls, data: Any, where: str = "part") -> Part:
        """Read `json` back: only registered names and declared options within their bounds get through."""
        data = as_object(data, where)
        if not isinstance(data.get("name"), str):
            raise OptionError(f"{where} must be an object with a name, not {data!r:.80}")
        if extra := set(data) - {"kind", "name", "options"}:
            raise OptionError(f"{where} has unknown fields: {', '.join(sorted(map(str, extra)))}")
        kind, options = data.get("kind"), data.get("options", {})
        if not isinstance(kind, str) or kind not in KINDS:
            raise OptionError(f"{where} is of an unknown kind {kind!r}; {suggest(str(kind), KINDS)}")
        part = cls(kind, data["name"])
        return cls(kind, data["name"], part.entry.parse(as_object(options, f"the options of {where}")))

    @classmethod
    def of(cls, thing: Any, kinds: Iterable[str]) -> Part:
        """The part that makes ``thing``, a frozen dataclass of a registered class; `ExportError` if there is none."""
        from ganzoo.plugins import registry

        if isinstance(thing, Part):
            return thing
        target = f"{type(thing).__module__}:{type(thing).__qualname__}"
        for kind in kinds:
            for entry in registry().all(kind):
                if entry.target == target and is_dataclass(thing):
                    options = {f.name: getattr(thing, f.name) for f in fields(thing)}
                    nested = {o.name: (str(o.type),) for o in entry.options if isinstance(o.type, str)}
                    return cls(
                        kind,
                        registry().name(entry),
                        {n: v if v is None or n not in nested else cls.of(v, nested[n]) for n, v in options.items()},
                    )
        raise ExportError(
            f"{thing!r} has no registered name, so it cannot be written down. Register it as a {' or '.join(kinds)} "
            "in a plugin (entry-point group 'ganzoo') to export what uses it"
        )


def build(value: Any) -> Any:
    """Parts become what they refer to; everything else stays."""
    if isinstance(value, Part):
        return value.build()
    return tuple(map(build, cast("tuple[Any, ...]", value))) if isinstance(value, tuple) else value


def resolve(value: Any) -> Any:
    """Nested parts with all their options spelt out; everything else stays."""
    if isinstance(value, Part):
        return value.resolved()
    return tuple(map(resolve, cast("tuple[Any, ...]", value))) if isinstance(value, tuple) else value


def as_object(data: Any, what: str) -> Mapping[str, Any]:
    """JSON that must be an object."""
    if not isinstance(data, Mapping):
        raise OptionError(f"{what} must be an object, not {data!r:.80}")
    return cast("Mapping[str, Any]", data)


def to_json(value: Any) -> Any:
    if isinstance(value, Part):
        return value.json()
    if isinstance(value, (tuple, list)):
        return [to_json(item) for item in cast("list[Any]", value)]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ExportError(f"{value!r} has no registered name, so it cannot be written down")
