"""What publishing and loading cost: requests and seconds, against a Hub on this machine.

``python benchmarks/speed/hub.py [--rounds 7] [--out FILE]``. Every command is a fresh process with one thread; its
seconds are those of the whole process, imports included, and the network is a loopback: what is measured is ganzoo and
the client, not the way to the Hub. Compared commands alternate, and ratios are medians over rounds with their range.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from hubs import INHERITED, make_model
from loopback import WRITER, Hub

from ganzoo.provenance import environment

NAME = "acme/js-gan.ring"
FIRST = "import ganzoo; x = ganzoo.load({name!r}).sample(1, seed=0).x; assert x.isfinite().all()"
TORCH = "import torch"


def process(args: list[str], env: dict[str, str]) -> float:
    """Seconds of a fresh process."""
    kept = {name: value for name, value in os.environ.items() if name not in INHERITED}
    began = time.perf_counter()
    subprocess.run(
        args, env={**kept, "OMP_NUM_THREADS": "1", "GANZOO_LOAD_PLUGINS": "", **env}, check=True, capture_output=True
    )
    return time.perf_counter() - began


def measured(hub: Hub, do: Callable[[], float]) -> dict[str, Any]:
    hub.reset()
    seconds = do()
    methods = [request.method for request in hub.requests]
    counts = {method: methods.count(method) for method in dict.fromkeys(methods)}
    return {"seconds": seconds, "requests": len(methods), "by_method": counts}


def sharing(mode: str, model: Path, root: Path) -> dict[str, Any]:
    """One round: published, published again, loaded without and with a cache."""
    ganzoo = [sys.executable, "-m", "ganzoo"]
    with Hub(mode=mode) as hub:  # pyright: ignore[reportArgumentType]
        sender, receiver = (hub.environment(root / f"{who}-{mode}-{time.monotonic_ns()}", WRITER) for who in ("a", "b"))
        publish = [*ganzoo, "publish", str(model), "--to", "acme"]
        found = {"publish": measured(hub, lambda: process(publish, sender))}
        found["publish again"] = measured(hub, lambda: process(publish, sender))
        commit = hub.repos["model", NAME].main
        names = {"cold load": NAME, "warm load, by branch": NAME, "warm load, by commit": f"{NAME}@{commit}"}
        for what, name in names.items():
            code = FIRST.format(name=name)
            found[what] = measured(hub, lambda code=code: process([sys.executable, "-c", code], receiver))
        return found


def first_sample(model: Path, root: Path, rounds: int) -> dict[str, Any]:
    """From a fresh process to the first sample of a small model in the cache, and importing torch alone, by turns."""
    with Hub() as hub:
        env = hub.environment(root / "first", WRITER)
        process([sys.executable, "-m", "ganzoo", "publish", str(model), "--to", "acme"], env)
        code = FIRST.format(name=f"{NAME}@{hub.repos['model', NAME].main}")
        process([sys.executable, "-c", code], env)
        pairs = [tuple(process([sys.executable, "-c", each], env) for each in (TORCH, code)) for _ in range(rounds)]
    shares = [only / whole for only, whole in pairs]
    return {
        "first_sample": spread([whole for _, whole in pairs]),
        "import_torch": spread([only for only, _ in pairs]),
        "share_of_torch": spread(shares),
    }


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def together(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        what: {**rounds[0][what], "seconds": spread([each[what]["seconds"] for each in rounds])} for what in rounds[0]
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        large = make_model(root / "large", generator_hidden=3500, generator_depth=2)
        small = make_model(root / "small")
        size = (large / "model.safetensors").stat().st_size
        turns: dict[str, list[dict[str, Any]]] = {"lfs": [], "regular": []}
        for _ in range(given.rounds):
            for mode, rounds in turns.items():
                rounds.append(sharing(mode, large, root))
        result = {
            "environment": environment(torch.device("cpu")),
            "rounds": given.rounds,
            "weights_bytes": size,
            **{mode: together(rounds) for mode, rounds in turns.items()},
            **first_sample(small, root, given.rounds),
        }
    for mode in turns:
        for what, row in result[mode].items():
            s = row["seconds"]
            took = f"{s['median']:.2f} s ({s['low']:.2f} to {s['high']:.2f})"
            print(f"{mode:8} {what:22} {row['requests']:3} requests  {took}")
    for what in ("first_sample", "import_torch", "share_of_torch"):
        s = result[what]
        print(f"{what:31} {s['median']:.2f} ({s['low']:.2f} to {s['high']:.2f})")
    if given.out:
        given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
