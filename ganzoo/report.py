"""Show a leaderboard: one HTML page, a table for the terminal. (The model card is `ganzoo.card`'s.)

A leaderboard is untrusted: its names and errors come from plugins. The page escapes every string, embeds only PNG files
from inside the bench's folder, and its content security policy lets no other script run and loads nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote

import jinja2

from ganzoo.files import atomic_write

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

Json = Mapping[str, Any]

NONE: Final = "—"  # there was to be a number and there is none
NOT_APPLICABLE: Final = "n/a"
ARROWS: Final = {"higher": "↑", "lower": "↓"}
MARKS: Final = {"best": "● ", "tie": "≈ ", "": ""}
WHEN: Final = ("last", "best")
SUPERSCRIPT: Final = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def write_report(leaderboard: Json, folder: Path) -> Path:
    """Write ``folder/index.html``, which needs no other file; pictures are read from paths relative to ``folder``."""
    path = folder / "index.html"
    atomic_write(path, templates().get_template("index.html.j2").render(_page(leaderboard, folder)).lstrip().encode())
    return path


def terminal_table(leaderboard: Json) -> RenderableType:
    """One table per dataset, as on the page. Columns that the terminal has no room for go into a further block."""
    return _Terminal(leaderboard)


@cache
def templates() -> jinja2.Environment:
    """Where every text is escaped unless a filter says otherwise."""
    loader = jinja2.PackageLoader("ganzoo", "templates")
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    filters = (number, whole, duration, seconds, status, expected, link, policy)
    pretty = partial(json.dumps, indent=2, ensure_ascii=False)
    environment.filters |= {each.__name__: each for each in filters} | {"json": pretty}
    return environment


# Numbers
def number(value: float | None, digits: int = 4) -> str:
    """A number of which no error is known, to ``digits`` significant digits."""
    if value is None:
        return NONE
    power = _power(value, digits)
    if not -5 < power < 6:
        return f"{number(value / 10.0**power, digits)}·10{str(power).translate(SUPERSCRIPT)}"
    text = _fixed(value, digits - 1 - power)
    return text.rstrip("0").rstrip(".") if "." in text else text


def interval(mean: float | None, half: float | None) -> str:
    """``mean ± half``: the interval to two significant digits, the mean to as many decimals."""
    if mean is None or half is None:
        return number(mean)
    if half <= 1e-9 * abs(mean):  # seeds that agree, up to rounding
        return f"{number(mean)} ± 0"
    place, power = 1 - _power(half, 2), _power(max(abs(mean), half), 2)
    if -5 < power < 6:
        return f"{_fixed(mean, place)} ± {_fixed(half, place)}"
    mean, half, place = mean / 10.0**power, half / 10.0**power, place + power
    return f"({_fixed(mean, place)} ± {_fixed(half, place)})·10{str(power).translate(SUPERSCRIPT)}"


def whole(value: float | None) -> str:
    return NONE if value is None else _fixed(value, 0)


def duration(value: float | None) -> str:
    if value is None or value < 99.5:
        return NONE if value is None else f"{number(value, 2)} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _power(value: float, digits: int) -> int:
    """The exponent of ten after rounding, so that 0.0996 counts as 0.10."""
    return int(f"{value:.{digits - 1}e}".partition("e")[2]) if value else 0


def _fixed(value: float, place: int) -> str:
    return f"{round(value, place) + 0.0:,.{max(place, 0)}f}".replace("-", "−")  # + 0.0: no negative zero


def seconds(runs: Sequence[Json]) -> float | None:
    """The mean wall clock of those that have one."""
    known = [run["seconds"] for run in runs if run.get("seconds") is not None]
    return fmean(known) if known else None


# The tables: a row per method, a column per metric
class _Cell(NamedTuple):
    """A metric of an entry at one time. ``seeds`` is "4/5" where not all have a number; ``mark`` is one of `MARKS`."""

    text: str = NOT_APPLICABLE
    value: float | None = None
    half: float = 0.0
    how: str = "it does not apply to this generator"
    seeds: str = ""
    mark: str = ""


class _Column(NamedTuple):
    name: str
    unit: str
    better: str
    summary: str
    arrow: str
    floor: str
    floor_how: str
    hows: list[str]  # the ways in which the entries were measured


class _Row(NamedTuple):
    anchor: int
    entry: Json
    cells: Mapping[str, Mapping[str, _Cell]]  # by metric, at "last" and "best"


class _Table(NamedTuple):
    dataset: str
    columns: list[_Column]
    rows: list[_Row]


def _tables(leaderboard: Json) -> list[_Table]:
    entries = dict(enumerate(leaderboard["entries"]))
    datasets = dict.fromkeys(entry["dataset"] for entry in entries.values())
    return [
        table_of(leaderboard, name, {i: e for i, e in entries.items() if e["dataset"] == name}) for name in datasets
    ]


def _measured(leaderboard: Json) -> Json:
    """What critics measured, in the form of a leaderboard of its own."""
    readings = [{**entry, "metrics": entry.get("divergences") or {}} for entry in leaderboard["entries"]]
    controls = {
        dataset: {name: {"value": value["last"]["mean"], "how": "real against real"} for name, value in found.items()}
        for dataset, found in (leaderboard.get("controls") or {}).items()
    }
    there = [entry for entry in readings if entry["metrics"]]
    return {**leaderboard, "metrics": leaderboard.get("divergences") or {}, "floors": controls, "entries": there}


def table_of(leaderboard: Json, dataset: str, entries: Mapping[int, Json]) -> _Table:
    """What is shown of a dataset: a column for each metric that any of these entries has."""
    names = [name for name in leaderboard["metrics"] if any(name in entry["metrics"] for entry in entries.values())]
    columns = [_column(leaderboard, dataset, name, entries.values()) for name in names]
    cells = {(name, when): [_cell(e, name, when) for e in entries.values()] for name in names for when in WHEN}
    rows = [
        _Row(
            i, e, {c.name: {w: _marked(cells[c.name, w][k], cells[c.name, w], c.better) for w in WHEN} for c in columns}
        )
        for k, (i, e) in enumerate(entries.items())
    ]
    return _Table(dataset, columns, rows)


def _column(leaderboard: Json, dataset: str, name: str, entries: Iterable[Json]) -> _Column:
    metric = leaderboard["metrics"][name]
    floor = leaderboard.get("floors", {}).get(dataset, {}).get(name)
    text, floor_how = (number(floor["value"]), floor.get("how", "")) if floor else (NOT_APPLICABLE, "")
    hows = dict.fromkeys(entry["metrics"][name]["how"] for entry in entries if name in entry["metrics"])
    about = (metric["unit"], metric["better"], metric["summary"], ARROWS.get(metric["better"], ""))
    return _Column(name, *about, text, floor_how, list(hows))


def _cell(entry: Json, name: str, when: str) -> _Cell:
    metric, runs = entry["metrics"].get(name), len(entry["runs"])
    if metric is None:
        return _Cell()
    score = metric.get(when) or {}
    mean, half = score.get("mean"), score.get("half_width")
    have = sum(value is not None for value in score.get("values", ()))
    return _Cell(interval(mean, half), mean, half or 0.0, metric["how"], f"{have}/{runs}" if 0 < have < runs else "")


def _marked(cell: _Cell, column: Sequence[_Cell], better: str) -> _Cell:
    """Mark the best. Only means over every seed compete, and only with what was measured in the same way."""
    rivals = [(c.value, c.half) for c in column if c.how == cell.how and c.value is not None and not c.seeds]
    if cell.value is None or cell.seeds or len(rivals) < 2 or better not in ARROWS:
        return cell
    best, half = max(rivals) if better == "higher" else min(rivals)
    gap = abs(cell.value - best)
    return cell._replace(mark="best" if gap == 0 else "tie" if gap <= max(cell.half, half) else "")


def status(runs: Sequence[Json]) -> list[tuple[str, str]]:
    """Each status that occurs, with words like "2/5 diverged at step 900–1,200"."""
    result = []
    for kind in dict.fromkeys(run["status"] for run in runs):
        same = [run for run in runs if run["status"] == kind]
        steps = sorted(run["diverged_at"] for run in same if run.get("diverged_at") is not None)
        at = " at step " + "–".join(dict.fromkeys(map(whole, (steps[0], steps[-1])))) if steps else ""
        result.append((kind, f"{len(same)}/{len(runs)} {kind}{at}"))
    return result


# The page
def _page(leaderboard: Json, folder: Path) -> dict[str, Any]:
    cards = [
        {"entry": e, "pictures": _pictures(folder, e.get("pictures") or {}), "charts": list(_charts(e, leaderboard))}
        for e in leaderboard["entries"]
    ]
    tables = _tables(leaderboard)
    measured = {table.dataset: table for table in _tables(_measured(leaderboard))}
    return {"board": leaderboard, "tables": tables, "cards": cards, "measured": measured}


def expected(entry: Json) -> list[dict[str, Any]]:
    """What was published, beside ours."""
    return [
        {**e, "published": interval(e["value"], e.get("error")), **{w: _cell(entry, e["metric"], w).text for w in WHEN}}
        for e in entry.get("expected") or ()
    ]


def _pictures(folder: Path, paths: Mapping[str, str]) -> dict[str, str]:
    """Data URIs of those that are PNG files inside the folder."""
    root, result = folder.resolve(), {}
    for when, path in paths.items():
        try:
            file = (root / path).resolve()
            data = file.read_bytes() if file.is_relative_to(root) else b""
        except (OSError, ValueError):
            continue
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            result[when] = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    return result


def link(url: Any) -> str:
    """The address if it is one of the web, else nothing."""
    return quote(str(url), safe=":/?#@!$&*+,;=%~") if re.match(r"https?://", str(url), re.IGNORECASE) else ""


def policy(script: str) -> str:
    """The content security policy that lets this script run and no other."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


