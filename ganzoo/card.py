"""The model card: README.md of a model, from the one entry of a leaderboard that its ``metrics.json`` holds.

What ganzoo writes is the front matter and one marked block; whatever people write around the block stays.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

import jinja2
from markupsafe import Markup

from ganzoo.files import atomic_write
from ganzoo.origin import CARD, SAMPLES
from ganzoo.report import Json, plain, table_of, templates

BEGIN: Final = "<!-- ganzoo:begin — ganzoo writes what stands between these two marks; the rest is yours -->"
END: Final = "<!-- ganzoo:end -->"

#: What ganzoo says in the front matter, and takes back when it no longer holds.
_OWN: Final = {"library_name", "tags", "pipeline_tag", "datasets", "model-index", "title", "sdk", "app_file"}

_FRONT: Final = re.compile(r"\A---[ \t]*\n(.*?\n|)---[ \t]*(?:\n|\Z)", re.DOTALL)
_BEGINS: Final = re.compile(r"<!-- ganzoo:begin\b")
#: Letters that a front matter may have: reading YAML takes its time.
_MOST_FRONT: Final = 2**16


def write_card(leaderboard: Json, folder: Path) -> Path:
    """Write ``folder/README.md`` for the leaderboard's one entry, around what a reader wrote into one that is there."""
    path = folder / CARD
    old = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None
    atomic_write(path, card(leaderboard, samples=(folder / SAMPLES).is_file(), old=old).encode())
    return path


def card(
    leaderboard: Json,
    *,
    samples: bool,
    repo: str | None = None,
    license: str = "apache-2.0",
    old: str | None = None,
) -> str:
    """The card of the leaderboard's one entry.

    Args:
        samples: whether ``samples.png`` lies beside it.
        repo: where it is published, ``ORG/NAME``.
        license: the Hub's identifier of one, unless ``old`` has another.
        old: the text that it takes the place of. What people wrote outside of the block is kept, and so are keys of the
            front matter that are not ganzoo's.
    """
    (entry,) = leaderboard["entries"]
    context = _context(entry, leaderboard, samples, repo) | {"license": license}
    return _around(*split(_templates().get_template("card.md.j2").render(context).lstrip()), old)


def _around(front: dict[str, Any], block: str, old: str | None) -> str:
    """The block in its place in the old text, under a front matter in which what is not ganzoo's is kept."""
    block = f"{BEGIN}\n{block.strip()}\n{END}"
    held, around = split(old or "")
    tags = [*front["tags"], *(tag for tag in _texts(held.get("tags")) if tag not in front["tags"])]
    kept = {key: value for key, value in held.items() if key not in _OWN}
    front = {**front, "tags": tags, **kept}  # a licence that somebody chose is among what is kept
    before, found, after = _parts(around)
    body = f"{before}{block}{after}" if found else f"{around.rstrip()}\n\n{block}".lstrip()
    return f"---\n{_dump(front)}---\n\n{body.strip()}\n"


def space(title: str, old: str | None = None) -> str:
    """The card of a leaderboard's static page, around what people wrote."""
    front = {"title": title, "sdk": "static", "app_file": "index.html", "tags": ["ganzoo"], "license": "apache-2.0"}
    block = "A leaderboard that ganzoo made: `index.html` shows it, `leaderboard.json` has every number with its seeds."
    return _around(front, block, old)


def own_words(text: str) -> str:
    """What people wrote into a card around the block."""
    before, _, after = _parts(split(text)[1])
    return f"{before}{after}".strip()


def _parts(text: str) -> tuple[str, str, str]:
    """What stands before the block, the block, and what stands after it: from the first beginning to the last end."""
    begins, ends = _BEGINS.search(text), text.rfind(END)
    if begins is None or ends < begins.end():
        return text, "", ""
    return text[: begins.start()], text[begins.start() : ends + len(END)], text[ends + len(END) :]


def split(text: str) -> tuple[dict[str, Any], str]:
    """The front matter, empty where there is none that can be read, and what comes after it."""
    from yaml import YAMLError, load  # it comes with huggingface-hub

    text = text.lstrip("\ufeff").replace("\r\n", "\n")
    found = _FRONT.match(text)
    if found is None:
        return {}, text
    try:
        if len(found[1]) > _MOST_FRONT:
            raise ValueError("too long")
        front = load(found[1], _loader())
        _dump(front)  # what cannot be written again is not kept
    except (YAMLError, ValueError, RecursionError):
        front = None
    held = (
        {k: v for k, v in cast("dict[Any, Any]", front).items() if isinstance(k, str)}
        if isinstance(front, dict)
        else {}
    )
    return held, text[found.end() :]


@cache
def _loader() -> Any:
    from yaml import SafeLoader

    class Loader(SafeLoader):
        def flatten_mapping(self, node: Any) -> None:
            """Merge nothing (``<<``): a few lines of it can ask for more keys than fit anywhere."""

    return Loader


def _dump(front: Any) -> str:
    from yaml import safe_dump

    return safe_dump(front, sort_keys=False, allow_unicode=True, width=math.inf)


def _texts(value: Any) -> list[str]:
    return [each for each in cast("list[Any]", value) if isinstance(each, str)] if isinstance(value, list) else []


def _context(entry: Json, leaderboard: Json, samples: bool, repo: str | None) -> dict[str, Any]:
    given = (f"{k}={v if isinstance(v, str) else json.dumps(v)}" for k, v in (entry.get("overrides") or {}).items())
    overrides = (word for option in given for word in ("-o", option))
    network = entry["definition"].get("players", {}).get("generator", {}).get("network", {})
    plugins = [name for name in entry.get("needs") or {} if name != "ganzoo"]
    return {
        "board": leaderboard,
        "entry": entry,
        "table": table_of(leaderboard, entry["dataset"], {0: entry}),
        "images": len(network.get("options", {}).get("shape", ())) == 3,
        "samples": samples,
        "repo": repo or "PATH",
        "install": shlex.join(["pip", "install", "ganzoo", *plugins]),
        "command": shlex.join(["ganzoo", "train", entry["recipe"], *overrides]),
    }


@cache
def _templates() -> jinja2.Environment:
    environment = templates().overlay()
    environment.filters = {**environment.filters, **{each.__name__: each for each in (yaml, markdown, fence)}}
    return environment


def yaml(value: Any) -> Markup:
    """A string, a number or a list on one line of the front matter."""
    from yaml import safe_dump

    return Markup(safe_dump([value], default_flow_style=True, allow_unicode=True, width=math.inf).strip()[1:-1])


def markdown(text: Any) -> Markup:
    """Markdown that shows the text as it is, on one line."""
    text = plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return Markup(re.sub(r"([\\`*_\[\]|~$])", r"\\\1", text))


def fence(text: Any, language: str = "") -> Markup:
    """A code block with a fence longer than any in the text."""
    ticks = "`" * max(3, 1 + max(map(len, re.findall(r"`+", str(text))), default=0))
    return Markup(f"{ticks}{language}\n{text}\n{ticks}")
