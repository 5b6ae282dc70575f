"""How time and memory of training grow: with the seeds in a stack, the batch, the width, the entries of a bench.

Each figure is that of a fresh process with one thread. Time is per step, after compilation and warm-up. Memory is the
most that the process held, less what one holds that only imports; beside it is what the state needs in theory, R times
(parameters × (weights, gradients, two moments of Adam, and the average of the generator's) + a chunk of draws), and the
data once. Overhead is how much of a step's time is spent outside of operations and compiled kernels, as torch's
profiler sees them.

``python benchmarks/speed/growth.py [--only KIND ...] [--out benchmarks/results/DATE-growth] [--seconds 3]``
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

import _ours
import _pairs
import torch
from _timing import Loop, Setting, measure, peak

from ganzoo import bench
from ganzoo.engine.stream import Stream
from ganzoo.executor import LocalProcesses
from ganzoo.generator import Generator
from ganzoo.recipe import Recipe, create_recipe

RESULTS: Final = Path(__file__).parents[1] / "results"
#: By what grows: its values. What does not grow is `BASE`.
GROWING: Final[Mapping[str, Sequence[int]]] = {
    "seeds": (1, 2, 4, 8, 16, 32, 64, 128, 256),
    "batch": (16, 32, 64, 128, 256, 512, 1024),
    "width": (16, 32, 64, 128, 256, 512),
    "entries": (1, 2, 4, 8, 16),
}
TINY: Final = {"seeds": (1, 2), "batch": (4, 8), "width": (4, 8), "entries": (1, 2)}
BASE: Final = {"seeds": 16, "batch": 64, "width": 32}
PROFILED: Final = 20
#: Entries that take about equally long.
ENTRIES: Final = [f"{m}.{d}" for d in ("ring", "grid", "two-moons", "mixture-1d") for m in ("ns-gan", "js-gan")]


def recipe(setting: Setting, batch: int, width: int) -> Recipe:
    options = {f"{p}.{k}": v for p in ("generator", "discriminator") for k, v in (("hidden", width), ("depth", 3))}
    return _ours.recipe("ns-gan.ring", setting, {**options, "generator.noise": 2, "batch_size": batch})


# What one process measures ----------------------------------------------------------------------------------------


def training(setting: Setting, seeds: int, batch: int, width: int) -> dict[str, Any]:
    """Stacks wider than ``ganzoo.engine.WIDEST``, which nobody gets unless they ask for them, among others."""
    trained = recipe(setting, batch, width)
    loops: list[Loop] = []

    def make(setting: Setting) -> Loop:
        loops.append(_ours.training(trained, setting, seeds))
        return loops[0]

    found = measure(make, setting)
    kernels = kernel_seconds(loops[0])
    step = found["step_milliseconds"] / 1e3
    return {**found, "kernel_share": min(1.0, kernels / step), "needs_mebibytes": needed(trained, seeds) / 2**20}


def kernel_seconds(loop: Loop) -> float:
    """Of a step: the time within operations themselves, not within what calls them."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiled:
        loop.run(PROFILED)
    views = ("view", "as_strided", "expand", "transpose", "unbind", "select", "slice", "detach", "t", "split")
    plain = {f"aten::{name}" for name in (*views, "unflatten", "permute", "reshape", "squeeze", "unsqueeze", "alias")}
    kinds = ("aten::", "cpp_fused", "graph_", "mkldnn")
    own = [e for e in profiled.key_averages() if e.key.startswith(kinds) and e.key not in plain]
    return sum(e.self_cpu_time_total for e in own) / 1e6 / PROFILED


def needed(trained: Recipe, seeds: int) -> float:
    """Bytes of the state of so many seeds, of what they drew ahead and of the data that they share."""
    networks = trained.networks()
    sizes = {name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()}
    generators = {name: network for name, network in networks.items() if isinstance(network, Generator)}
    state = 4 * (4 * sum(sizes.values()) + sum(sizes[name] for name in generators))
    dataset = trained.dataset.build()
    train, turns = dataset.stored("train"), [turn.built() for turn in trained.turns]
    chunk = Stream(trained, turns, generators, train, 0, train.x.device, dataset.decoded).chunk(0)
    drawn = sum(t.nbytes for feed in chunk for t in feed.values())
    data = train.x.nbytes + (0 if train.label is None else train.label.nbytes)
    return seeds * (state + drawn) + data


def entries(setting: Setting, count: int) -> dict[str, Any]:
    """Seconds of a bench of so many entries in one worker, and its memory: its own, and the most of a run."""
    budget = {"steps": setting.size(2_000, 10), "evaluations": 1, "batch_size": 64}
    recipes = tuple(create_recipe(name, budget) for name in _names(count))
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        board = bench.bench(bench.Plan("growth", recipes, 2), Path(folder), LocalProcesses(1), device="cpu")
        seconds = time.perf_counter() - began
    assert all(run["status"] == "finished" for entry in board["entries"] for run in entry["runs"])
    return {"seconds": seconds, "step_milliseconds": 1e3 * seconds, "models": count, "peak_mebibytes": peak()}


def _names(count: int) -> list[str]:
    more = ["mle-gmm.ring", "mle-gmm.grid", "mle-gmm.two-moons", "mle-gmm.mixture-1d"]
    more += [name.replace("gmm", "gaussian") for name in more]
    return [*ENTRIES, *more][:count]


