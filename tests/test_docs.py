"""What the documentation shows is what happens: its blocks are run in order, in one folder, and their output compared.

A block is one of these, and nothing is left out in silence:

- ``python``, ``toml``: a first line that is a comment with a file's name makes it that file; other Python is run;
- ``sh``: run, and must succeed; ``console``: commands after ``$``, each compared with the output below it;
- ``text``: the output of the block above it;
- no language: an equation or a drawing, nothing to run.

A comment above a block may say ``not run: reason``, ``run as: command (reason)`` or ``as made`` (the file is there
already, and is as shown).
"""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from loopback import WRITER, Hub
from processes import forked
from workbench import Workbench

ROOT = Path(__file__).parents[1]

#: Lines of README.md that are run as something shorter, or are not run at all, and why.
README = {
    "python3 -m venv .venv && .venv/bin/pip install -r requirements-dev.txt && .venv/bin/ganzoo bench": (
        "",
        "needs a network and minutes; CI does it",
    ),
    ".venv/bin/pytest -n 2 && for plugin in plugins/*; do .venv/bin/pytest -n 2 $plugin || break; done": (
        "",
        "is what runs this",
    ),
    "ganzoo install ./plugins/ganzoo-flows": ("", "it is there already, and the folder is another"),
    "ganzoo train mle-flow.ring": ("ganzoo train mle-flow.ring --steps 20", "two minutes"),
    "ganzoo train js-gan.ring --steps 3000": ("ganzoo train js-gan.ring --steps 100", "ten seconds"),
    "ganzoo train ns-gan.grid --seeds 3 -o divergence=js -o generator.hidden=256 -o k=2": (
        "ganzoo train ns-gan.grid --seeds 3 -o divergence=js -o generator.hidden=256 -o k=2 --steps 5",
        "ten minutes",
    ),
    "ganzoo bench": ("ganzoo bench mle-gmm.digits --seeds 1 --jobs 1", "three minutes"),
    "ganzoo measure runs/js-gan.ring --divergence js,kl": (
        "ganzoo measure runs/js-gan.ring --divergence js,kl --critics 1 --steps 20",
        "a minute",
    ),
    "ganzoo measure --pair mixture-gaussian": (
        "ganzoo measure --pair mixture-gaussian --critics 1 --steps 20",
        "half a minute",
    ),
    "ganzoo train dcgan.images -o dataset.source=pets -o dataset.size=32 -o dataset.crop=0": (
        "",
        "there are no pets here; the plugin's own tests do it",
    ),
    "ganzoo train acgan.digits && ganzoo sample runs/acgan.digits --label 3 --out threes.png": (
        "",
        "a plugin that is not installed here; its own tests do it",
    ),
    "ganzoo evaluate runs/acgan.digits --metric label-accuracy --metric fd --metric memorisation --out pictures": (
        "",
        "plugins that are not installed here; their own tests do it",
    ),
    "ganzoo train stargan.images -o dataset.source=faces -o dataset.label_file=faces.csv -o dataset.size=64": (
        "",
        "a plugin that is not installed here; its own tests do it",
    ),
    "ganzoo sample runs/stargan.images --source me.png --to Smiling,Young --out out.png": (
        "",
        "a plugin that is not installed here; its own tests do it",
    ),
    "GANZOO_DATA=data ganzoo bench images-small": ("", "an hour, and data that are elsewhere"),
    "ganzoo bench --measure": ("", "minutes, and a folder that another bench is in"),
    "ganzoo bench --suite full": ("", "an hour"),
    "ganzoo bench 'ns-gan.*' --seeds 10 --out bench/ns": (
        "ganzoo bench 'ns-gan.mixture-1d' --seeds 1 --jobs 1 --out bench/ns",
        "minutes",
    ),
}


@dataclass(frozen=True)
class Block:
    line: int
    mark: str
    language: str
    text: str

    @property
    def file(self) -> str:
        found = re.match(r"# ([\w./-]+\.\w+)\n", self.text)
        return found[1] if found and self.language in ("python", "toml") else ""


