"""Every error that ganzoo raises on purpose.

::

    GanzooError                     exit code 1
    ├── UsageError                  exit code 2: what was asked for cannot be
    │   ├── UnknownNameError        no entry of that name; near names are suggested
    │   ├── AmbiguousNameError      two plugins register the name; use distribution/name
    │   ├── OptionError             an option that is not declared, or a value out of its bounds
    │   └── IncompatibleError       parts that do not fit each other, found before training
    ├── PluginError                 a plugin broke its side of the contract
    ├── InstallError                a plugin could not be installed or removed
    ├── ExportError                 something that has no registered name was to be written down
    ├── ModelError                  an exported model is damaged or is not one
    ├── HubError                    the Hub, or what came from it, is not as it should be
    ├── DataError                   a dataset's files are missing, damaged or not to be had
    └── RunError                    something went wrong with a run folder
        ├── LockedError             another process is working in it
        └── CheckpointError         no checkpoint in it can be read

A run that diverges is a result, not an error: it ends with the status ``diverged``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class GanzooError(Exception):
    """The root. ``exit_code`` is what the command line returns."""

    exit_code = 1


class UsageError(GanzooError):
    exit_code = 2


class UnknownNameError(UsageError):
    pass


class AmbiguousNameError(UsageError):
    pass


class OptionError(UsageError):
    pass


class IncompatibleError(UsageError):
    pass


class PluginError(GanzooError):
    pass


class InstallError(GanzooError):
    pass


class ExportError(GanzooError):
    pass


class ModelError(GanzooError):
    pass


class HubError(GanzooError):
    pass


class DataError(GanzooError):
    pass


class RunError(GanzooError):
    pass


class LockedError(RunError):
    pass


class CheckpointError(RunError):
    pass


def suggest(name: str, known: Iterable[str], more: str = "") -> str:
    """A sentence that names what is near ``name``, or all there is when that is little; else how many, and ``more``."""
    known = sorted(set(known))
    if near := difflib.get_close_matches(name, known, n=3, cutoff=0.6):
        return f"did you mean {' or '.join(near)}?"
    if len(known) <= 24:
        return f"known: {', '.join(known) or 'none'}"
    return f"{len(known)} are known{more}"