def one(setting: Setting, kind: str, value: int) -> dict[str, Any]:
    if kind == "nothing":
        return {"peak_mebibytes": peak()}
    if kind == "entries":
        return entries(setting, value)
    # Compiled kernels tell the profiler of themselves only where that is asked for.
    from torch._inductor import config

    config.cpp.enable_kernel_profile = True
    at = {**BASE, kind: value}
    return training(setting, at["seeds"], at["batch"], at["width"])


# All of them ------------------------------------------------------------------------------------------------------


def grown(kind: str, values: Sequence[int], setting: Setting, cache: str) -> list[dict[str, Any]]:
    def fresh(*asked: str) -> dict[str, Any]:
        if setting.tiny:
            return one(setting, asked[0], int(asked[1]))
        more = ["--seconds", str(setting.seconds), "--one", *asked]
        return _pairs.fresh([__file__, *more], 1, {"TORCHINDUCTOR_CACHE_DIR": cache})

    idle = fresh("nothing", "0")["peak_mebibytes"] or math.nan
    rows = []
    for value in values:
        found = fresh(kind, str(value))
        found["memory_mebibytes"] = (found["peak_mebibytes"] or math.nan) - idle
        rows.append({"value": value, **found})
        print(f"{kind} {value}: {found['step_milliseconds']:.3f} ms, {found['memory_mebibytes']:.0f} MiB", flush=True)
    return rows


def exponent(rows: Sequence[Mapping[str, Any]], key: str) -> float:
    """``b`` of ``time ∝ value^b``, at the upper end: 1 is as much as the work."""
    (a, low), (b, high) = ((row["value"], row[key]) for row in rows[-2:])
    return math.log(high / low) / math.log(b / a)


def table(result: Mapping[str, Any]) -> str:
    lines = ["# How time and memory grow", ""]
    where = result["environment"]
    lines += [f"{result['when']}, commit {where['commit']}, {where['device']}, torch {where['torch']}, one thread."]
    for kind, rows in result["growth"].items():
        if kind == "entries":
            lines += [
                "",
                "## entries of a bench",
                "",
                "| entries | seconds | per entry | MiB |",
                "|---:|---:|---:|---:|",
            ]
            for row in rows:
                each = row["seconds"] / row["value"]
                memory = f"{row['memory_mebibytes']:.0f}"
                lines.append(f"| {row['value']} | {row['seconds']:.1f} | {each:.2f} | {memory} |")
        else:
            fixed = ", ".join(f"{name} {value}" for name, value in BASE.items() if name != kind)
            lines += ["", f"## {kind} ({fixed})", ""]
            lines += [f"| {kind} | ms/step | µs/model-step | outside of kernels | MiB | MiB in theory |"]
            lines += ["|---:|---:|---:|---:|---:|---:|"]
            lines += [_line(row) for row in rows]
        lines += ["", f"At the end time grows as {kind}^{exponent(rows, 'step_milliseconds'):.2f}."]
    return "\n".join(lines) + "\n"


def _line(row: Mapping[str, Any]) -> str:
    step, share = row["step_milliseconds"], 1 - row["kernel_share"]
    memory = f"{row['memory_mebibytes']:.0f} | {row['needs_mebibytes']:.1f}"
    return f"| {row['value']} | {step:.3f} | {1e3 * step / row['models']:.1f} | {share:.0%} | {memory} |"


def draw(result: Mapping[str, Any], file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    kinds = result["growth"]
    figure, axes = plt.subplots(2, len(kinds), figsize=(3.2 * len(kinds), 5.5), squeeze=False, layout="constrained")
    for column, (kind, rows) in enumerate(kinds.items()):
        values = [row["value"] for row in rows]
        time_axis, memory_axis = axes[0][column], axes[1][column]
        time_axis.loglog(values, [row["step_milliseconds"] for row in rows], "o-", label="measured")
        last = rows[-1]["step_milliseconds"] / values[-1]
        time_axis.loglog(values, [last * value for value in values], ":", color="gray", label="as the work")
        memory_axis.loglog(values, [row["memory_mebibytes"] for row in rows], "o-", label="measured")
        if kind != "entries":
            memory_axis.loglog(values, [row["needs_mebibytes"] for row in rows], ":", color="gray", label="in theory")
        time_axis.set(title=kind, ylabel="ms, all entries" if kind == "entries" else "ms per step")
        memory_axis.set(xlabel=kind, ylabel="MiB")
        for axis in (time_axis, memory_axis):
            axis.legend(fontsize="small")
    figure.savefig(file, dpi=120)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="How time and memory of training grow.")
    parser.add_argument("--only", nargs="+", choices=GROWING, default=list(GROWING))
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement, at least (3)")
    parser.add_argument("--out", type=Path, default=RESULTS / f"{date.today()}-growth", help="name without its ending")
    parser.add_argument("--tiny", action="store_true", help="only see that everything runs, in this process")
    parser.add_argument("--one", nargs=2, metavar=("KIND", "VALUE"), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    setting = Setting(torch.device("cpu"), 0.02 if given.tiny else given.seconds, given.tiny)
    torch.set_num_threads(1)
    if given.one:
        print(json.dumps(one(setting, given.one[0], int(given.one[1]))))
        return
    values = TINY if given.tiny else GROWING
    head = _pairs.record()
    with tempfile.TemporaryDirectory() as cache:
        growth = {kind: grown(kind, values[kind], setting, cache) for kind in given.only}
    result = {**head, "growth": growth}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    given.out.with_suffix(".md").write_text(table(result))
    draw(result, given.out.with_suffix(".png"))
    print(table(result))


if __name__ == "__main__":
    sys.exit(main())
