"""The nouns *method* and *recipe*.

A method is a way to train, not yet bound to data; a recipe is a method on a dataset with every option resolved. It is
named ``method.dataset``, is frozen, prints as its whole definition and goes through JSON and back.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, cast

import torch
from torch import nn

from ganzoo.dataset import Batch, Dataset
from ganzoo.discriminator import Discriminator
from ganzoo.errors import ExportError, GanzooError, IncompatibleError, OptionError, suggest
from ganzoo.game import GENERATOR, Sum, Turn, Weighted
from ganzoo.generator import Generator, Translator
from ganzoo.part import Option, Part, as_object, resolve, to_json
from ganzoo.plugins import registry
from ganzoo.registry import RECIPE_NAME, Entry, Expected, Paper, RecipeEntry

FORMAT: Final = 1

#: What any recipe can be given besides its method's own options.
BUDGET: Final = (
    Option("steps", int, low=1, high=10**9, help="passes over all turns"),
    Option("batch_size", int, low=1, high=2**20, help="real samples, and generated ones, in a round"),
    Option("ema", float, low=0.0, high=0.999999, help="decay of the generator's moving average, per step"),
    Option("evaluations", int, low=1, high=10**6, help="how often validation looks for the best snapshot"),
)

#: What makes a run cheaper and its result another: never on unless asked for, and written down where it is.
SHORTCUTS: Final = (
    Option(
        "precision",
        str,
        "float32",
        choices=("float32", "tf32", "bfloat16"),
        help="of networks; losses and penalties keep float32",
    ),
    Option("shared_noise", bool, False, help="a turn starts from the noise of the turn before it"),
)

#: The budget said in another way: real samples seen by the first turn, which is the discriminator's where there is one.
IMAGES: Final = Option(
    "images", int, low=1, high=10**13, help="instead of steps: real samples that the first turn sees"
)
#: The same of the moving average.
EMA_IMAGES: Final = Option(
    "ema_images", float, low=1, high=1e13, help="instead of ema: real samples seen until a weight in the average halves"
)
#: What can be said in two ways.
EITHER: Final = {IMAGES.name: "steps", EMA_IMAGES.name: "ema"}


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
    precision: str = "float32"
    shared_noise: bool = False
    overridden: Mapping[str, Any] = field(default_factory=dict[str, Any], compare=False, repr=False)

    @property
    def method(self) -> str:
        return self.name.partition(".")[0]

    @property
    def model(self) -> str:
        """The player that is exported: the one called ``generator``, or else the first generator by name."""
        makers = sorted(name for name, player in self.players.items() if player.network.kind == "generator")
        return GENERATOR if GENERATOR in makers or not makers else makers[0]

    @property
    def translates(self) -> bool:
        """Whether that starts from samples."""
        with torch.device("meta"):
            return isinstance(self.players[self.model].network.build(), Translator)

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
            # What is as it always was is not said, so that old definitions keep their names.
            **{o.name: getattr(self, o.name) for o in SHORTCUTS if getattr(self, o.name) != o.default},
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
            budget |= {option.name: option.parse(data.get(option.name, option.default), where) for option in SHORTCUTS}
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

    def entries(self) -> list[Entry]:
        """What it is made of, core first; `ExportError` where a part has no registered name."""
        parts: list[Part] = []

        def collect(data: Any) -> None:
            if isinstance(data, dict):
                held = cast("dict[str, Any]", data)
                if "kind" in held and "name" in held:
                    parts.append(Part(held["kind"], held["name"]))
                data = list(held.values())
            if isinstance(data, list):
                for each in cast("list[Any]", data):
                    collect(each)

        collect(self.json())
        entries = [registry().find("method", self.method), *(part.entry for part in parts)]
        return sorted(entries, key=lambda entry: (entry.distribution != registry().core, entry.distribution))

    def networks(self) -> dict[str, nn.Module]:
        """Fresh networks by player, on the current default device, from torch's global random state."""
        return {name: player.network.build() for name, player in self.players.items()}

    @property
    def size(self) -> int:
        """How many parameters its networks have, counted without allocating them."""
        with torch.device("meta"):
            return sum(p.numel() for network in self.networks().values() for p in network.parameters())

    def check(self) -> Recipe:
        """Raise `IncompatibleError` where parts do not fit, without allocating anything; else return itself."""
        try:
            self._check()
        except IncompatibleError as error:
            raise IncompatibleError(f"{self.name}: {error}") from None
        return self

    def _check(self) -> None:
        players = [turn.player for turn in self.turns]
        if not players:
            raise IncompatibleError("it has no turns")
        if unknown := set(players) - set(self.players):
            raise IncompatibleError(f"a turn is of {min(unknown)!r}; players: {', '.join(self.players)}")
        if self.simultaneous and (len(set(players)) < len(players) or any(turn.repeats > 1 for turn in self.turns)):
            raise IncompatibleError("in a simultaneous game each player moves once, with repeats=1")
        dataset: Dataset = self.dataset.build()
        for name, player in self.players.items():
            classes = player.network.options.get("classes")
            if classes and classes != dataset.classes:
                raise IncompatibleError(f"{name}.classes={classes}, but the data have {dataset.classes or 'no'} labels")
        with torch.device("meta"):
            networks = self.networks()
        for network in networks.values():
            _check_shape(network, _blank(dataset, 2))
            _check_batch(network, dataset, self.batch_size)
            if self.shared_noise and isinstance(network, Translator):
                raise IncompatibleError(f"shared_noise=true, and {type(network).__name__} starts from samples")
        for turn in self.turns:
            for weighted in turn.built().losses:
                if hasattr(weighted.term, "check"):
                    weighted.term.check(networks)


