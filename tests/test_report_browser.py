"""The page in a real browser: it runs without an error, sorts, switches, and fits a phone."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from test_report import draw_pictures, hostile_names, sample

from ganzoo.report import write_report

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --enable-logging=stderr --virtual-time-budget=3000 --dump-dom"
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason=f"no browser: none of {', '.join(NAMES)} is on the path"),
]


def browse(page: Path, profile: Path) -> tuple[str, list[str]]:
    """The page's document after its scripts ran, and what they wrote to the console."""
    command = [str(CHROMIUM), *FLAGS.split(), f"--user-data-dir={profile}", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def ask(page: Path, script: str, profile: Path) -> Any:
    """What ``script`` returns in a copy of the page that lets it run; errors in the page fail the test."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    copy = page.with_name("copy.html")
    answer = f"<script>document.title = JSON.stringify((() => {{ {script} }})())</script>"
    copy.write_text(text.replace("</body>", f"{answer}</body>"), encoding="utf-8")
    document, console = browse(copy, profile)
    assert not console
    title = re.search(r"<title>(.*?)</title>", document, re.DOTALL)
    assert title
    return json.loads(unescape(title[1]))


@pytest.fixture
def page(tmp_path: Path) -> Path:
    board = sample()
    draw_pictures(board, tmp_path)
    return write_report(board, tmp_path)


def test_the_page_runs_its_own_script_and_says_nothing(page: Path, tmp_path: Path) -> None:
    document, console = browse(page, tmp_path / "profile")
    assert console == [], "its content security policy lets its own script run, and it throws nothing"
    assert "ganzoo leaderboard" in document


def test_hostile_texts_run_nothing(tmp_path: Path) -> None:
    page = write_report(hostile_names(sample()), tmp_path)
    answer = ask(page, "return [document.scripts.length, document.images.length]", tmp_path / "profile")
    assert answer == [2, 0], "the page's script, and the one that asks"


def test_headers_sort_the_rows_and_the_switch_changes_the_numbers(page: Path, tmp_path: Path) -> None:
    script = """
      const table = document.querySelector("table.board");
      const rows = () => [...table.tBodies[0].rows].map((row) => row.querySelector("a").textContent);
      const header = (name) => [...table.tHead.rows[0].cells].find((th) => th.textContent.trim().startsWith(name));
      const click = (name) => { header(name).querySelector("button").click(); return [rows(), header(name).ariaSort]; };
      const answer = { start: rows(), kl: click("kl"), again: click("kl"), nll: click("nll"), method: click("method") };
      answer.quality = click("high-quality");
      answer.sorted = document.querySelectorAll("[aria-sort]").length;
      answer.focusable = header("kl").querySelector("button").tabIndex;
      const of = (name) => [...table.tBodies[0].rows].find((row) => row.innerText.startsWith(name)).cells[2].innerText;
      answer.before = of("ns-gan");
      document.getElementById("show-best").click();
      answer.after = of("ns-gan");
      document.querySelector("#entry-0").open = false;
      location.hash = "#entry-0";
      dispatchEvent(new HashChangeEvent("hashchange"));
      answer.open = document.querySelector("#entry-0").open;
      return answer;
    """
    answer = ask(page, script, tmp_path / "profile")
    assert answer["start"] == ["js-gan", "ns-gan", "mle-gaussian", "mle-gmm"]
    assert answer["kl"] == [["mle-gmm", "ns-gan", "js-gan", "mle-gaussian"], "ascending"]
    assert answer["again"] == [["mle-gaussian", "js-gan", "ns-gan", "mle-gmm"], "descending"]
    assert answer["nll"] == [["mle-gmm", "mle-gaussian", "js-gan", "ns-gan"], "ascending"], "n/a stays below"
    assert answer["method"] == [["js-gan", "mle-gaussian", "mle-gmm", "ns-gan"], "ascending"]
    assert answer["quality"] == [["mle-gmm", "ns-gan", "js-gan", "mle-gaussian"], "descending"], "the best comes first"
    assert answer["sorted"] == 1
    assert answer["focusable"] == 0
    assert "95.1 ± 1.0" in answer["before"]
    assert "96.30 ± 0.52" in answer["after"]
    assert answer["open"] is True


def test_nothing_sticks_out_on_a_phone_and_no_text_is_tiny(page: Path, tmp_path: Path) -> None:
    """Headless browsers have a least width, so the phone is a frame, filled with the page itself."""
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text(encoding="utf-8"))
    measure = """
      <script>
        document.querySelectorAll("details").forEach((each) => { each.open = true; });
        const small = [...document.querySelectorAll("body *")].filter((each) => {
          const own = [...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
          return own && each.offsetParent !== null && parseFloat(getComputedStyle(each).fontSize) < 14;
        });
        const { clientWidth, scrollWidth } = document.documentElement;
        parent.document.title = JSON.stringify([clientWidth, scrollWidth, small.map((each) => each.outerHTML)]);
      </script>
    """
    srcdoc = text.replace("</body>", f"{measure}</body>").replace("&", "&amp;").replace('"', "&quot;")
    frame = tmp_path / "phone.html"
    style = "width: 390px; height: 844px; border: 0"
    frame.write_text(
        f'<!doctype html><title></title><iframe style="{style}" srcdoc="{srcdoc}"></iframe>', encoding="utf-8"
    )
    document, console = browse(frame, tmp_path / "profile")
    assert not console
    title = re.search(r"<title>(.*?)</title>", document, re.DOTALL)
    assert title
    client, scroll, small = json.loads(unescape(title[1]))
    assert scroll <= client <= 390
    assert small == []
