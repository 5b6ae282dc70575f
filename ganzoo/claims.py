"""What a model says of itself, checked: its numbers computed again from its weights, or after training it again.

A number is held against chance. Computed again on the same samples it comes out the same, but for rounding, where the
same versions run on a machine of the same kind; elsewhere samples differ, and it has to lie where a further evaluation
with fresh samples would lie in 99 of 100 cases.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any, Final, Literal, final

from scipy import special

from ganzoo import card, evaluate
from ganzoo.bench import Plan
from ganzoo.errors import ModelError
from ganzoo.model import Model
from ganzoo.origin import CARD, METRICS, MOST_JSON, read_json
from ganzoo.recipe import Recipe
from ganzoo.seeds import derive

Json = Mapping[str, Any]

_Interval = tuple[float | None, float | None]  # mean and half width

#: Two computations of one number on the same samples agree to this share of it, on one kind of machine.
ROUNDING: Final = 1e-4
LEVEL: Final = 0.99
#: As many seeds as a bench trains.
MOST_RUNS: Final = 10_000


@final
@dataclass(frozen=True)
class Claim:
    """One number: ``said`` of this seed, ``again`` on the same samples, ``low`` to ``high`` where fresh ones put it.

    ``over_seeds`` is what the card's table says, mean and half width of the interval, and ``within`` whether this
    seed's number lies where one more seed would lie in 95 of 100 cases.
    """

    metric: str
    unit: str
    said: float | None
    again: float | None
    low: float | None
    high: float | None
    verdict: Literal["same", "holds", "does not hold", "cannot be computed"]
    over_seeds: _Interval = (None, None)
    within: bool | None = None

    @property
    def good(self) -> bool:
        return self.verdict in ("same", "holds")


@final
@dataclass(frozen=True)
class Checked:
    """Every claim, and where the card's files contradict each other."""

    model: str
    seed: int
    draws: int
    claims: tuple[Claim, ...]
    contradictions: tuple[str, ...]

    @property
    def good(self) -> bool:
        return not self.contradictions and all(claim.good for claim in self.claims)

    def json(self) -> dict[str, Any]:
        return {**asdict(self), "holds": self.good}


def check(model: Model, *, draws: int = 10, heard: Callable[[int], None] = lambda done: None) -> Checked:
    """Compute the numbers of a model's card again, ``draws`` times with fresh samples and once with its own.

    Raises:
        ModelError: it says nothing of itself that could be checked.
    """
    said, seed = model.config.get("metrics"), model.config.get("seed")
    if not isinstance(said, dict) or not said or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise ModelError(f"{model.origin} states no numbers in its configuration, so there are none to check")
    entry = entry_of(model)
    again = {name: score.value for name, score in evaluate.evaluate(model.generator, model.dataset, seed).items()}
    fresh: dict[str, list[float]] = {}
    for draw in range(draws):
        heard(draw)
        for name, score in evaluate.evaluate(model.generator, model.dataset, derive(seed, f"check {draw}")).items():
            fresh.setdefault(name, []).append(score.value)
    known = evaluate.metrics()
    claims = [
        _claim(
            str(name),
            getattr(known.get(str(name)), "unit", ""),
            value,
            again.get(str(name)),
            fresh.get(str(name), []),
            entry,
        )
        for name, value in said.items()
    ]
    return Checked(model.name, seed, draws, tuple(claims), tuple(_contradictions(model, said, entry)))


def _claim(name: str, unit: str, said: Any, again: float | None, fresh: Sequence[float], entry: Json | None) -> Claim:
    over, within = _over_seeds(name, again, entry)
    said = _number(said)
    if said is None or again is None or not math.isfinite(again) or not all(map(math.isfinite, fresh)):
        return Claim(name, unit, said, again, None, None, "cannot be computed", over, within)
    low, high = prediction(fresh, LEVEL)
    near = ROUNDING * max(abs(said), abs(again)) + 1e-9
    verdict = "same" if abs(said - again) <= near else "holds" if low - near <= said <= high + near else "does not hold"
    return Claim(name, unit, said, again, low, high, verdict, over, within)


