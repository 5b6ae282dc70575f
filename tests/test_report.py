"""The page, the table and the card say what the leaderboard says, and nothing in it gets out of its place."""

from __future__ import annotations

import copy
import io
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import yaml

from ganzoo import report
from ganzoo.card import write_card

HOSTILE = (
    "</script><script>alert(1)</script>\"'><img src=x onerror=alert(2)> | "
    "`x` ```\n# y\n--- {{ 7 * 7 }} \x1b[31m[link](javascript:x)"
)


# A leaderboard such as a bench makes


def stat(values: list[float | None]) -> dict[str, Any]:
    known = [value for value in values if value is not None]
    if not known:
        return {"mean": None, "half_width": None, "values": values}
    n, mean = len(known), fmean(known)
    t = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}.get(n)
    half = t and t * math.sqrt(sum((v - mean) ** 2 for v in known) / (n - 1) / n)
    return {"mean": mean, "half_width": half, "values": values}


def metric(how: str, last: list[float | None], best: list[float | None] | None = None) -> dict[str, Any]:
    return {"how": how, "last": stat(last), "best": stat(best or last)}


def run(seed: int, **changes: Any) -> dict[str, Any]:
    usual = {"status": "finished", "step": 3000, "diverged_at": None, "best_step": 2400, "seconds": 4.1 + 0.1 * seed}
    return {"seed": seed, **usual, "steps_per_second": 731.707, "error": None, **changes}


def curve(seed: int, *names: str, start: float = 1.4, to: int = 3000) -> dict[str, Any]:
    steps = list(range(30, to + 1, 30))
    wiggle = [0.1 * math.sin(seed + step / 170) + 0.03 * math.sin(7 * seed + step / 23) for step in steps]
    series = {
        name: [start / (1 + k) + math.exp(-step / 900) + w for step, w in zip(steps, wiggle, strict=True)]
        for k, name in enumerate(names)
    }
    check = {"step": [600, 1200, 1800, 2400, 3000], "value": [0.5 / k + 0.02 * seed for k in range(1, 6)]}
    return {"seed": seed, "step": steps, "series": series, "validation": check}


def definition(name: str) -> dict[str, Any]:
    shape = [1, 8, 8] if name.endswith("digits") else [2]
    network = {"kind": "generator", "name": "mlp", "options": {"shape": shape, "hidden": 128}}
    player = {"network": network, "optimizer": {"kind": "optimizer", "name": "adam", "options": {"lr": 1e-3}}}
    return {"format": 1, "name": name, "players": {"generator": player}, "steps": 3000, "batch_size": 256}


PAPER = {
    "title": "Generative Adversarial Nets",
    "authors": "Ian Goodfellow and Jean Pouget-Abadie and Mehdi Mirza",
    "year": 2014,
    "venue": "Advances in Neural Information Processing Systems 27",
    "url": "https://arxiv.org/abs/1406.2661",
    "bibtex": "@inproceedings{goodfellow2014,\n  title = {Generative Adversarial Nets}\n}",
}
GAME = ("discriminator/criticise", "generator/fool", "estimate")


def entry(method: str, dataset: str, metrics: dict[str, Any], **changes: Any) -> dict[str, Any]:
    name = f"{method}.{dataset}"
    runs = [run(seed) for seed in range(5)]
    names = ("generator/likelihood",) if method.startswith("mle-") else GAME
    pictures = {when: f"runs/{name}/seed-0/pictures/{when}.png" for when in ("start", "during", "end")}
    usual = {
        "recipe": name,
        "method": method,
        "dataset": dataset,
        "digest": "0123456789abcdef",
        "definition": definition(name),
        "overrides": {"steps": 3000},
        "paper": PAPER,
        "expected": [],
        "runs": runs,
        "metrics": metrics,
        "curves": [curve(each["seed"], *names) for each in runs],
        "pictures": pictures,
        "model": f"models/{name}",
    }
    return {**usual, **changes}


