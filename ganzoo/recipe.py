"""The nouns *method* and *recipe*.

A method is a way to train, not yet bound to data; a recipe is a method on a dataset with every option resolved. It is
named ``method.dataset``, is frozen, prints as its whole definition and goes through JSON and back.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

import torch
from torch import nn

from ganzoo.dataset import Dataset
from ganzoo.errors import ExportError, IncompatibleError, OptionError, suggest
from ganzoo.game import Sum, Turn, Weighted
from ganzoo.plugins import registry
from ganzoo.registry import Entry, Expected, Option, Paper, Part, RecipeEntry, as_object, resolve, to_json

FORMAT: Final = 1
NAME: Final = re.compile(r"([\w-]+/)?[\w-]+\.([\w-]+/)?[\w-]+")

#: What any recipe can be given besides its method's own options.
BUDGET: Final = (
    Option("steps", int, low=1, help="passes over all turns"),
    Option("batch_size", int, low=1, help="real samples, and generated ones, in a round"),
    Option("ema", float, low=0.0, high=0.999999, help="decay of the generator's moving average, per step"),
    Option("evaluations", int, low=1, help="how often validation looks for the best snapshot"),
)

#: The budget said in another way: real samples seen by the first turn, which is the discriminator's where there is one.
IMAGES: Final = Option("images", int, low=1, help="instead of steps: real samples that the first turn sees")


@dataclass(frozen=True)
class Player:
    """A network and how it is updated. ``schedule`` multiplies the learning rate."""

    network: Part
    optimizer: Part
    schedule: Part | None = None


@dataclass(frozen=True)
class Method:
    """Turns, players and a budget. With ``simultaneous`` all players move at once, else each sees the others' last
    move."""

    players: Mapping[str, Player]
    turns: tuple[Turn, ...]
    steps: int = 20_000
    batch_size: int = 256
    ema: float = 0.999
    evaluations: int = 10
    simultaneous: bool = False


@dataclass(frozen=True)
class Recipe:
    """One zoo entry, whole: nothing that changes the result is left out, nothing that does not is in."""

    name: str
    dataset: Part
    players: Mapping[str, Player]
    turns: tuple[Turn, ...]
    steps: int
    batch_size: int
    ema: float
    evaluations: int
    simultaneous: bool = False
    overridden: Mapping[str, Any] = field(default_factory=dict[str, Any], compare=False, repr=False)

    @property
    def method(self) -> str:
        return self.name.partition(".")[0]

    @property
    def paper(self) -> Paper | None:
        """The method's."""
        return registry().find("method", self.method).paper

    @property
    def expected(self) -> tuple[Expected, ...]:
        """What was published for it, where that is registered."""
        entry = _named(self.name)
        return entry.expected if entry else ()

    def json(self) -> dict[str, Any]:
        """The whole definition; `ExportError` where a part of it has no registered name."""
        return {
            "format": FORMAT,
            "name": self.name,
            "dataset": self.dataset.json(),
            "players": {name: _fields(player) for name, player in self.players.items()},
            "turns": [_turn_json(turn) for turn in self.turns],
            **{option.name: getattr(self, option.name) for option in BUDGET},
            "simultaneous": self.simultaneous,
        }

    @classmethod
    def parse(cls, data: Any) -> Recipe:
        """Read `json` back, validating every name and option."""
        where = "recipe"
        data = as_object(data, "a recipe")
        if data.get("format") != FORMAT:
            raise OptionError(f"this recipe has format {data.get('format')!r}; this version of ganzoo reads {FORMAT}")
        _only(data, {"format", *(f.name for f in fields(cls))} - {"overridden"}, where)
        try:
            turns = tuple(_parse_turn(turn) for turn in data["turns"])
            players = {name: _parse_player(player, name) for name, player in data["players"].items()}
            budget = {option.name: option.parse(data[option.name], where) for option in BUDGET}
            dataset = _part(data["dataset"], ("dataset",))
            simultaneous = Option("simultaneous", bool).parse(data["simultaneous"], where)
            return cls(_parse_name(data["name"]), dataset, players, turns, simultaneous=simultaneous, **budget)
        except (KeyError, TypeError, AttributeError) as error:
            raise OptionError(f"this recipe is not well formed: {type(error).__name__}: {error}") from None

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that name the definition."""
        return hashlib.sha256(json.dumps(self.record(), sort_keys=True).encode()).hexdigest()[:16]

    def record(self) -> dict[str, Any]:
        """`json`; where a part has no registered name, what Python prints of it, which cannot be read back."""
        try:
            return self.json()
        except ExportError:
            return {"name": self.name, "repr": repr(self)}

    def networks(self) -> dict[str, nn.Module]:
        """Fresh networks by player, on the current default device, from torch's global random state."""
        return {name: player.network.build() for name, player in self.players.items()}

    def check(self) -> Recipe:
        """Raise `IncompatibleError` where parts do not fit, without allocating anything; else return itself."""
        with torch.device("meta"):
            networks = self.networks()
        for turn in self.turns:
            if turn.player not in self.players:
                raise IncompatibleError(
                    f"{self.name}: a turn is of {turn.player!r}; players: {', '.join(self.players)}"
                )
            for weighted in turn.built().losses:
                if hasattr(weighted.term, "check"):
                    try:
                        weighted.term.check(networks)
                    except IncompatibleError as error:
                        raise IncompatibleError(f"{self.name}: {error}") from None
        return self


