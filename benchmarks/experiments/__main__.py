"""Published results, reproduced: ``python benchmarks/experiments NAME [--seeds N] [--jobs J] [--out FILE]``.

An experiment is a module of this folder whose name has no leading underscore; ``dirac_gan.py`` is called ``dirac-gan``.
It has ``run(seeds, jobs) -> dict``, what was set, expected and measured, for JSON, with a list of ``checks`` (made by
`_shared.close` and the like); ``table(result) -> str`` for the terminal; and, where there is something to see,
``draw(path)``. Whether a result holds does not change the exit code: it is printed and recorded.
"""

from __future__ import annotations

import argparse
import ast
import datetime
import importlib
import pkgutil
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results"


def names() -> dict[str, str]:
    """Experiments by name, each with the first line of its docstring; none of them is imported."""
    modules = [m.name for m in pkgutil.iter_modules([str(HERE)]) if not m.name.startswith("_")]
    return {name.replace("_", "-"): _summary(HERE / f"{name}.py") for name in modules}


def _summary(path: Path) -> str:
    return (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python benchmarks/experiments", description="Reproduce a published result.")
    parser.add_argument("name", nargs="?", choices=[*names()], metavar="NAME")
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0 to N-1 (3)")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time, one thread each (2)")
    parser.add_argument("--out", type=Path, help="the JSON (benchmarks/results/DATE-NAME.json)")
    parser.add_argument("--picture", type=Path, help="also draw, where the experiment can")
    asked = parser.parse_args(arguments)
    if asked.name is None:
        print("\n".join(f"{name:20} {summary}" for name, summary in names().items()))
        return
    import _shared  # with torch, which a list needs not

    experiment = importlib.import_module(asked.name.replace("-", "_"))
    if asked.picture and not hasattr(experiment, "draw"):
        parser.error(f"{asked.name} draws nothing")
    _shared.one_thread()
    result = _shared.recorded(asked.name, experiment.run(asked.seeds, asked.jobs))
    out = asked.out or RESULTS / f"{datetime.date.today()}-{asked.name}.json"
    _shared.write(out, result)
    print(report(experiment, result, out))
    if asked.picture:
        experiment.draw(asked.picture)


def report(experiment: Any, result: dict[str, Any], out: Path) -> str:
    """The experiment's table, then what does not hold, in plain words."""
    failed = [check for check in result["checks"] if not check["holds"]]
    rows = [f"DOES NOT HOLD: {c['what']}: expected {c['expected']}, measured {c['measured']}" for c in failed]
    count = f"{len(result['checks']) - len(failed)} of {len(result['checks'])} expectations hold"
    return "\n".join([experiment.table(result), "", *rows, f"{count}; recorded in {out}"])


if __name__ == "__main__":
    sys.exit(main())
