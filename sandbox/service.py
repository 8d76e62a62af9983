"""What the parts of the sandbox share: its settings, faults, state, ledger, encoder and background tasks."""

import asyncio
import itertools
import random
from typing import TYPE_CHECKING, Any

from sandbox.encoder import EncoderPool
from sandbox.faults import Faults
from sandbox.ledger import Ledger
from sandbox.settings import DOCUMENTED_SECONDS
from sandbox.state import State

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from sandbox.media import Facts
    from sandbox.settings import Settings


class Service:
    """One sandbox. A reset forgets everything but the settings and the encoded files."""

    def __init__(self, settings: "Settings", folder: "Path") -> None:
        self.settings = settings
        self.folder = folder
        self.faults = Faults(settings.faults, settings.seed)
        self.studio = EncoderPool(folder, settings.encoders)
        self.facts: dict[Path, Facts] = {}
        """What was read from each uploaded file."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._init_state()

    def _init_state(self) -> None:
        self.draw = random.Random(f"{self.settings.seed}/choices")
        self.world = State(self.settings.tokens)
        self.ledger = Ledger()
        self.stream_forms = _forms(self.settings.streams, ("adk", "flat"))
        self.render_forms = _forms(self.settings.renders, ("plain", "data", "enveloped", "enveloped plain"))

    def reset(self) -> None:
        for task in self._tasks:
            task.cancel()
        self.faults.reset()
        self._init_state()

    def seconds(self, name: str) -> float:
        """How long this takes: exactly what a fault sets, else the documented time divided by the speed."""
        fixed = self.faults.seconds(f"{name}_seconds")
        if fixed is not None:
            return fixed
        drawn = self.draw.uniform(*DOCUMENTED_SECONDS[name])
        return drawn / self.settings.speed if self.settings.latency else 0.0

    async def wait(self, name: str) -> None:
        seconds = self.seconds(name)
        if seconds:
            await asyncio.sleep(seconds)

    def set_to_work(self, work: "Coroutine[Any, Any, None]") -> None:
        """Start a task that continues after the response."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.studio.close()


def _forms(form: str, all_forms: tuple[str, ...]) -> "itertools.cycle[str]":
    return itertools.cycle(all_forms if form == "mixed" else (form,))
