"""`ganzoo new`: a plugin of any of eight kinds that passes its own tests, for its author to put other mathematics in.

The templates are in ``templates/new``: what all plugins share, and a folder for each kind. Nothing here imports torch.
"""

from __future__ import annotations

import ast
import builtins
import importlib.util
import keyword
import re
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ganzoo import __version__
from ganzoo.errors import OptionError, UsageError, suggest
from ganzoo.registry import Registry, canonical, normalise
from ganzoo.survey import survey

PREFIX: Final = "ganzoo-"
LONGEST: Final = 40  # letters of an entry's name: no line of the templates gets too long
TEMPLATES: Final = Path(__file__).parent / "templates" / "new"


@dataclass(frozen=True)
class Kind:
    """The example that a kind starts from, and how it is used from the command line."""

    summary: str
    use: str
    trains: bool = False  # it cannot be chosen with -o, so a method that trains with it comes along


KINDS: Final[Mapping[str, Kind]] = {
    "divergence": Kind(
        "squared Hellinger distance, between 0 and 2",
        "ganzoo train ns-gan.ring -o divergence={entry} --steps 500 --out runs/{entry}",
    ),
    "penalty": Kind(
        "slope of norm 1 around real data, as in DRAGAN", "ganzoo train {entry}-gan.ring --steps 500", trains=True
    ),
    "term": Kind(
        "distance of the first two moments from those of the data",
        "ganzoo train {entry}-gan.ring --steps 500",
        trains=True,
    ),
    "generator": Kind(
        "residual network that starts as a linear map",
        "ganzoo train ns-gan.ring -o generator={entry} --steps 500 --out runs/{entry}",
    ),
    "discriminator": Kind(
        "perceptron that the label enters by projection",
        "ganzoo train ns-gan.ring -o discriminator={entry} --steps 500 --out runs/{entry}",
    ),
    "dataset": Kind("spiral in the plane, with its density", "ganzoo train ns-gan.{entry} --steps 500"),
    "metric": Kind(
        "squared Fréchet distance of Gaussians fitted to real and generated data",
        "ganzoo train mle-gaussian.ring --steps 500",
    ),
    "method": Kind(
        "non-saturating GAN with an R1 penalty of strength gamma", "ganzoo train {entry}.ring -o gamma=10 --steps 500"
    ),
}


@dataclass(frozen=True)
class Scaffold:
    """What was made: ``files`` in ``folder``, and the three ``commands`` that come next (install, test, use)."""

    folder: Path
    distribution: str
    files: tuple[Path, ...]
    commands: tuple[str, str, str]


def create_plugin(name: str, kind: str = "divergence", parent: Path = Path()) -> Scaffold:
    """A plugin in a new folder of ``parent`` that registers a working example of ``kind``.

    ``hellinger`` and ``ganzoo-hellinger`` mean the same: the distribution and its folder ``ganzoo-hellinger``, the
    package ``ganzoo_hellinger``, the entry ``hellinger``. The prefix keeps packages out of the way of others.

    Raises:
        OptionError: there are no templates for that kind.
        UsageError: the name is none or is taken, or the folder exists or cannot be written. Then nothing is written.
    """
    if kind not in KINDS:
        raise OptionError(f"a plugin can start from a {', '.join(KINDS)}, not from {kind!r}; {suggest(kind, KINDS)}")
    words = _words(name, kind)
    _check_free(words, kind)
    folder = parent / words["distribution"]
    if folder.exists() or folder.is_symlink():
        raise UsageError(f"{folder} exists, and nothing in it is overwritten: choose another name or another folder")
    files = dict(_rendered(words))
    _check_names(words, files)
    try:
        _write(folder, files)
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror}") from None
    path = _path(folder)
    commands = f"ganzoo install -e {shlex.quote(f'{path}[test]')}", f"pytest {shlex.quote(path)}", words["use"]
    return Scaffold(folder, words["distribution"], tuple(map(Path, files)), commands)


