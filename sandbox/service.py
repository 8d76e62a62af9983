"""What the whole sandbox shares: its settings, faults, world and ledger, its encoder and the work under way."""

import asyncio
import itertools
import random
from typing import TYPE_CHECKING, Any

from sandbox.encoder import Studio
from sandbox.faults import Faults
from sandbox.ledger import Ledger
from sandbox.settings import DOCUMENTED_SECONDS
from sandbox.world import World

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from sandbox.media import Facts
    from sandbox.settings import Settings


class Service:
    """One sandbox. A reset forgets everything but the settings and the files that were encoded."""

    def __init__(self, settings: "Settings", folder: "Path") -> None:
        self.settings = settings
        self.folder = folder
        self.faults = Faults(settings.faults, settings.seed)
        self.studio = Studio(folder, settings.encoders)
        self.facts: dict[Path, Facts] = {}
        """What was read from the files that came, each once."""
        self._work: set[asyncio.Task[None]] = set()
        self._begin()

    def _begin(self) -> None:
        self.draw = random.Random(f"{self.settings.seed}/choices")
        self.world = World(self.settings.tokens)
        self.ledger = Ledger()
        self.stream_forms = _forms(self.settings.streams, ("adk", "flat"))
        self.render_forms = _forms(self.settings.renders, ("plain", "data", "enveloped", "enveloped plain"))

    def reset(self) -> None:
        for task in self._work:
            task.cancel()
        self.faults.reset()
        self._begin()

    def seconds(self, name: str) -> float:
        """How long this takes: exactly what a fault says, else as documented, divided by the speed."""
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
        """Begin something that goes on behind the answer."""
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    async def close(self) -> None:
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        await self.studio.close()


def _forms(wanted: str, every: tuple[str, ...]) -> "itertools.cycle[str]":
    return itertools.cycle(every if wanted == "mixed" else (wanted,))