def blocks(text: str) -> Iterator[Block]:
    for found in re.finditer(r"^(?:<!-- ([^\n]*) -->\n)?```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield Block(text.count("\n", 0, found.start()) + 1, found[1] or "", found[2], found[3])


def play(desk: Workbench, page: Path, instead: dict[str, tuple[str, str]] | None = None) -> None:
    """Run a page. ``instead`` replaces lines of its shell blocks."""
    before, left = "", dict(instead or {})
    for block in blocks(page.read_text()):
        where = f"{page.name}:{block.line}"
        what, _, detail = block.mark.partition(": ")
        assert what in ("", "as made", "not run", "run as"), f"{where}: what is {block.mark!r}?"
        assert what in ("", "as made") or detail, f"{where}: {what} needs a reason"
        if block.language == "" or what == "not run":
            continue
        if block.language == "text":
            assert matches(block.text, before), f"{where}: shown is\n{block.text}\nand it printed\n{before}"
        elif block.file:
            put(desk.folder / block.file, block, as_made=what == "as made", where=where)
        elif block.language == "console":
            for command, shown in commands(block.text):
                done = desk.sh(f"{{ {command}\n}} 2>&1")
                assert done.code == 0 or shown, f"{where}: {command}\n{done.out}"
                assert matches(shown, done.out), f"{where}: {command}\nshown is\n{shown}\nand it printed\n{done.out}"
        else:
            text = re.sub(r" \([^()]*\)$", "", detail) if what == "run as" else shortened(block.text, left)
            assert block.language in ("sh", "python"), f"{where}: {block.language} is no kind of block"
            done = desk.sh(text if block.language == "sh" else f"python -c {shlex.quote(text)}")
            assert done.code == 0, f"{where}\n{done.out}{done.err}"
            before = done.out
    assert not left, f"{page.name} has no line {', '.join(left)}: change the list in {Path(__file__).name}"


def put(path: Path, block: Block, *, as_made: bool, where: str) -> None:
    text = block.text.partition("\n")[2]
    if as_made:
        assert path.read_text() == text, f"{where}: {block.file} is not what is shown, but\n{path.read_text()}"
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def commands(text: str) -> Iterator[tuple[str, str]]:
    for piece in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, shown = piece.partition("\n")
        yield command, shown


def matches(shown: str, printed: str) -> bool:
    """Whether that was printed; a line that is ``…`` stands for any lines, and in a line for anything."""
    pattern = "".join(r"(.*\n)*?" if line == "…\n" else anything(line) for line in shown.splitlines(keepends=True))
    return re.fullmatch(pattern, "".join(f"{line.rstrip()}\n" for line in printed.splitlines())) is not None


def anything(line: str) -> str:
    return ".*".join(map(re.escape, line.split("…")))


def shortened(text: str, instead: dict[str, tuple[str, str]]) -> str:
    lines = [line.partition("  #")[0].rstrip() for line in text.splitlines()]
    return "\n".join(
        instead.pop(bare)[0] if bare in instead else line for bare, line in zip(lines, text.splitlines(), strict=True)
    )


@pytest.mark.slow
def test_the_tutorial_does_what_it_shows(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", "dist")  # stands in for PyPI
    play(Workbench.make(tmp_path), ROOT / "docs" / "plugins.md")


def test_the_reference_is_what_the_code_says():
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "docs" / "make_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / "docs" / "reference.md").read_text() == module.make(), "run `python docs/make_reference.py`"


def test_links_between_pages_lead_somewhere():
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\((?!https?://)([^)#]+)(?:#[\w-]+)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_what_is_compared_is_compared():
    assert matches("a\n", "a\n")
    assert matches("a\n…\nz\n", "a\nb\nc\nz\n")
    assert matches("a\n…\nz\n", "a\nz\n")
    assert matches("1.… s\n", "1.25 s  \n")
    assert not matches("a\n", "a\nb\n")
    assert not matches("a.\n", "ab\n")
    assert not matches("", "a\n")
    assert shortened("ganzoo bench   # long\nls", {"ganzoo bench": ("true", "it is long")}) == "true\nls"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A Hub of the test's own, for whatever commands a page has."""
    with Hub() as made:
        for name, value in made.environment(tmp_path / "home", WRITER).items():
            monkeypatch.setenv(name, value)
        yield made


@pytest.mark.slow
def test_the_readme_does_what_it_shows(tmp_path, hub):
    play(Workbench.make(tmp_path, "ganzoo-flows"), ROOT / "README.md", README)


@pytest.mark.slow
def test_the_page_about_the_hub_does_what_it_shows(tmp_path, hub):
    desk = Workbench.make(tmp_path)
    assert desk.sh("ganzoo train mle-gaussian.ring --steps 10").code == 0
    play(desk, ROOT / "docs" / "hub.md")


def test_the_commands_of_the_theory_run(tmp_path):
    """Those of the core, with budgets too small to learn anything; what they measure is held to the truth elsewhere."""
    small = {"train": ["--steps", "1"], "measure": ["--steps", "1", "--critics", "1"], "show": []}
    lines = [
        shlex.split(line)
        for block in blocks((ROOT / "docs" / "theory.md").read_text())
        if block.language == "sh" and not block.mark
        for line in block.text.splitlines()
    ]
    assert len(lines) >= 7
    for ganzoo, command, *words in lines:
        assert ganzoo == "ganzoo"
        done = forked(command, *words, *small[command], cwd=tmp_path)
        assert done.code == 0, f"{command} {words}: {done.out}{done.err}"


def test_the_theory_prints_what_it_shows(capsys):
    page = (ROOT / "docs" / "theory.md").read_text()
    shown = [block for block in blocks(page) if block.language in ("python", "text")]
    assert [block.language for block in shown] == ["python", "text"]
    exec(compile(shown[0].text, "theory.md", "exec"), {})
    assert capsys.readouterr().out == shown[1].text