# Curves: small multiples, a line per seed
def _charts(entry: Json, leaderboard: Json) -> Iterator[dict[str, Any]]:
    curves = entry.get("curves") or ()
    for name in dict.fromkeys(name for curve in curves for name in curve.get("series") or {}):
        # A loss has the unit of its divergence; only of a likelihood it is known to be nats.
        late = "of the divergence, by the training critic on training data"
        label = "loss, nats" if name.endswith("/likelihood") else "loss" if "/" in name else late
        yield from _chart(name, label, [(c["seed"], c["step"], (c.get("series") or {}).get(name, ())) for c in curves])
    chosen = leaderboard.get("selection", "energy-distance")
    label = ", ".join(filter(None, (chosen, leaderboard["metrics"].get(chosen, {}).get("unit"))))
    checks = [(c["seed"], c.get("validation") or {}) for c in curves]
    yield from _chart("validation", label, [(seed, v.get("step", ()), v.get("value", ())) for seed, v in checks])


def _chart(title: str, label: str, lines: Iterable[tuple[Any, Any, Any]]) -> Iterator[dict[str, Any]]:
    """What the template draws of seeds, steps and values, in shares of the frame; nothing where there is no point."""
    points = [(seed, list(zip(steps, values, strict=False))) for seed, steps, values in lines]
    known = sorted(y for _, line in points for _, y in line if y is not None)
    if not known:
        return
    low, high = _range(known)
    right = max(x for _, line in points for x, _ in line) or 1

    def place(y: float) -> float:
        return min(max((high - y) / (high - low), -1.0), 2.0)  # from above; what is beyond the frame stays near it

    yield {
        "title": title,
        "label": label,
        "lines": [(seed, [(x / right, None if y is None else place(y)) for x, y in line]) for seed, line in points],
        "x": [(tick / right, whole(tick)) for tick in _ticks(0, right, 3)],
        "y": [(place(tick), number(tick)) for tick in _ticks(low, high, 4)],
        "beyond": sum(not low <= y <= high for y in known),
    }