def sample() -> dict[str, Any]:
    """Two datasets: one in the plane, where a run diverged and one failed, and one of images."""
    near, exact = "5-nearest-neighbour estimate, 2,500 samples", "both densities at 2,500 real samples, unbiased"
    rays, pairs = "100 directions, 2,500 real, 2,500 generated", "2,500 real, 2,500 generated, unbiased"
    count, held = "2,500 samples, 3 std", "2,500 samples, x in data units"
    diverged = [run(0), run(1, status="diverged", step=900, diverged_at=930), run(2), run(3), run(4)]
    failed = [
        *diverged[:4],
        run(4, status="failed", step=0, seconds=None, error="RuntimeError: out of memory", best_step=None),
    ]
    published = {"metric": "modes", "value": 6.3, "error": 0.5, "source": "PacGAN (2018), tables 1 and 2: 'GAN'"}
    gone = [0.52, None, 0.44, 0.49, 0.47]
    long = curve(1, *GAME, to=930)
    long["series"]["generator/fool"][-4:] = [40.0, 700.0, None, 9e6]
    ring = [
        entry(
            "js-gan",
            "ring",
            {
                "modes": metric(count, [7, None, 6, 8, None], [8, None, 8, 8, None]),
                "high-quality": metric(count, [91.2, None, 88.0, 93.5, None]),
                "kl": metric(near, [0.9, None, 1.3, 0.7, None]),
                "energy-distance": metric(pairs, [0.012, None, 0.031, 0.009, None]),
                "sliced-wasserstein": metric(rays, [0.081, None, 0.12, 0.07, None]),
            },
            runs=failed,
            curves=[curve(0, *GAME), long, curve(2, *GAME), curve(3, *GAME)],
        ),
        entry(
            "ns-gan",
            "ring",
            {
                "modes": metric(count, [8, 8, 8, 8, 8]),
                "high-quality": metric(count, [95.2, 94.8, 96.1, 95.5, 93.9], [96.2, 95.8, 96.1, 96.5, 96.9]),
                "kl": metric(near, [0.21, 0.25, 0.19, 0.3, 0.22], [0.12, 0.15, 0.13, 0.11, 0.14]),
                "energy-distance": metric(pairs, [1.2e-3, 2.1e-3, 9e-4, 1.6e-3, 1.1e-3]),
                "sliced-wasserstein": metric(rays, [0.021, 0.034, 0.019, 0.027, 0.022]),
            },
            expected=[published],
        ),
        entry(
            "mle-gaussian",
            "ring",
            {
                "modes": metric(count, [8, 8, 8, 8, 8]),
                "high-quality": metric(count, [0.31, 0.29, 0.33, 0.3, 0.28]),
                "kl": metric(exact, [6.101, 6.102, 6.1, 6.101, 6.1]),
                "nll": metric(held, [2.1381, 2.1382, 2.138, 2.1381, 2.1381]),
                "energy-distance": metric(pairs, [0.0512, 0.0515, 0.0511, 0.0513, 0.0512]),
                "sliced-wasserstein": metric(rays, [0.181, 0.182, 0.183, 0.182, 0.18]),
            },
            overrides={},
        ),
        entry(
            "mle-gmm",
            "ring",
            {
                "modes": metric(count, [8, 8, 7, 8, 8]),
                "high-quality": metric(count, [99.1, 98.8, 87.2, 98.9, 99.0]),
                "kl": metric(exact, [0.001, 0.002, 0.42, 0.001, 0.001]),
                "nll": metric(held, [-4.1, -4.09, -3.68, -4.1, -4.1]),
                "energy-distance": metric(pairs, [-1.2e-5, 2.1e-4, 9e-3, 1.6e-5, 1.1e-4]),
                "sliced-wasserstein": metric(rays, [0.015, 0.016, 0.06, 0.014, 0.015]),
            },
        ),
    ]
    digits = [
        entry(
            "ns-gan",
            "digits",
            {
                "class-kl": metric("5-NN classifier, 2,500 samples", gone),
                "energy-distance": metric(pairs, [0.041, 0.05, 0.038, 0.044, 0.047]),
                "sliced-wasserstein": metric(rays, [0.031, 0.04, 0.028, 0.033, 0.036]),
            },
            paper=None,
            model=None,
        ),
        entry(
            "mle-gmm",
            "digits",
            {
                "class-kl": metric("5-NN classifier, 2,500 samples", [0.021, 0.03, 0.019, 0.022, 0.02]),
                "nll": metric(
                    "898 samples, x in pixels dequantised to (k + u)/17", [-120.4, -121.1, -119.8, -120.3, -120.7]
                ),
                "energy-distance": metric(pairs, [0.021, 0.02, 0.023, 0.022, 0.021]),
                "sliced-wasserstein": metric(rays, [0.029, 0.031, 0.03, 0.028, 0.03]),
            },
        ),
    ]
    environment = {
        "ganzoo": "0.1.0",
        "torch": "2.13.0+cpu",
        "python": "3.11.7",
        "platform": "Linux-6.1-x86_64-with-glibc2.36",
        "device": "cpu: Intel Xeon Platinum 8481C",
        "commit": "abc1234",
        "plugins": {"ganzoo": "0.1.0", "ganzoo-star": "0.2.1"},
    }
    summaries = {
        "modes": ("modes", "higher", "modes of the density with a sample within 3 std"),
        "high-quality": ("%", "higher", "share of samples within 3 std of a mode"),
        "kl": ("nats", "lower", "KL(P_data ‖ P_G)"),
        "nll": ("nats", "lower", "−E log p_G of held-out data"),
        "class-kl": ("nats", "lower", "KL of the class histogram"),
        "energy-distance": ("data units", "lower", "2E‖X−Y‖ − E‖X−X'‖ − E‖Y−Y'‖ to held-out data"),
        "sliced-wasserstein": ("data units", "lower", "mean W1 of random projections to held-out data"),
    }
    floors = {
        "ring": {
            "modes": {"value": 8.0, "how": count},
            "high-quality": {"value": 98.94, "how": count},
            "kl": {"value": 0.0123, "how": near},
            "energy-distance": {"value": 0.000031, "how": pairs},
            "sliced-wasserstein": {"value": 0.01502, "how": rays},
        },
        "digits": {
            "class-kl": {"value": 0.0041, "how": "5-NN classifier"},
            "energy-distance": {"value": None, "how": pairs},
        },
    }
    return {
        "format": 1,
        "created": "2026-11-22T17:00:00+00:00",
        "suite": "default",
        "seeds": 5,
        "environment": environment,
        "wall_seconds": 170.1,
        "jobs": 2,
        "peak_memory_mib": 900.0,
        "metrics": {
            name: dict(zip(("unit", "better", "summary"), row, strict=True)) for name, row in summaries.items()
        },
        "floors": floors,
        "entries": [*ring, *digits],
    }