def create_recipe(name: str, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe ``method.dataset``, checked, with ``overrides`` applied.

    An override is a budget option (``steps``), an option of the method (``divergence``), one of a part
    (``generator.hidden``, ``dataset.std``), or replaces a player's network (``generator=gmm``).
    """
    method_name, dot, dataset_name = name.partition(".")
    if not dot:
        raise OptionError(f"{name!r} is not a recipe: recipes are named method.dataset, like js-gan.ring")
    method_entry = registry().find("method", method_name)
    dataset_entry = registry().find("dataset", dataset_name)  # an unknown dataset is named before any option is
    canonical = f"{registry().name(method_entry)}.{registry().name(dataset_entry)}"
    entry, overrides = _named(canonical), overrides or {}
    # What a named recipe says of a part is not about the part that an override puts in its place.
    replaced = {*overrides, *(["steps"] if "images" in overrides else [])}
    kept = {k: v for k, v in entry.overrides.items() if k.partition(".")[0] not in replaced} if entry else {}
    given = {**kept, **overrides}
    own, budget, parts = _sort(method_entry, given)

    method: Method = method_entry.create(own)
    _known_parts(name, method, parts)
    dataset_part = Part("dataset", dataset_name, parts.pop("dataset", {})).resolved()
    dataset: Dataset = dataset_part.build()
    fitted = {attribute: getattr(dataset, attribute, None) for attribute in _fits()}
    players = {
        player: replace(
            each,
            network=_network(each.network, parts.get(player, {})).resolved(**fitted),
            optimizer=each.optimizer.resolved(),
            schedule=resolve(each.schedule),
        )
        for player, each in method.players.items()
    }
    values = {option.name: budget.get(option.name, getattr(method, option.name)) for option in BUDGET}
    if images := budget.get("images"):
        values["steps"] = math.ceil(images / (values["batch_size"] * method.turns[0].repeats))
    turns = tuple(_resolved(turn) for turn in method.turns)
    overridden = dict(overrides)
    return Recipe(
        canonical, dataset_part, players, turns, **values, simultaneous=method.simultaneous, overridden=overridden
    ).check()


def recipe_names() -> list[str]:
    """Every registered method on every registered dataset."""
    return [f"{m}.{d}" for m in registry().names("method") for d in registry().names("dataset")]


def _sort(method: Entry, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, dict[str, Any]]]:
    """Overrides by whom they concern: the method, the budget, the parts (where ``""`` replaces the part itself)."""
    if "images" in given and "steps" in given:
        raise OptionError("steps and images both say how long to train: give one of them")
    budget_options = {option.name: option for option in (*BUDGET, IMAGES)}
    declared = {option.name: option for option in method.options}
    own: dict[str, Any] = {}
    budget: dict[str, Any] = {}
    parts: dict[str, dict[str, Any]] = {}
    for key, value in sorted(given.items()):  # "divergence" comes before "divergence.alpha"
        owner, dot, option = key.partition(".")
        if dot and owner in declared and isinstance(declared[owner].type, str):
            base: Part = declared[owner].parse(own.get(owner, declared[owner].default), method.name)
            own[owner] = Part(base.kind, base.name, {**base.options, option: value})
        elif key in declared:
            own[key] = value
        elif key in budget_options:
            budget[key] = budget_options[key].parse(value, f"recipe {method.name}")
        else:
            parts.setdefault(owner, {})[option] = value
    return own, budget, parts


def _known_parts(name: str, method: Method, parts: Mapping[str, Mapping[str, Any]]) -> None:
    entry = registry().find("method", name.partition(".")[0])
    for owner, options in parts.items():
        if owner not in (*method.players, "dataset") or (owner == "dataset" and "" in options):
            known = [*(o.name for o in (*entry.options, *BUDGET, IMAGES)), *method.players]
            known += [f"{player}.OPTION" for player in method.players] + ["dataset.OPTION"]
            wanted = owner if "" in options else f"{owner}.{next(iter(options))}"
            raise OptionError(
                f"{name} has no option {wanted!r}; {suggest(wanted, known)}. It takes: {', '.join(known)}"
            )


def _network(network: Part, changes: Mapping[str, Any]) -> Part:
    changes = dict(changes)
    if replacement := changes.pop("", None):
        network = Part(network.kind, str(replacement))
    return Part(network.kind, network.name, {**network.options, **changes})


def _fits() -> set[str]:
    entries = [e for kind in ("generator", "discriminator") for e in registry().all(kind)]
    return {option.fit for entry in entries for option in entry.options if option.fit}


def _named(name: str) -> RecipeEntry | None:
    entry = registry().owner("recipe", name)
    return entry if isinstance(entry, RecipeEntry) else None


def _resolved(turn: Turn) -> Turn:
    terms = tuple(Weighted(resolve(w.term), resolve(w.weight), w.every) for w in turn.losses)
    return replace(turn, losses=Sum(terms), project=resolve(turn.project))


def _fields(player: Player) -> dict[str, Any]:
    return {f.name: to_json(getattr(player, f.name)) for f in fields(player)}


def _turn_json(turn: Turn) -> dict[str, Any]:
    terms = [
        {
            "term": Part.of(w.term, ("term", "penalty")).json(),
            "weight": w.weight if isinstance(w.weight, (int, float)) else Part.of(w.weight, ("schedule",)).json(),
            "every": w.every,
        }
        for w in turn.losses
    ]
    project = None if turn.project is None else Part.of(turn.project, ("projection",)).json()
    return {"player": turn.player, "losses": terms, "repeats": turn.repeats, "project": project}


def _parse_name(name: Any) -> str:
    """Names become folders: nothing but what `create_recipe` makes gets through."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise OptionError(f"{name!r:.80} is no name of a recipe: they are named method.dataset, like js-gan.ring")
    return name


def _parse_turn(data: Mapping[str, Any]) -> Turn:
    _only(data, {f.name for f in fields(Turn)}, "turn")
    repeats = Option("repeats", int, low=1).parse(data["repeats"], "turn")
    project = None if data["project"] is None else _part(data["project"], ("projection",))
    return Turn(str(data["player"]), Sum(tuple(_parse_weighted(w) for w in data["losses"])), repeats, project)


def _parse_weighted(data: Mapping[str, Any]) -> Weighted:
    _only(data, {f.name for f in fields(Weighted)}, "term")
    weight = data["weight"]
    weight = (
        _part(weight, ("schedule",)) if isinstance(weight, Mapping) else Option("weight", float).parse(weight, "term")
    )
    every = Option("every", int, low=1).parse(data["every"], "term")
    return Weighted(_part(data["term"], ("term", "penalty")), weight, every)


def _parse_player(data: Mapping[str, Any], name: str) -> Player:
    _only(data, {f.name for f in fields(Player)}, f"player {name}")
    schedule = None if data["schedule"] is None else _part(data["schedule"], ("schedule",))
    network = _part(data["network"], ("generator", "discriminator"))
    return Player(network, _part(data["optimizer"], ("optimizer",)), schedule)


def _part(data: Any, kinds: tuple[str, ...]) -> Part:
    part = Part.parse(data)
    if part.kind not in kinds:
        raise OptionError(f"here a recipe takes a {' or '.join(kinds)}, not the {part.kind} {part.name!r}")
    return part


def _only(data: Mapping[str, Any], known: set[str], where: str) -> None:
    if extra := set(data) - known:
        raise OptionError(
            f"{where} has unknown fields: {', '.join(sorted(map(str, extra)))}; {suggest(min(extra), known)}"
        )
