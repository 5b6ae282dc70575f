"""Where a number comes from: versions, device, commit."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import ganzoo
from ganzoo.plugins import host


def environment(device: torch.device) -> dict[str, Any]:
    """What is needed to make sense of a measurement later; the same keys everywhere."""
    return {
        "ganzoo": ganzoo.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": f"{device.type}: {_device_name(device)}",
        "commit": commit(),
        "plugins": {plugin.distribution: plugin.version for plugin in host().plugins if plugin.status == "ok"},
    }


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


@cache
def commit() -> str | None:
    """The commit of the source tree ganzoo runs from, ``+`` if it is changed; none for an installed release."""
    root = Path(ganzoo.__file__).parent.parent
    if not (root / ".git").exists():
        return _installed_commit()
    try:
        git = ["git", "-C", str(root)]
        head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        dirty = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True)
        return head.stdout.strip() + ("+" if dirty.stdout.strip() else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _installed_commit() -> str | None:
    """What pip noted of an installation from version control."""
    import json

    text = metadata.distribution("ganzoo").read_text("direct_url.json")
    return json.loads(text).get("vcs_info", {}).get("commit_id") if text else None