def prediction(values: Sequence[float], level: float) -> tuple[float, float]:
    """Where one more value lies with probability ``level``: ``mean ± t s √(1 + 1/n)`` (Student's t, n − 1)."""
    n, mean = len(values), fmean(values)
    if n < 2:
        return mean, mean
    half = float(special.stdtrit(n - 1, (1 + level) / 2)) * stdev(values) * math.sqrt(1 + 1 / n)
    return mean - half, mean + half


def _over_seeds(
    name: str, value: float | None, entry: Json | None
) -> tuple[tuple[float | None, float | None], bool | None]:
    last = _last(entry, name)
    values = [v for v in last.get("values") or () if isinstance(v, (int, float))]
    if len(values) < 2 or value is None:
        return (last.get("mean"), last.get("half_width")), None
    low, high = prediction(values, 0.95)
    near = ROUNDING * abs(value) + 1e-9
    return (last.get("mean"), last.get("half_width")), low - near <= value <= high + near


def _last(entry: Json | None, name: str) -> Json:
    found = ((entry or {}).get("metrics") or {}).get(name)
    last = found.get("last") if isinstance(found, dict) else None
    return last if isinstance(last, dict) else {}


def entry_of(model: Model) -> Json | None:
    """The model's entry in the leaderboard that it comes from; none where it brings none."""
    path = model.origin.find(METRICS)
    if path is None:
        return None
    try:
        (entry,) = read_json(path)["entries"]
        _well_formed(entry)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read: {type(error).__name__}: {error}") from None
    return entry


def _well_formed(entry: Any) -> None:
    """Raise `TypeError` where an entry is not made as those are that a bench writes: what follows relies on it."""
    runs, metrics = entry.get("runs", []), entry.get("metrics", {})
    if not isinstance(runs, list) or len(runs) > MOST_RUNS or not all(isinstance(run, dict) for run in runs):
        raise TypeError(f"its runs are no list of at most {MOST_RUNS:,} objects")
    for name, metric in metrics.items():
        last = metric.get("last") or {}
        values = last.get("values", [])
        numbers = [last.get("mean"), last.get("half_width"), *(values if isinstance(values, list) else [values])]
        if not isinstance(values, list) or not all(each is None or _number(each) is not None for each in numbers):
            raise TypeError(f"its numbers of {name!r:.80} are none")


def _contradictions(model: Model, said: Json, entry: Json | None) -> list[str]:
    """Where config.json, metrics.json and the card do not say the same."""
    found: list[str] = []
    seeds = [run.get("seed") for run in (entry or {}).get("runs") or () if isinstance(run, dict)]
    for name, value in said.items():
        values = _last(entry, name).get("values") or ()
        index = seeds.index(model.config["seed"]) if model.config["seed"] in seeds else None
        if index is not None and index < len(values) and not _near(values[index], value):
            found.append(f"{name}: {METRICS} has {values[index]} for seed {seeds[index]}, and config.json {value}")
    path = model.origin.find(CARD)
    if path is not None and path.stat().st_size > MOST_JSON:
        raise ModelError(f"{path} cannot be read: it has more than {MOST_JSON:,} bytes")
    front = card.split(path.read_text(encoding="utf-8", errors="replace"))[0] if path is not None and entry else {}
    for name, value in _of_front(front).items():
        mean = _last(entry, name).get("mean")
        if mean is None or not _near(mean, value, 1e-5):
            found.append(f"{name}: the front matter of {CARD} has {value}, and {METRICS} {mean}")
    return found


def _near(a: Any, b: Any, share: float = 1e-9) -> bool:
    x, y = _number(a), _number(b)
    if x is None or y is None:
        return a is None and b is None
    return math.isclose(x, y, rel_tol=share, abs_tol=1e-12)


