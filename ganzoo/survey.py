"""What every plugin of this environment does when it is loaded, found out in a process that it may take down.

`survey` starts ``python -m ganzoo.survey`` and reads what that process writes to a file: a line before each plugin is
loaded, and a row for each when all are. A plugin that ends the process, crashes it or never comes back is named by the
last line, and the rest is surveyed without it.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from ganzoo.plugins import STRICT, Host, Plugin

SECONDS: Final = 30  # that a plugin may take to load

#: An entry point: distribution and name.
Point = tuple[str, str]
Row = dict[str, Any]


def survey(seconds: int = SECONDS) -> list[Row]:
    """A row for each plugin, core first: what it is, its status, what it registers, what it asks for."""
    found: dict[Point, Row] = {}
    while (died := _survey(found, seconds)) is not None:
        found[died["distribution"], died["entry_point"]] = died
    for point, row in found.items():
        if row["imports_torch"] is None and row["status"] == "ok":  # another plugin had imported it before
            alone: dict[Point, Row] = {}
            _survey(alone, seconds, only=point)
            row["imports_torch"] = alone.get(point, row)["imports_torch"]
    return sorted(found.values(), key=lambda row: (not row["core"], row["distribution"], row["entry_point"]))


def _survey(found: dict[Point, Row], seconds: int, only: Point | None = None) -> Row | None:
    """Add to ``found`` what another process finds; if that dies, the row of the plugin that it died of."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows"
        path.touch()
        asked = json.dumps({"known": [*found], "only": only, "seconds": seconds})
        with (Path(folder) / "said").open("wb+") as said:  # no pipe, which a child of a plugin might hold open
            done = subprocess.run(
                [sys.executable, "-P", "-m", "ganzoo.survey", str(path), asked],
                env={**os.environ, STRICT: "0"},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                check=False,
            )
            said.seek(0)
            last = said.read().decode(errors="replace")
        rows = [json.loads(line) for line in path.read_text().splitlines()]
    loading: Row | None = None
    for row in rows:
        loading = row if row["status"] == "loading" else None
        if loading is None:
            found[row["distribution"], row["entry_point"]] = row
    if loading is not None:
        return {**loading, "status": "failed", "error": f"import: {_end(done.returncode, last, seconds)}"}
    if done.returncode:
        raise RuntimeError(f"the survey of plugins failed: {last.strip()[-500:]}")
    return None


def _end(code: int, last: str, seconds: int) -> str:
    if "Timeout (" in last:  # what faulthandler says before it ends the process
        return f"it was not done after {seconds} s"
    if code < 0:
        return f"it killed the process ({signal.Signals(-code).name})"
    return f"it ended the process with exit code {code}"


def _main(path: str, asked: str) -> None:
    wanted = json.loads(asked)
    known, only = {tuple(point) for point in wanted["known"]}, wanted["only"]
    with open(path, "a", buffering=1) as out:

        def begin(plugin: Plugin) -> bool:
            point = plugin.distribution, plugin.entry_point
            if point in known or (only is not None and point != tuple(only)):
                return False
            out.write(json.dumps({**_row(plugin), "status": "loading"}) + "\n")
            faulthandler.dump_traceback_later(
                wanted["seconds"], exit=True, file=2
            )  # also where no Python runs any more
            return True

        for plugin in Host(begin).plugins:
            out.write(json.dumps(_row(plugin)) + "\n")
    os._exit(0)  # whatever a plugin left to be done at exit


def _row(plugin: Plugin) -> Row:
    return {
        "distribution": plugin.distribution,
        "version": plugin.version,
        "entry_point": plugin.entry_point,
        "core": plugin.core,
        "status": plugin.status,
        "error": plugin.error,
        "requires": plugin.requires,
        "met": plugin.met,
        "events": plugin.events,
        "imports_torch": plugin.imports_torch,
        "seconds": round(plugin.seconds, 4),
        "entries": {kind: [e.name for e in plugin.entries if e.kind == kind] for kind in _kinds(plugin.entries)},
    }


def _kinds(entries: Sequence[Any]) -> list[str]:
    return list(dict.fromkeys(entry.kind for entry in entries))


if __name__ == "__main__":
    _main(*sys.argv[1:])
