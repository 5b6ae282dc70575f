"""Shared by all tests: one thread, no installed plugin and no account, so that results do not depend on the machine."""

import copy
import os
import signal

import pytest
import torch

from ganzoo.plugins import LOAD, registry

os.environ[LOAD] = ""
os.environ["OMP_NUM_THREADS"] = "1"  # of processes that the tests start
for name in [name for name in os.environ if name.startswith(("HF_", "HUGGING"))]:
    del os.environ[name]  # nobody's own account and cache
torch.set_num_threads(1)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a suite in the background: Ctrl-C must reach what it starts
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def adopt():
    """Register entries of a made-up plugin for the time of one test: ``adopt(kind, entry, distribution)``."""
    known = registry()
    before = copy.copy(
        {kind: {name: [*found] for name, found in each.items()} for kind, each in known._entries.items()}
    )
    yield lambda kind, entry, distribution="acme": known.adopt(kind, entry, distribution, "1.0")
    known._entries = before