def _number(value: Any) -> float | None:
    """A finite number; none if it is another thing, or larger than any that a metric has."""
    return float(value) if isinstance(value, (int, float)) and -1e150 < value < 1e150 else None


def _of_front(front: Json) -> dict[str, Any]:
    """The numbers of a ``model-index``."""
    try:
        metrics = front["model-index"][0]["results"][0]["metrics"]
        return {str(metric["type"]): metric["value"] for metric in metrics}
    except (KeyError, IndexError, TypeError):
        return {}


# Training again


@final
@dataclass(frozen=True)
class Comparison:
    """One metric, as published and as trained again: means, half widths of their intervals, and the difference with
    its 95 % interval (Welch's t), where both have several seeds."""

    metric: str
    published: tuple[float | None, float | None, int]
    again: tuple[float | None, float | None, int]
    difference: tuple[float, float] | None
    verdict: Literal["same", "agrees", "differs", "unknown"]


def plan_from(model: Model, seeds: int | None = None) -> Plan:
    """The bench that trains a model's recipe again, with as many seeds as it had."""
    entry = entry_of(model)
    before = len((entry or {}).get("runs") or ()) or 1
    return Plan(
        f"from-{model.name.replace('/', '-')}", (Recipe.parse(model.config["recipe"]).check(),), seeds or before
    )


def compare(model: Model, board: Json) -> list[Comparison]:
    """What was published of a model beside what its recipe has given now."""
    entry, (again,) = entry_of(model), board["entries"]
    said = model.config.get("metrics") or {}
    names = list(dict.fromkeys([*((entry or {}).get("metrics") or said), *again["metrics"]]))
    return [_compared(name, _values(entry, said, name), _values(again, {}, name)) for name in names]


def _values(entry: Json | None, said: Json, name: str) -> list[float | None]:
    values = list(_last(entry, name).get("values") or ()) or ([said[name]] if name in said else [])
    return [_number(value) for value in values]


def _compared(name: str, before: list[float | None], now: list[float | None]) -> Comparison:
    ends = [_end(values) for values in (before, now)]
    a, b = ([v for v in values if v is not None] for values in (before, now))
    shared = min(len(before), len(now))
    if len(a) < len(before) or len(b) < len(now) or not shared:
        return Comparison(name, ends[0], ends[1], None, "unknown")
    # Seeds are counted from 0 in both: where each gives its number again, nothing is left to chance.
    same = all(_near(x, y, ROUNDING) for x, y in zip(before[:shared], now[:shared], strict=True))
    if len(a) < 2 or len(b) < 2:
        return Comparison(name, ends[0], ends[1], None, "same" if same else "unknown")
    middle, half = fmean(b) - fmean(a), welch(a, b)
    agrees = abs(middle) <= half + ROUNDING * abs(fmean(a))
    return Comparison(name, ends[0], ends[1], (middle, half), "same" if same else "agrees" if agrees else "differs")


def welch(a: Sequence[float], b: Sequence[float], level: float = 0.95) -> float:
    """The half width of the interval of a difference of means: ``t √(s_a²/n_a + s_b²/n_b)``, with t of as many degrees
    of freedom as Welch and Satterthwaite give it. Welch, *The generalization of "Student's" problem* (1947)."""
    errors = [stdev(values) ** 2 / len(values) for values in (a, b)]
    if not sum(errors):
        return 0.0
    freedom = sum(errors) ** 2 / sum(e**2 / (len(v) - 1) for e, v in zip(errors, (a, b), strict=True))
    return float(special.stdtrit(freedom, (1 + level) / 2)) * math.sqrt(sum(errors))


def _end(values: Sequence[float | None]) -> tuple[float | None, float | None, int]:
    from ganzoo.bench import interval

    found = interval(values)
    return found["mean"], found["half_width"], len(values)
