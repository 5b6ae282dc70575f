"""Write docs/reference.md from the code: `python docs/make_reference.py`. A test fails while it is stale."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Final

import ganzoo
from ganzoo import errors, hookspecs, testing
from ganzoo.part import KINDS

HERE: Final = Path(__file__).parent
CODE: Final = Path(ganzoo.__file__).parent

HEAD: Final = """\
# Reference for plugin authors

Written by `python docs/make_reference.py` from the code's own signatures and docstrings; do not edit it.
[Writing a plugin](plugins.md) is the tutorial. A name such as `ganzoo.Entry` can be imported from `ganzoo`.
"""

#: What a plugin's author meets besides the kinds, by chapter.
DECLARED: Final = ("Entry", "Option", "Part", "Paper", "RecipeEntry", "Expected", "SuiteEntry")
USED: Final = ("Round", "Scores", "Verdict", "Batch", "Draw", "Weighted", "Turn", "Player", "Evidence", "Score")
KIN: Final = {
    "dataset": ("TractableDataset",),
    "generator": ("Translator", "TractableGenerator"),
    "divergence": ("FDivergence", "SampleDivergence"),
    "extractor": ("Features",),
}


def make() -> str:
    """The whole page."""
    chapters = [
        HEAD,
        "## Hooks\n\nA plugin's light module implements any of these, each marked with `@ganzoo.hookimpl`.\n",
        *map(_hook, _hooks()),
        "",
        "## Kinds\n\nWhat the target of an entry has to make, by kind.\n",
        *(_kind(kind) for kind in KINDS if KINDS[kind]),
        "## What entries are declared with\n",
        *map(_class, map(_public, DECLARED)),
        "## What is handed around\n",
        *map(_class, map(_public, USED)),
        _function("ganzoo.input_gradient", ganzoo.input_gradient),
        "## `ganzoo.testing`\n\n" + _text(testing.__doc__),
        *(_function(f"ganzoo.testing.{name}", getattr(testing, name)) for name in testing.__all__),
        "## Errors\n\nIn `ganzoo.errors`. " + _text(errors.__doc__),
        "## Environment variables\n",
        *_variables(),
    ]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(chapters)).rstrip() + "\n"


def _hooks() -> Iterator[Any]:
    yield from (value for name, value in vars(hookspecs).items() if name.startswith("ganzoo_"))


def _hook(hook: Any) -> str:
    return f"- `{hook.__name__}{_parameters(hook)}`: {' '.join(_text(hook.__doc__).split())}"


def _kind(kind: str) -> str:
    module, _, name = KINDS[kind].partition(":")
    main = getattr(importlib.import_module(module), name)
    classes = [main] if inspect.isclass(main) else []  # a divergence is one of several classes
    classes += [each for each in map(_public, KIN.get(kind, ())) if each not in classes]
    if kind == "divergence":
        classes.insert(0, _public("Divergence"))
    return f"### {kind}\n\n" + "\n".join(_class(each, level=4) for each in classes)


def _public(name: str) -> Any:
    if name in ganzoo.__all__:
        return getattr(ganzoo, name)
    return next(getattr(m, name) for m in map(importlib.import_module, ("ganzoo.registry",)) if hasattr(m, name))


def _class(of: type, level: int = 3) -> str:
    """Its docstring, its fields, and what it defines itself; methods that a subclass must write are abstract."""
    home = "ganzoo" if of.__name__ in ganzoo.__all__ else of.__module__
    lines = [f"{'#' * level} `{home}.{of.__name__}`\n", _text(of.__doc__), *_fields(of)]
    abstract = getattr(of, "__abstractmethods__", frozenset())
    for name, member in vars(of).items():
        function = getattr(member, "__func__", getattr(member, "fget", getattr(member, "func", member)))
        shown = not name.startswith("_") or (name == "__call__" and name in abstract)
        inherited = any(hasattr(base, name) for base in of.__bases__) and name not in abstract
        if shown and inspect.isfunction(function) and not inherited:
            property_ = not inspect.isfunction(member) and not hasattr(member, "__func__")
            head = f"`{name}`\n" if property_ else _signature(name, function, "abstract " * (name in abstract))
            lines.append(f"{head}\n{_text(function.__doc__)}")
    return "\n".join(lines)


def _fields(of: Any) -> Iterator[str]:
    """The fields of a dataclass or a named tuple; the class attributes that others may set."""
    if hasattr(of, "__dataclass_fields__"):
        rows = [
            (f.name, f.type, "" if f.default is MISSING and f.default_factory is MISSING else _default(f))
            for f in fields(of)
        ]
    else:
        values = getattr(of, "_field_defaults", vars(of))
        rows = [
            (name, kind, repr(values[name]) if name in values else "")
            for name, kind in inspect.get_annotations(of).items()
            if not name.startswith("_")
        ]
    if rows:
        yield "| field | type | default |\n|---|---|---|"
        for name, kind, default in rows:
            kind = str(getattr(kind, "__forward_arg__", kind)).replace("|", "\\|")
            yield f"| `{name}` | `{kind}` | {f'`{default}`' if default else ''} |"
        yield ""


def _default(field: Any) -> str:
    if field.default is MISSING:
        return f"{getattr(field.default_factory, '__origin__', field.default_factory).__name__}()"
    return "required" if field.default is ... else repr(field.default)


def _function(name: str, function: Any) -> str:
    signature = "" if inspect.isclass(function) else _signature(name.rpartition(".")[2], function)
    return f"### `{name}`\n\n{signature}\n{_text(function.__doc__)}"


def _signature(name: str, function: Any, before: str = "") -> str:
    return f"```text\n{before}{name}{_parameters(function)}\n```\n"


def _parameters(function: Any) -> str:
    """Its signature as a caller sees it, without the quotes that annotations have at run time."""
    text = str(inspect.signature(function)).replace("(self)", "()")
    text = re.sub(r"\((self|cls), ", "(", text)
    return re.sub(r"(: |-> )'([^']*)'", r"\1\2", text)


def _text(doc: str | None) -> str:
    """A docstring as Markdown: arguments become a list, and what follows ``::`` is code in Markdown too."""
    text = re.sub(r"::$", ":", inspect.cleandoc(doc or ""), flags=re.MULTILINE)
    text = re.sub(r"^:\n", "", text, flags=re.MULTILINE)
    out, listing = list[str](), False
    for line in text.splitlines():
        if line in ("Args:", "Raises:", "Attributes:"):
            listing = True
            out += [f"**{line}**", ""]
        elif listing and (found := re.match(r" {4}([\w, ]+): (.*)", line)):
            out.append(f"- `{found[1]}`: {found[2]}")
        else:
            listing &= not line or line.startswith("    ")
            out.append(line)
    return "\n".join(out).strip() + "\n"


def _variables() -> Iterator[str]:
    """Constants that are called ``GANZOO_…``, with the comment above each."""
    found: dict[str, str] = {}
    for path in sorted(CODE.rglob("*.py")):
        for comment, name in re.findall(
            r'((?:^#: .*\n)+)\w+(?:: Final)? = "(GANZOO_\w+)"', path.read_text(), re.MULTILINE
        ):
            found[name] = " ".join(line.removeprefix("#: ") for line in comment.splitlines())
    yield "\n".join(f"- `{name}`: {text}" for name, text in sorted(found.items())) + "\n"


if __name__ == "__main__":
    (HERE / "reference.md").write_text(make(), encoding="utf-8")