def _check_shape(network: nn.Module, real: Batch) -> None:
    """A generator must make what a sample is; tried on the meta device, where nothing is computed."""
    if not isinstance(network, Generator):
        return
    z, c = network.source(2, torch.Generator().manual_seed(0), real)
    with torch.no_grad():
        made = network(z.to("meta"), None if c is None else c.to("meta"))
    if made.shape != real.x.shape:
        shapes = f"{tuple(made.shape[1:])}, and the data's is {tuple(real.x.shape[1:])}"
        raise IncompatibleError(f"{type(network).__name__} makes samples of shape {shapes}")


def _blank(dataset: Dataset, n: int) -> Batch:
    """A batch of the shapes that the data have."""
    several = (dataset.classes or 0,) if dataset.several else ()
    label = torch.zeros(n, *several, dtype=torch.long) if dataset.classes else None
    return Batch(torch.zeros(n, *dataset.shape), label)


def _check_batch(network: nn.Module, dataset: Dataset, n: int) -> None:
    """A discriminator must take batches as large as the recipe's (packs must divide them); tried in the same way."""
    if not isinstance(network, Discriminator):
        return
    with torch.device("meta"), torch.no_grad():
        x, label = _blank(dataset, n)
        try:
            network(x, label)
        except GanzooError:
            raise
        except Exception as error:  # a plugin's network may raise anything
            shape = f"{tuple(x.shape)} on the meta device: {type(error).__name__}: {error}"
            raise IncompatibleError(f"{type(network).__name__} does not take a batch of shape {shape}") from error