def _words(name: str, kind: str) -> dict[str, Any]:
    """What the templates are filled in with."""
    if not re.fullmatch(r"[a-z0-9]+([-_.][a-z0-9]+)*", name, re.IGNORECASE):
        raise UsageError(f"{name!r:.80} is no name of a plugin: letters, digits, and single - between them")
    entry = canonical(name).removeprefix(PREFIX)
    if entry == Registry.core:
        raise UsageError(f"{entry} is ganzoo itself: name the plugin after what it registers")
    if not entry[0].isalpha() or entry.startswith("test") or len(entry) > LONGEST:
        raise UsageError(
            f"{entry!r:.80} will not do as a name in code: it must begin with a letter, but not with 'test', which "
            f"pytest would collect, and have at most {LONGEST} letters"
        )
    example = KINDS[kind]
    registers = [f"the {kind} `{entry}`: {example.summary};"]
    registers += [f"the method `{entry}-gan`, which trains with it."] if example.trains else []
    registers[-1] = registers[-1].rstrip(";.") + "."
    return {
        "kind": kind,
        "distribution": PREFIX + entry,
        "package": (PREFIX + entry).replace("-", "_"),
        "entry": entry,
        "identifier": entry.replace("-", "_"),
        "name": "".join(piece.capitalize() for piece in entry.split("-")),
        "summary": example.summary,
        "registers": registers,
        "use": example.use.format(entry=entry),
        "requirement": requirement(__version__),
    }


def requirement(version: str) -> str:
    """This minor version of ganzoo and no later one: ``ganzoo>=0.1,<0.2``."""
    from packaging.version import Version

    this = Version(version)
    least = f"{this.major}.{this.minor}"
    return f"ganzoo>={this.public if this.is_prerelease else least},<{this.major}.{this.minor + 1}"


def _check_free(words: Mapping[str, Any], kind: str) -> None:
    """No entry and no installed package may have the name: the one could not be said, the other not imported."""
    new = [(kind, words["entry"])] + [("method", f"{words['entry']}-gan")] * KINDS[kind].trains
    for row in survey():
        if canonical(row["distribution"]) == words["distribution"]:
            raise UsageError(f"{row['distribution']} {row['version']} is installed: choose another name")
        for each, name in new:
            if name in map(normalise, row["entries"].get(each, ())):
                whose = f"{row['distribution']} {row['version']}"
                raise UsageError(f"there is a {each} {name!r} already, of {whose}: choose another name")
    if importlib.util.find_spec(words["package"]) is not None:
        raise UsageError(f"a package {words['package']!r} is installed: choose another name")


def _rendered(words: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every file's path and text."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # what is made is no HTML
    )
    for path, template in (
        ("pyproject.toml", "pyproject.toml.j2"),
        ("README.md", "README.md.j2"),
        ("LICENSE", "LICENSE"),
        (".gitignore", "gitignore"),
        (".github/workflows/test.yml", "test.yml.j2"),
        ("{package}/__init__.py", "{kind}/__init__.py.j2"),
        ("{package}/{kind}.py", "{kind}/{kind}.py.j2"),
        ("tests/test_plugin.py", "{kind}/test_plugin.py.j2"),
    ):
        yield path.format(**words), environment.get_template(template.format(**words)).render(words)


def _check_names(words: Mapping[str, Any], files: Mapping[str, str]) -> None:
    """The class or function is called after the entry, which must be no word of Python's, nor of what is imported."""
    own = {words["identifier"], words["name"]}
    bad = {name for name in own if keyword.iskeyword(name) or hasattr(builtins, name)}
    for path, text in files.items():
        if path.endswith(".py") and not bad:
            imports = [node for node in ast.walk(ast.parse(text)) if isinstance(node, (ast.Import, ast.ImportFrom))]
            foreign = [
                node for node in imports if getattr(node, "module", None) != f"{words['package']}.{words['kind']}"
            ]
            bad |= own & {alias.asname or alias.name for node in foreign for alias in node.names}
    if bad:
        raise UsageError(
            f"{words['entry']!r} would be called {min(bad)} in Python, which is taken: choose another name"
        )


def _write(folder: Path, files: Mapping[str, str]) -> None:
    """All of the files or none: they are written beside ``folder``, which is then renamed."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".ganzoo-new-", dir=folder.parent) as scratch:
        made = Path(scratch) / folder.name
        for path, text in files.items():
            (made / path).parent.mkdir(parents=True, exist_ok=True)
            (made / path).write_text(text, encoding="utf-8")
        made.rename(folder)


def _path(folder: Path) -> str:
    """What pip does not take for a name."""
    text = folder.as_posix()
    return text if folder.is_absolute() or text.startswith("..") else f"./{text}"