def _range(known: Sequence[float]) -> tuple[float, float]:
    """All values, but for the outermost if the rest would look like a flat line."""
    far = len(known) // 50
    inner = known[-1 - far] - known[far]
    far = far if known[-1] - known[0] > 5 * inner > 0 else 0
    low, high = known[far], known[-1 - far]
    margin = 0.05 * (high - low) or max(0.1 * abs(high), 0.1)
    return low - margin, high + margin


def _ticks(low: float, high: float, at_most: int) -> list[float]:
    base = 10.0 ** math.floor(math.log10((high - low) / at_most))
    step = next(base * m for m in (1, 2, 5, 10, 20) if base * m * at_most >= high - low)
    return [i * step for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


# The terminal
class _Terminal(NamedTuple):
    """A rich renderable: it learns the width when it is printed."""

    leaderboard: Json

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        from rich.text import Text

        for table in _tables(self.leaderboard):
            yield Text(f"{plain(table.dataset)}\n", style="bold")
            yield from _blocks(list(_text_columns(table, WHEN)), options.max_width)
            for row in table.rows:
                if any(run["status"] != "finished" for run in row.entry["runs"]):
                    words = f"{row.entry['method']}: {', '.join(words for _, words in status(row.entry['runs']))}"
                    yield Text(f"{plain(words)}\n", style="red")
        for table in _tables(_measured(self.leaderboard)):
            yield Text(f"{plain(table.dataset)}, by fresh critics\n", style="bold")
            yield from _blocks(list(_text_columns(table, ("last",))), options.max_width)
        error = "± 95 % interval (Student's t)" if self.leaderboard["seeds"] > 1 else "of one seed: no interval"
        yield Text(f"Mean over seeds {error}. ↑ ↓: better. ● best, ≈ not told apart from it.", style="dim")


def _blocks(columns: list[list[str]], width: int) -> Iterator[RenderableType]:
    """The first column with as many others at a time as fit."""
    from rich import box, table, text

    # Each cell has a space on both sides, and one that stands for the line between columns.
    widths = [max(len(line) for cell in column for line in cell.split("\n")) + 3 for column in columns]
    start = 1
    while start < len(columns):
        end = start + 1
        while end < len(columns) and widths[0] + sum(widths[start : end + 1]) <= width:
            end += 1
        block = table.Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for name, *_ in (columns[0], *columns[start:end]):
            block.add_column(text.Text(name), justify="right" if name else "left", no_wrap=True)
        for i, cells in enumerate(zip(*(column[1:] for column in (columns[0], *columns[start:end])), strict=True)):
            texts = (text.Text(cell, style="bold" if cell[:1] == "●" else "") for cell in cells)
            block.add_row(*texts, style="dim" if i % 2 or i == len(columns[0]) - 2 else "")
        yield from (block, text.Text(""))
        start = end


def _text_columns(table: _Table, whens: Sequence[str]) -> Iterator[list[str]]:
    """A header, a line for each method at each time, the floor."""
    names = [plain(row.entry["method"]) for row in table.rows]
    wide = max(map(len, names))
    lines = [f"{'' if i else name:{wide}} {when}" for name in names for i, when in enumerate(whens)]
    yield ["", *(lines if len(whens) > 1 else names), "real data"]
    for column in table.columns:
        cells = [row.cells[column.name][when] for row in table.rows for when in whens]
        texts = [MARKS[c.mark] + c.text + (f" ({c.seeds})" if c.seeds else "") for c in cells]
        yield [f"{plain(column.name)} {column.arrow}\n{plain(column.unit)}", *texts, column.floor]
    if len(whens) > 1:
        yield ["time\nper run", *(t for row in table.rows for t in (duration(seconds(row.entry["runs"])), "")), ""]


def plain(text: Any) -> str:
    """Without line breaks and control characters, which a terminal would obey."""
    return "".join(c if c.isprintable() else " " for c in str(text))