def create_recipe(name: str, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe ``method.dataset``, checked, with ``overrides`` applied.

    An override is a budget option (``steps``), an option of the method (``divergence``), one of a part
    (``generator.hidden``, ``dataset.std``), or replaces a player's network (``generator=gmm``).
    """
    canonical, method_entry, dataset_entry = _found(name)
    overrides = dict(overrides or {})
    own, budget, parts = _sort(method_entry, _with_named(canonical, method_entry, dataset_entry, overrides))
    method: Method = method_entry.create(own)
    _known_parts(method_entry, method, parts)
    dataset = Part("dataset", registry().name(dataset_entry), parts.pop("dataset", {})).resolved()
    values = {option.name: budget.get(option.name, getattr(method, option.name)) for option in BUDGET}
    values |= {option.name: budget.get(option.name, option.default) for option in SHORTCUTS}
    seen = values["batch_size"] * method.turns[0].repeats  # real samples in a step
    if images := budget.get("images"):
        values["steps"] = math.ceil(images / seen)
    if half_life := budget.get("ema_images"):
        values["ema"] = min(0.5 ** (seen / half_life), 0.999999)
    return Recipe(
        canonical,
        dataset,
        _fitted(method.players, parts, dataset.build()),
        tuple(_resolved(turn) for turn in method.turns),
        **values,
        simultaneous=method.simultaneous,
        overridden=overrides,
    ).check()


def canonical_name(name: str) -> str:
    """``method.dataset`` by the names that find them; `UnknownNameError` says which half is unknown."""
    return _found(name)[0]


def _found(name: str) -> tuple[str, Entry, Entry]:
    method_name, dot, dataset_name = name.partition(".")
    if not dot:
        raise OptionError(f"{name!r} is not a recipe: recipes are named method.dataset, like js-gan.ring")
    method, dataset = registry().find("method", method_name), registry().find("dataset", dataset_name)
    return f"{registry().name(method)}.{registry().name(dataset)}", method, dataset


def _with_named(name: str, method: Entry, dataset: Entry, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """What the recipe's own entry says, where ``overrides`` do not say otherwise.

    Only whoever brought the method or the dataset has a say in what their pair needs.
    """
    entry = _named(name)
    if entry is None or entry.distribution not in (method.distribution, dataset.distribution):
        return dict(overrides)
    return combined(entry.overrides, overrides)


def combined(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Overrides ``one`` where ``other`` ones do not say otherwise."""
    # What is said of a part is not about the part that an override puts in its place.
    replaced = {*other, *(name for pair in EITHER.items() if set(pair) & set(other) for name in pair)}
    return {k: v for k, v in one.items() if k.partition(".")[0] not in replaced} | dict(other)


def _fitted(
    players: Mapping[str, Player], changes: Mapping[str, Mapping[str, Any]], dataset: Dataset
) -> dict[str, Player]:
    """The players with every option resolved, their networks changed and fitted to the data."""
    fitted = {attribute: getattr(dataset, attribute, None) for attribute in _fits()}
    return {
        name: replace(
            player,
            network=_fit(_network(player.network, changes.get(name, {})), fitted),
            optimizer=player.optimizer.resolved(),
            schedule=resolve(player.schedule),
        )
        for name, player in players.items()
    }


def _fit(network: Part, fitted: Mapping[str, Any]) -> Part:
    network = network.resolved(**fitted)
    for option in network.entry.options:
        if option.fit and option.default not in (None, ...) and network.options[option.name] is None:
            raise IncompatibleError(
                f"{network.name} is to have as many {option.fit} as the data, which have none; take data that have "
                f"some (images get them from a folder for each label, or from a label_file), or another {network.kind}"
            )
    return network


def recipe_names() -> list[str]:
    """Every registered method on every registered dataset."""
    return [f"{m}.{d}" for m in registry().names("method") for d in registry().names("dataset")]


def _sort(method: Entry, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, dict[str, Any]]]:
    """Overrides by whom they concern: the method, the budget, the parts (where ``""`` replaces the part itself)."""
    for one, other in EITHER.items():
        if one in given and other in given:
            raise OptionError(f"{other} and {one} both say the same thing: give one of them")
    budget_options = {option.name: option for option in (*BUDGET, *SHORTCUTS, IMAGES, EMA_IMAGES)}
    declared = {option.name: option for option in method.options}
    own: dict[str, Any] = {}
    budget: dict[str, Any] = {}
    parts: dict[str, dict[str, Any]] = {}
    for key, value in sorted(given.items()):  # "divergence" comes before "divergence.alpha"
        owner, dot, option = key.partition(".")
        if dot and owner in declared and isinstance(declared[owner].type, str):
            base = declared[owner].parse(own.get(owner, declared[owner].default), method.name)
            if base is None:
                raise OptionError(f"method {method.name}: {owner} is none, it has no {option}; give {owner} too")
            own[owner] = Part(base.kind, base.name, {**base.options, option: value})
        elif key in declared:
            own[key] = value
        elif key in budget_options:
            budget[key] = budget_options[key].parse(value, f"recipe {method.name}")
        else:
            parts.setdefault(owner, {})[option] = value
    return own, budget, parts