def one_seed() -> dict[str, Any]:
    board = sample()
    board["seeds"] = 1
    for each in board["entries"]:
        each["runs"], each["curves"] = each["runs"][:1], each["curves"][:1]
        for score in each["metrics"].values():
            score.update({when: stat(score[when]["values"][:1]) for when in ("last", "best")})
    return board


def draw_pictures(board: dict[str, Any], folder: Path) -> None:
    import numpy as np
    from PIL import Image, ImageDraw

    for i, each in enumerate(board["entries"]):
        for j, path in enumerate((each["pictures"] or {}).values()):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            image = Image.new("RGB", (480, 480), "white")
            pen, rng = ImageDraw.Draw(image), np.random.default_rng(10 * i + j)
            angle = rng.integers(8, size=500) * math.tau / 8
            spread = (60, 25, 6)[j]
            for a, (dx, dy) in zip(angle, rng.normal(0, spread, (500, 2)), strict=True):
                x, y = 240 + 160 * math.cos(a) + dx, 240 + 160 * math.sin(a) + dy
                pen.ellipse((x - 2, y - 2, x + 2, y + 2), fill="#c2410c")
            image.save(folder / path)


class Page(HTMLParser):
    """What a browser would make of the page: tags, attributes and text, with the text of each table row by cell."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def page(board: dict[str, Any], folder: Path) -> str:
    path = report.write_report(board, folder)
    assert path == folder / "index.html"
    return path.read_text(encoding="utf-8")


def printed(board: dict[str, Any], width: int = 80) -> str:
    from rich.console import Console

    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    console.print(report.terminal_table(board))
    return console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]


def card(each: dict[str, Any], board: dict[str, Any], folder: Path) -> str:
    path = write_card({**board, "entries": [each]}, folder)
    assert path == folder / "README.md"
    return path.read_text(encoding="utf-8")


def front(text: str) -> dict[str, Any]:
    return yaml.safe_load(text.split("---\n")[1])


def hostile(value: Any) -> Any:
    """The same with every text made hostile, but for the few words that have a meaning."""
    meant = {"finished", "diverged", "failed", "higher", "lower"}
    if isinstance(value, dict):
        return {k: f"{v}```{HOSTILE}" if k == "bibtex" else hostile(v) for k, v in value.items()}
    if isinstance(value, list):
        return [hostile(item) for item in value]
    return value + HOSTILE if isinstance(value, str) and value not in meant else value


def hostile_names(board: dict[str, Any]) -> dict[str, Any]:
    """The texts that are keys made hostile too: metrics, datasets, series, plugins, overrides."""
    bad = hostile(board)
    bad["metrics"] = {f"{k}{HOSTILE}": v for k, v in bad["metrics"].items()}
    bad["floors"] = {f"{k}{HOSTILE}": {f"{n}{HOSTILE}": f for n, f in v.items()} for k, v in bad["floors"].items()}
    bad["environment"]["plugins"] = {HOSTILE: HOSTILE}
    for each in bad["entries"]:
        each["metrics"] = {f"{k}{HOSTILE}": v for k, v in each["metrics"].items()}
        each["overrides"] = {HOSTILE: HOSTILE}
        for line in each["curves"]:
            line["series"] = {f"{k}{HOSTILE}": v for k, v in line["series"].items()}
    return bad


# Numbers


@pytest.mark.parametrize(
    ("mean", "half", "text"),
    [
        (7.2, 0.4, "7.20 ± 0.40"),
        (8.0, 0.0, "8 ± 0"),
        (7.6, 1e-16, "7.6 ± 0"),
        (0.21634, 0.0996, "0.22 ± 0.10"),
        (-120.46, 0.6031, "−120.46 ± 0.60"),
        (-0.0001, 0.051, "0.000 ± 0.051"),
        (98.21, 12.4, "98 ± 12"),
        (12345.0, 123.0, "12,340 ± 120"),
        (3.2e-7, 1.4e-8, "(3.20 ± 0.14)·10⁻⁷"),
        (4.5e9, 1.2e8, "(4.50 ± 0.12)·10⁹"),
        (0.28314159, None, "0.2831"),
        (2500, None, "2,500"),
        (6.3, None, "6.3"),
        (0.0, None, "0"),
        (-3.1e-7, None, "−3.1·10⁻⁷"),
        (None, None, "—"),
        (None, 0.1, "—"),
    ],
)
def test_an_interval_has_two_significant_digits_and_its_mean_as_many_decimals(
    mean: float | None, half: float | None, text: str
) -> None:
    assert report.interval(mean, half) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.123, "4.1 s"), (0.0312, "0.031 s"), (170.1, "2 min 50 s"), (7300, "2 h 1 min"), (None, "—")],
)
def test_a_duration_is_in_the_units_that_one_would_say(seconds: float | None, text: str) -> None:
    assert report.duration(seconds) == text


# The page


def test_the_page_shows_each_number_of_the_tables(tmp_path: Path) -> None:
    board = sample()
    rows = Page(page(board, tmp_path)).rows
    row = next(row for row in rows if row[0].startswith("ns-gan"))
    assert row[1].count("8 ± 0") == 2
    assert "95.10 ± 1.01" not in row[2]
    assert "95.1 ± 1.0" in row[2]
    assert "96.30 ± 0.52" in row[2]
    assert next(row for row in rows if row[0] == "real held-out data")[1:3] == ["8", "98.94"]
    assert row[4].strip() == "n/an/a"  # a GAN has no likelihood


def test_only_means_over_all_seeds_measured_in_the_same_way_compete(tmp_path: Path) -> None:
    table = report._tables(sample())[0]
    marks = {row.entry["method"]: {n: c["last"].mark for n, c in row.cells.items()} for row in table.rows}
    assert marks["js-gan"] == dict.fromkeys(marks["js-gan"], ""), "two of its seeds have no number"
    assert marks["mle-gmm"]["kl"] == "best"
    assert marks["ns-gan"]["kl"] == "", (
        "an estimate does not compete with what is exact, and nothing else was estimated"
    )
    assert marks["ns-gan"]["modes"] == marks["mle-gaussian"]["modes"] == "best"
    assert marks["mle-gmm"]["modes"] == "tie"
    assert marks["mle-gmm"]["high-quality"] == "best"
    assert marks["mle-gaussian"]["high-quality"] == ""
    text = page(sample(), tmp_path)
    assert "3/5 seeds" in text
    assert "both densities at 2,500 real samples, unbiased" in text


def test_runs_that_diverged_or_failed_are_in_sight_with_their_error(tmp_path: Path) -> None:
    text = " ".join(Page(page(sample(), tmp_path)).text)
    for words in ("3/5 finished", "1/5 diverged at step 930", "1/5 failed", "RuntimeError: out of memory"):
        assert words in text


def test_a_range_of_steps_where_several_diverged() -> None:
    runs = [run(0, status="diverged", diverged_at=1200), run(1, status="diverged", diverged_at=900)]
    assert report.status(runs) == [("diverged", "2/2 diverged at step 900–1,200")]


def test_hostile_texts_stay_texts(tmp_path: Path) -> None:
    good, bad = sample(), hostile_names(sample())
    draw_pictures(good, tmp_path)
    clean = Page(page(good, tmp_path))
    text = page(bad, tmp_path)
    parsed = Page(text)
    assert parsed.count("script") == clean.count("script") == 1
    assert not [tag for tag, attributes in parsed.tags if any(name.startswith("on") for name in attributes)]
    hrefs = [attributes["href"] or "" for _, attributes in parsed.tags if "href" in attributes]
    assert all(re.fullmatch(r"#[\w-]+|https://[^\s<>\"'`]+|data:,", href) for href in hrefs)
    assert {tag for tag, _ in parsed.tags} <= {tag for tag, _ in clean.tags} | {"img"}
    assert "{{ 7 * 7 }}" in text
    assert "alert(1)" in "".join(parsed.text)


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:text/html,x", "ftp://x.org", "//x.org", "", None, "HTTP:x"]
)
def test_only_addresses_of_the_web_become_links(tmp_path: Path, url: str | None) -> None:
    board = sample()
    board["entries"][0]["paper"] = {**PAPER, "url": url}
    del board["entries"][1:]
    hrefs = [attributes["href"] for tag, attributes in Page(page(board, tmp_path)).tags if tag == "a"]
    assert all(href and href.startswith("#") for href in hrefs)
    assert "](<" not in card(board["entries"][0], board, tmp_path)


def test_the_page_loads_nothing(tmp_path: Path) -> None:
    board = sample()
    draw_pictures(board, tmp_path)
    text = page(board, tmp_path)
    parsed = Page(text)
    loads = [a.get("src") or "" for tag, a in parsed.tags if tag != "a"] + [
        a.get("href") or "" for t, a in parsed.tags if t == "link"
    ]
    assert all(address.startswith("data:") for address in loads if address)
    assert parsed.count("img") == 18 + 6, "three for each entry, and the last of them under the tables"
    assert not re.search(r"@import|url\(", text)
    assert "default-src 'none'" in next(a["content"] or "" for t, a in parsed.tags if a.get("http-equiv"))


def test_pictures_come_from_inside_the_folder_and_are_png(tmp_path: Path) -> None:
    board, folder = sample(), tmp_path / "bench"
    draw_pictures(board, folder)
    (tmp_path / "outside.png").write_bytes((folder / board["entries"][0]["pictures"]["end"]).read_bytes())
    (folder / "secret.png").write_text("no picture")
    (folder / "link.png").symlink_to(tmp_path / "outside.png")
    del board["entries"][1:]
    for path in (
        "../outside.png",
        str(tmp_path / "outside.png"),
        "secret.png",
        "link.png",
        "missing.png",
        "\0",
        "x" * 5000,
        ".",
    ):
        board["entries"][0]["pictures"] = {"end": path}
        assert Page(page(board, folder)).count("img") == 0, path


def test_empty_curves_pictures_and_metrics_are_left_out(tmp_path: Path) -> None:
    board = sample()
    empty = {"seed": 0, "step": [], "series": {"estimate": []}, "validation": {"step": [], "value": []}}
    board["entries"][0].update(
        curves=[empty], pictures={}, metrics={}, runs=[run(0, status="failed", error="gone", seconds=None)]
    )
    board["entries"][1].update(curves=[], pictures=None, expected=[])
    board["entries"][2]["curves"][0]["series"]["generator/likelihood"] = [None] * 100
    del board["entries"][3:]
    text = page(board, tmp_path)
    assert "estimate, of the divergence, over steps" not in text
    assert text.count("generator/likelihood, loss, nats, over steps") == 1
    assert not re.search(r"\bnan\b|None", "".join(Page(text.replace("NaN", "")).text))
    assert "real data" in printed(board)


def test_an_empty_leaderboard_is_a_page(tmp_path: Path) -> None:
    board = {**sample(), "entries": [], "floors": {}, "metrics": {}}
    assert "<h1>" in page(board, tmp_path)
    printed(board)


def test_recipes_that_were_asked_for_by_name_are_no_suite(tmp_path: Path) -> None:
    whole = page(sample(), tmp_path)
    assert "<title>ganzoo leaderboard: default</title>" in whole
    named = page({**sample(), "asked": ["js-gan.ring", "mle-*"]}, tmp_path)
    assert "<title>ganzoo leaderboard: js-gan.ring, mle-*</title>" in named
    assert "<b>js-gan.ring, mle-*</b> with what the suite default says of them" in named


def test_one_seed_has_no_interval_and_says_so(tmp_path: Path) -> None:
    text = page(one_seed(), tmp_path)
    assert "single seed" in text
    assert not re.search(r"\d ± \d", text.replace("6.30 ± 0.50", ""))
    assert "no interval" in printed(one_seed())
    assert "One seed" in card(one_seed()["entries"][0], one_seed(), tmp_path)


def test_the_limit_of_the_gaussian_is_shown_where_both_kinds_share_a_dataset(tmp_path: Path) -> None:
    board = sample()
    assert "The Gaussian's limit" in page(board, tmp_path)
    board["entries"] = [each for each in board["entries"] if each["method"].endswith("-gan")]
    assert "The Gaussian's limit" not in page(board, tmp_path)


def test_curves_are_lines_with_axes_and_gaps(tmp_path: Path) -> None:
    low, high = report._range([*[k / 100 for k in range(100)], 1e9])
    assert (low, high) == pytest.approx((-0.04, 1.03), abs=0.05), "one outlier does not flatten the rest"
    assert report._ticks(0, 3000, 3) == [0, 1000, 2000, 3000]
    assert report._ticks(-0.1, 0.13, 4) == pytest.approx([-0.1, 0.0, 0.1])
    text = page(sample(), tmp_path)
    assert "points beyond the frame" in text
    assert "seed 1, diverged" in text


def test_the_whole_definition_is_on_the_page(tmp_path: Path) -> None:
    board = sample()
    text = "".join(Page(page(board, tmp_path)).text)
    assert json.dumps(board["entries"][0]["definition"], indent=2) in text


# The terminal


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_terminal_has_every_method_and_metric(width: int) -> None:
    text = printed(sample(), width)
    names = {each["method"] for each in sample()["entries"]} | set(sample()["metrics"])
    assert all(name in text for name in (*names, "real data", "ring", "digits"))
    if width >= 80:
        assert max(map(len, text.splitlines())) <= width
        assert "95.1 ± 1.0" in text
        assert "1/5 diverged at step 930" in text


def test_the_terminal_obeys_nothing_in_a_leaderboard() -> None:
    text = printed(hostile_names(sample()), 200)
    assert "\x1b" not in text
    assert "[link]" in text, "it is no markup"


# The card


def test_the_front_matter_is_what_the_hub_reads(tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    board = sample()
    text = card(board["entries"][1], board, tmp_path)
    data = front(text)
    assert data["library_name"] == "ganzoo"
    assert data["license"] == "apache-2.0"
    assert data["tags"] == ["ganzoo", "ns-gan", "ring", "gan"]
    loaded = ModelCard.load(tmp_path / "README.md").data
    results = {each.metric_type: each for each in loaded.eval_results or ()}
    assert loaded.model_name == "ns-gan.ring"
    assert set(results) == set(board["entries"][1]["metrics"])
    assert results["kl"].metric_value == pytest.approx(0.234)
    assert results["kl"].metric_name == "kl, last step, mean of 5 seeds: 0.234 ± 0.053"
    assert results["kl"].dataset_name == "ring"
    assert results["energy-distance"].metric_value == pytest.approx(1.38e-3)


def test_small_numbers_stay_numbers_and_missing_ones_are_left_out(tmp_path: Path) -> None:
    board = sample()
    each = board["entries"][1]
    each["metrics"] = {"kl": metric("how", [3e-7, 2e-7]), "modes": metric("how", [None, None])}
    metrics = front(card(each, board, tmp_path))["model-index"][0]["results"][0]["metrics"]
    assert [m["value"] for m in metrics] == [pytest.approx(2.5e-7)]
    each["metrics"] = {}
    text = card(each, board, tmp_path)
    assert "model-index" not in front(text)
    assert "No metric was measured" in text


def test_the_card_is_honest_and_whole(tmp_path: Path) -> None:
    board = sample()
    (tmp_path / "samples.png").touch()
    text = card(board["entries"][1], board, tmp_path)
    for words in (
        "| high-quality | ↑ | % | 95.1 ± 1.0 | 96.30 ± 0.52 | 98.94 |",
        "| modes | 6.30 ± 0.50 | 8 ± 0 |",
        "![Samples of the generator](samples.png)",
        'model = ganzoo.load("PATH")',
        "ganzoo train ns-gan.ring -o steps=3000",
        "Intel Xeon",
        "2.13.0+cpu",
        "abc1234",
        "2026-11-22T17:00:00+00:00",
        "@inproceedings{goodfellow2014,",
        "(<https://arxiv.org/abs/1406.2661>)",
        "5/5 finished",
    ):
        assert words in text, words
    without = card(board["entries"][4], board, tmp_path / "other")
    assert "(samples.png)" not in without
    assert "bibtex" not in without
    assert front(without)["model-index"][0]["results"][0]["task"]["type"] == "unconditional-image-generation"


def test_hostile_texts_stay_in_their_place_in_the_card(tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    bad = hostile_names(sample())
    text = card(bad["entries"][1], bad, tmp_path)
    assert ModelCard.load(tmp_path / "README.md").data.model_name == "ns-gan.ring" + HOSTILE
    body = text.split("\n---\n", 1)[1]
    prose = re.sub(r"(?ms)^(`{3,}).*?^\1$", "", body)
    assert "<script" not in prose
    assert "<img" not in prose
    assert "\n# y" not in prose
    assert "[link](" not in prose.replace("\\[link\\](", "")
    assert "\x1b" not in prose
    tables = [line for line in prose.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in tables} == {7, 5, 3}


def test_the_leaderboard_is_left_as_it_was(tmp_path: Path) -> None:
    board = sample()
    before = copy.deepcopy(board)
    page(board, tmp_path)
    card(board["entries"][0], board, tmp_path)
    printed(board)
    assert board == before
