"""Clients of a Hub, each a process with a home of its own, and models for them to share."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from loopback import WRITER, Hub
from processes import Ended, Forked, forked

from ganzoo.model import export
from ganzoo.recipe import create_recipe

#: What a client must not inherit from whoever runs the tests.
INHERITED = ("HF_TOKEN", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_ENDPOINT", "HUGGING_FACE_HUB_TOKEN")

HURRIED = """
import sys, time
really = time.sleep
time.sleep = lambda seconds: really(min(seconds, 0.01))
sys.argv = ["ganzoo", *sys.argv[3:]]
from ganzoo.cli import main
main()
"""


@dataclass
class Client:
    """Somebody with a home (a cache, that is), a folder to work in, and perhaps a token.

    For one in a hurry the waits between tries are cut short.
    """

    hub: Hub
    folder: Path
    token: str | None = WRITER
    home: str = "home"
    more: dict[str, str] = field(default_factory=dict)
    hurried: bool = False

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        assert not set(INHERITED) & set(os.environ), "a client would inherit this"

    @property
    def env(self) -> dict[str, str]:
        return self.hub.environment(self.folder / self.home, self.token) | self.more

    @property
    def cache(self) -> Path:
        return self.folder / self.home / "hub"

    def __call__(self, *args: object) -> Ended:
        """Run `ganzoo` to its end."""
        ended = forked(*(("-c", HURRIED) if self.hurried else ()), *args, cwd=self.folder, env=self.env)
        assert WRITER not in ended.out + ended.err, "a token was shown"
        return ended

    def good(self, *args: object) -> str:
        """What it prints; it must succeed."""
        ended = self(*args)
        assert ended.code == 0, ended.err
        return ended.out

    def starts(self, *args: object) -> Forked:
        return Forked(*args, cwd=self.folder, env=self.env)

    def python(self, code: str) -> Ended:
        """Run Python to its end."""
        return self("-c", code)


def make_model(folder: Path, recipe: str = "js-gan.ring", **options: Any) -> Path:
    """An exported model whose networks were never trained: ``generator_hidden=2048`` is the option generator.hidden."""
    made = create_recipe(recipe, {name.replace("_", ".", 1): value for name, value in options.items()})
    torch.manual_seed(0)
    networks = made.networks()
    export(folder, made, networks["generator"], {"seed": 0, "step": 0, "metrics": {}}, networks.get("discriminator"))
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