def _known_parts(entry: Entry, method: Method, parts: Mapping[str, Mapping[str, Any]]) -> None:
    for owner, options in parts.items():
        if owner not in (*method.players, "dataset") or (owner == "dataset" and "" in options):
            known = [*(o.name for o in (*entry.options, *BUDGET, *SHORTCUTS, IMAGES, EMA_IMAGES)), *method.players]
            known += [f"{player}.OPTION" for player in method.players] + ["dataset.OPTION"]
            wanted = owner if "" in options else f"{owner}.{next(iter(options))}"
            near = suggest(wanted, known)
            takes = "" if near.startswith("known") else f" It takes: {', '.join(known)}"
            raise OptionError(f"{entry.name} has no option {wanted!r}; {near}{takes}")


def _network(network: Part, changes: Mapping[str, Any]) -> Part:
    """What takes a network's place keeps what its method says of options that it has too: how it reads labels. It must
    have those that the method leaves to the data: whether it reads labels."""
    changes = dict(changes)
    if replacement := changes.pop("", None):
        said = network.options
        network = Part(network.kind, str(replacement))
        known = {option.name for option in network.entry.options}
        network = replace(network, options={name: value for name, value in said.items() if name in known})
        if unknown := {name for name, value in said.items() if value is None} - known:
            raise IncompatibleError(
                f"the method needs a {network.kind} with the option {min(unknown)}, and {network.name} has none"
            )
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
    if not isinstance(name, str) or not RECIPE_NAME.fullmatch(name):
        raise OptionError(f"{name!r:.80} is no name of a recipe: they are named method.dataset, like js-gan.ring")
    return name


def _parse_turn(data: Mapping[str, Any]) -> Turn:
    _only(data, {f.name for f in fields(Turn)}, "turn")
    repeats = Option("repeats", int, low=1, high=10**4).parse(data["repeats"], "turn")
    project = None if data["project"] is None else _part(data["project"], ("projection",))
    return Turn(str(data["player"]), Sum(tuple(_parse_weighted(w) for w in data["losses"])), repeats, project)


def _parse_weighted(data: Mapping[str, Any]) -> Weighted:
    _only(data, {f.name for f in fields(Weighted)}, "term")
    weight = data["weight"]
    weight = (
        _part(weight, ("schedule",)) if isinstance(weight, Mapping) else Option("weight", float).parse(weight, "term")
    )
    every = Option("every", int, low=1, high=10**9).parse(data["every"], "term")
    return Weighted(_part(data["term"], ("term", "penalty")), weight, every)


def _parse_player(data: Mapping[str, Any], name: str) -> Player:
    _only(data, {f.name for f in fields(Player)}, f"player {name}")
    schedule = None if data["schedule"] is None else _part(data["schedule"], ("schedule",))
    network = _part(data["network"], ("generator", "discriminator"))
    return Player(network, _part(data["optimizer"], ("optimizer",)), schedule)


def _part(data: Any, kinds: tuple[str, ...]) -> Part:
    part = Part.parse(data).resolved()
    if part.kind not in kinds:
        raise OptionError(f"here a recipe takes a {' or '.join(kinds)}, not the {part.kind} {part.name!r}")
    return part


def _only(data: Mapping[str, Any], known: set[str], where: str) -> None:
    if extra := set(data) - known:
        raise OptionError(
            f"{where} has unknown fields: {', '.join(sorted(map(str, extra)))}; {suggest(min(extra), known)}"
        )
