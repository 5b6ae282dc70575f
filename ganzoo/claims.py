"""What a model says of itself, checked: its numbers computed again from its weights, or after training it again.

A number is held against chance. Computed again on the same samples it comes out the same, but for rounding, where the
same versions run on a machine of the same kind; elsewhere samples differ, and it has to lie where one more evaluation
with fresh samples would: all numbers of an honest card do in about 99 of 100 cases (Bonferroni; metrics with skewed
laws in somewhat fewer, for the interval is that of a normal one).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import islice
from statistics import fmean, stdev
from typing import Any, Final, Literal, final

from scipy import special

import ganzoo
from ganzoo import card, evaluate
from ganzoo.bench import Plan, interval
from ganzoo.errors import ModelError, UsageError
from ganzoo.metric import Metric
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

    ``over_seeds`` is what the card's table says: the mean and the half width of its interval.
    """

    metric: str
    unit: str
    said: float | None
    again: float | None
    low: float | None
    high: float | None
    verdict: Literal["same", "holds", "does not hold", "cannot be computed"]
    over_seeds: _Interval = (None, None)

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


def check(model: Model, *, draws: int = 20, heard: Callable[[int], None] = lambda done: None) -> Checked:
    """Compute the numbers of a model's card again, ``draws`` times with fresh samples and once with its own.

    Raises:
        ModelError: it says nothing of itself that could be checked.
    """
    said, seed = model.config.get("metrics"), model.config.get("seed")
    if not isinstance(said, dict) or not said or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise ModelError(f"{model.origin} states no numbers in its configuration, so there are none to check")
    entry = entry_of(model)
    chosen = _known(said)

    def numbers(seed: int, of: Mapping[str, Metric]) -> dict[str, float]:
        scores = evaluate.evaluate(model.generator, model.dataset, seed, of)
        return {name: score.value for name, score in scores.items()}

    again = numbers(seed, chosen)
    sampled = {name: metric for name, metric in chosen.items() if metric.sampled}
    # The others would come out the same each time.
    fresh = {name: [value] for name, value in again.items() if name not in sampled}
    for draw in range(draws):
        heard(draw)
        for name, value in numbers(derive(seed, f"check {draw}"), sampled).items():
            fresh.setdefault(name, []).append(value)
    level = 1 - (1 - LEVEL) / len(said)
    claims: list[Claim] = []
    for name, value in said.items():
        unit, last = getattr(chosen.get(name), "unit", ""), _last(entry, name)
        found = _judged(_number(value), again.get(name), fresh.get(name, []), level)
        over = _number(last.get("mean")), _number(last.get("half_width"))
        claims.append(Claim(name, unit, _number(value), *found, over))
    return Checked(model.name, seed, draws, tuple(claims), tuple(_contradictions(model, said, entry)))


def _known(names: Iterable[str]) -> dict[str, Metric]:
    """Those of the metrics that are registered here: the names are a stranger's."""
    found: dict[str, Metric] = {}
    for name in names:
        with suppress(UsageError):
            found |= evaluate.metrics([name])
    return found


def _judged(
    said: float | None, again: float | None, fresh: Sequence[float], level: float
) -> tuple[float | None, float | None, float | None, Any]:
    """The number again, between which two fresh ones lie, and the verdict."""
    if again is not None and not math.isfinite(again):
        return None, None, None, "same" if said is None else "does not hold"
    if said is None or again is None or not all(map(math.isfinite, fresh)):
        return again, None, None, "cannot be computed"
    low, high = prediction(fresh, level)
    near = ROUNDING * max(abs(said), abs(again)) + 1e-9
    same, within = abs(said - again) <= near, low - near <= said <= high + near
    return again, low, high, "same" if same else "holds" if within else "does not hold"


def prediction(values: Sequence[float], level: float) -> tuple[float, float]:
    """Where one more value lies with probability ``level``: ``mean ± t s √(1 + 1/n)`` (Student's t, n − 1)."""
    n, mean = len(values), fmean(values)
    if n < 2:
        return mean, mean
    half = float(special.stdtrit(n - 1, (1 + level) / 2)) * stdev(values) * math.sqrt(1 + 1 / n)
    return mean - half, mean + half


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
    if entry is None:
        return []
    found: list[str] = []
    front, seed = _of_front(card.split(_text_of_card(model))[0]), model.config["seed"]
    for name in dict.fromkeys(map(str, [*said, *(entry.get("metrics") or {}), *front])):
        last = _last(entry, name)
        mine, mean = _by_seed(entry, name).get(seed), interval(last.get("values") or ())
        if not _near(mine, said.get(name)):
            found.append(f"{name}: {METRICS} has {mine} for seed {seed}, and config.json {said.get(name)}")
        for key in ("mean", "half_width"):
            if not _near(mean[key], last.get(key), 1e-6):
                found.append(f"{name}: {METRICS} has {last.get(key)} as {key}, and its values give {mean[key]}")
        if name in front and not _near(last.get("mean"), front[name], 1e-5):
            found.append(f"{name}: the front matter of {CARD} has {front[name]}, and {METRICS} {last.get('mean')}")
    return found + _of_table(model)


def _text_of_card(model: Model) -> str:
    path = model.origin.find(CARD)
    if path is None:
        return ""
    if path.stat().st_size > MOST_JSON:
        raise ModelError(f"{path} has more than {MOST_JSON:,} bytes, and is not read")
    return path.read_text(encoding="utf-8", errors="replace")


