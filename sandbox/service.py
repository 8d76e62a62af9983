"""What all parts of the sandbox share: its settings, faults, state, ledger, encoders and background tasks."""

import asyncio
import itertools
import random
from collections.abc import Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from sandbox.faults import DOCUMENTED_SECONDS, Faults
from sandbox.ledger import Ledger
from sandbox.media import EncoderPool, Facts
from sandbox.state import State

KEEP_ALIVE_SECONDS: Final = 15.0
"""How often the real stream sends a keep-alive; divided by the speed like the rest."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that stays the same while the process runs."""

    speed: float = 20.0
    latency: bool = True
    seed: int = 0
    credits: int = 100
    tokens: Mapping[str, int] = field(default_factory=dict)
    """Tokens of registered users, each with its credits."""
    streams: Literal["adk", "flat", "mixed"] = "mixed"
    renders: Literal["plain", "data", "enveloped", "mixed"] = "mixed"
    keep_alive: float | None = None
    max_file_mb: int = 500
    clients_per_address: int = 10
    encoders: int = 2
    faults: Mapping[str, object] = field(default_factory=dict)

    @property
    def keep_alive_seconds(self) -> float:
        """Exactly the interval that is set, else the documented one divided by the speed."""
        return self.keep_alive if self.keep_alive is not None else KEEP_ALIVE_SECONDS / self.speed


class Service:
    """One sandbox. A reset forgets everything but the settings and the encoded files."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self.folder = folder
        self.faults = Faults(settings.faults, settings.seed)
        self.encoders = EncoderPool(folder, settings.encoders)
        self.facts: dict[Path, Facts] = {}
        """What was read from each uploaded file."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._init_state()

    def _init_state(self) -> None:
        self.rng = random.Random(f"{self.settings.seed}/choices")
        self.state = State(self.settings.tokens)
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
        drawn = self.rng.uniform(*DOCUMENTED_SECONDS[name])
        return drawn / self.settings.speed if self.settings.latency else 0.0

    async def wait(self, name: str) -> None:
        await asyncio.sleep(self.seconds(name))

    def run_in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Start a task that continues after the response."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.encoders.close()


def _forms(form: str, all_forms: tuple[str, ...]) -> Iterator[str]:
    return itertools.cycle(all_forms if form == "mixed" else (form,))
