"""A step as a program of the device: recorded once, then repeated without Python."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, final

import torch
from torch import Tensor

#: What is done on tensors that stay where they are, and the values that come of it by name.
Play = Callable[[], dict[str, Tensor]]

#: A replay may differ from the step that it stands for by this much of what the step changed, and of what was there:
#: sums in no fixed order are rounded anew each time, and a wrong program is off by all of it.
CHANGED: Final = 1e-2
THERE: Final = 1e-5


class Recorder(ABC):
    """How the work of a device is recorded, and where it is done until then."""

    def aside(self, play: Play) -> dict[str, Tensor]:
        """Do it unrecorded, as it will be recorded later."""
        return play()

    @abstractmethod
    def record(self, play: Play) -> tuple[Callable[[], None], dict[str, Tensor]]:
        """What repeats the work of ``play`` on the same memory, and where that leaves its values."""


@final
class Graphs(Recorder):
    """CUDA graphs, all in one pool of memory: nothing that one of them leaves there is read after the next."""

    def __init__(self, device: torch.device) -> None:
        self.stream, self.pool = torch.cuda.Stream(device), torch.cuda.graph_pool_handle()

    def aside(self, play: Play) -> dict[str, Tensor]:
        here = torch.cuda.current_stream(self.stream.device)
        self.stream.wait_stream(here)
        with torch.cuda.stream(self.stream):
            values = play()
        here.wait_stream(self.stream)
        return values

    def record(self, play: Play) -> tuple[Callable[[], None], dict[str, Tensor]]:
        graph = torch.cuda.CUDAGraph()
        # Only this thread's own calls can spoil it: others may allocate meanwhile.
        with torch.cuda.graph(graph, self.pool, self.stream, capture_error_mode="thread_local"):
            values = play()
        return graph.replay, values


@final
class Captured:
    """Steps from static inputs: of each kind the first one is done plainly, the second is recorded, the rest repeat it.

    A graph computes what the plain step does, by the same kernels on the same state, so a run may go from one to the
    other at any step: a checkpoint does not say which it was. Before a recording is used it is held against the plain
    step, from one state; where the two differ, or nothing can be recorded, ``note`` hears why and steps stay plain.

    Args:
        recorder: of the device.
        state: by name, all tensors that a step changes; they must stay the same tensors.
        device: where those are.
        note: hears why a step is not captured, once.
    """

    def __init__(
        self,
        recorder: Recorder,
        state: Callable[[], Mapping[str, Tensor]],
        device: torch.device,
        note: Callable[[str], None],
    ) -> None:
        self.recorder, self.state, self.device, self.note = recorder, state, device, note
        self.reset()

    def reset(self) -> None:
        """The state is other tensors now: what was recorded is forgotten."""
        self._recorded: dict[Hashable, tuple[Callable[[], None], dict[str, Tensor]] | None] = {}
        self._held: list[Tensor] = []
        self._plain = False

    def __call__(
        self, kind: Hashable, given: Sequence[Tensor], step: Callable[[Sequence[Tensor]], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """``step(given)``. Steps of one kind are the same program of tensors of the same shapes."""
        if self._plain:
            return step(given)
        if not self._held:
            self._held = [t.clone() for t in given]
        else:
            torch._foreach_copy_(self._held, list(given))  # pyright: ignore[reportPrivateImportUsage]
        play = lambda: step(self._held)  # noqa: E731
        if kind not in self._recorded:
            self._recorded[kind] = None
            return self.recorder.aside(play)
        if (recorded := self._recorded[kind]) is None:
            return self._first(kind, play)
        replay, values = recorded
        replay()
        return dict(zip(values, _copies(list(values.values())), strict=True))

    def _first(self, kind: Hashable, play: Play) -> dict[str, Tensor]:
        """The plain step, after its recording was made and repeated once from the same state."""
        state = self.state()
        before = _copies(list(state.values()))
        got: list[Tensor] = []
        elsewhere = (f"{key} is on the {t.device}" for key, t in state.items() if t.device.type != self.device.type)
        why = next(elsewhere, "")
        if not why:
            try:
                with self._undone(before):
                    self._recorded[kind] = recorded = self.recorder.record(play)
                if moved := [key for key, t in self.state().items() if state.get(key) is not t]:
                    raise RuntimeError(f"{moved[0]} is replaced at each step, where it should be written")
                with self._undone(before):
                    recorded[0]()
                    got = _copies(list(self.state().values()))
            except Exception as error:  # whatever a part does that no graph can hold
                logging.getLogger(__name__).debug("not captured", exc_info=True)
                why = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]:.200}"
        values = self.recorder.aside(play)
        if not why:
            pairs = zip(self.state().items(), before, got, strict=True)
            why = next((f"{key} becomes another" for (key, t), then, g in pairs if not _alike(g, t, then)), "")
        if why:
            self.note(f"steps are not captured as a graph: {why}")
            self.reset()
            self._plain = True
        return values

    @contextmanager
    def _undone(self, before: Sequence[Tensor]) -> Iterator[None]:
        """What is done within leaves no trace in the state, nor in torch's random states."""
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            try:
                yield
            finally:
                with torch.no_grad():
                    for t, then in zip(self.state().values(), before, strict=True):
                        t.copy_(then)


@torch.no_grad()
def _copies(tensors: list[Tensor]) -> list[Tensor]:
    copies = [torch.empty_like(t) for t in tensors]
    if copies:
        torch._foreach_copy_(copies, tensors)  # pyright: ignore[reportPrivateImportUsage]
    return copies


@torch.no_grad()
def _alike(got: Tensor, wanted: Tensor, before: Tensor) -> bool:
    """Runs that diverged may be among those of a stack: what is not finite is not compared."""
    got, wanted, before = (t.double().nan_to_num(0, 0, 0) for t in (got, wanted, before))
    allowed = CHANGED * (wanted - before).norm() + THERE * wanted.norm()
    return bool((got - wanted).norm() <= allowed)