def _of_table(model: Model) -> list[str]:
    """Rows that the card's table has not, of a card that this version wrote: others may lay it out in other ways."""
    path, text = model.origin.find(METRICS), _text_of_card(model)
    board = read_json(path) if path is not None else {}
    if not text or (board.get("environment") or {}).get("ganzoo") != ganzoo.__version__:
        return []
    there = set(text.replace("\r\n", "\n").splitlines())
    rows = [row for row in card.card(board, samples=False).splitlines() if row.startswith("|") and row.count("|") == 7]
    lost = [row.split("|")[1].strip() for row in rows if row not in there]
    return [f"{name}: the table of {CARD} does not say what {METRICS} says" for name in lost]


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
    """One metric, as published and as trained again: means, half widths of their intervals, numbers of seeds; and the
    difference with the half width of its 95 % interval (Welch's t), where both have several seeds.

    ``verdict`` is ``same`` where each seed gave its number again; ``differs`` where the interval does not hold 0, or
    where a seed gives another number while most metrics are the same; ``not told apart`` where it does; else
    ``unknown``.
    """

    metric: str
    published: tuple[float | None, float | None, int]
    again: tuple[float | None, float | None, int]
    difference: tuple[float, float] | None
    verdict: str


def plan_from(model: Model, seeds: int | None = None) -> Plan:
    """The bench that trains a model's recipe again: with the seeds that it had, or as many as are asked for."""
    entry = entry_of(model)
    had = [run.get("seed") for run in (entry or {}).get("runs") or ()] or [model.config.get("seed")]
    known = [seed for seed in had if isinstance(seed, int) and 0 <= seed < 2**63]
    count = len(known) if seeds is None else seeds
    more = islice((seed for seed in range(2**63) if seed not in known), max(0, count - len(known)))
    wanted = (*known[:count], *more)
    recipe = Recipe.parse(model.config["recipe"]).check()
    where = str(model.origin.reference or model.name).replace("/", "-")
    return Plan(f"from-{where}", (recipe,), len(wanted), chosen=wanted)


def compare(model: Model, board: Json) -> list[Comparison]:
    """What was published of a model beside what its recipe has given now."""
    said, (again,) = model.config.get("metrics") or {}, board["entries"]
    alone = {"metrics": {name: {"last": {"values": [value]}} for name, value in said.items()}}
    entry = entry_of(model) or {**alone, "runs": [{"seed": model.config.get("seed"), "status": "finished"}]}
    names = dict.fromkeys(map(str, [*(entry.get("metrics") or {}), *again["metrics"]]))
    ends = {name: (_by_seed(entry, name), _by_seed(again, name)) for name in names}
    found = [_compared(name, *both) for name, both in ends.items()]
    if 2 * sum(each.verdict.startswith("same") for each in found) <= len(found):
        return found
    # Where most numbers come out again to the last digit, nothing is left to chance, and the others should too.
    return [
        each
        if each.verdict.startswith("same") or not ends[each.metric][0].keys() & ends[each.metric][1].keys()
        else replace(each, verdict="differs")
        for each in found
    ]


def _by_seed(entry: Json, name: str) -> dict[int, float | None]:
    """The last step's number of each run that has one, by its seed."""
    seeds = [run.get("seed") for run in entry.get("runs") or () if run.get("status") == "finished"]
    values = _last(entry, name).get("values") or []
    return {seed: _number(value) for seed, value in zip(seeds, values, strict=False)}


def _compared(name: str, before: Mapping[int, float | None], now: Mapping[int, float | None]) -> Comparison:
    common = sorted(before.keys() & now.keys())
    same = bool(common) and all(_near(before[seed], now[seed], ROUNDING) for seed in common)
    a, b = ([v for v in values.values() if v is not None] for values in (before, now))
    difference = (fmean(b) - fmean(a), welch(a, b)) if len(a) > 1 and len(b) > 1 else None
    if same:
        verdict = "same" if len(common) >= len(before) else f"same ({len(common)} of {len(before)} seeds)"
    elif difference is None or len(a) < len(before) or len(b) < len(now) or not math.isfinite(difference[1]):
        verdict = "unknown"
    else:
        verdict = "differs" if abs(difference[0]) > difference[1] + ROUNDING * abs(fmean(a)) else "not told apart"
    return Comparison(name, _end(before), _end(now), difference, verdict)


def welch(a: Sequence[float], b: Sequence[float], level: float = 0.95) -> float:
    """The half width of the interval of a difference of means: ``t √(s_a²/n_a + s_b²/n_b)``, with t of as many degrees
    of freedom as Welch and Satterthwaite give it. Welch, *The generalization of "Student's" problem* (1947)."""
    unit = max(map(abs, (*a, *b))) or 1.0  # the square of what is far from 1 is no number
    errors = [stdev([value / unit for value in values]) ** 2 / len(values) for values in (a, b)]
    if not sum(errors) > 1e-30:
        return 0.0
    freedom = sum(errors) ** 2 / sum(e**2 / (len(v) - 1) for e, v in zip(errors, (a, b), strict=True))
    return float(special.stdtrit(freedom, (1 + level) / 2)) * math.sqrt(sum(errors)) * unit


def _end(values: Mapping[int, float | None]) -> tuple[float | None, float | None, int]:
    found = interval(values.values())
    return found["mean"], found["half_width"], len(values)
