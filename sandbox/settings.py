"""The settings of a sandbox, and how long the real service takes."""

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

StreamForm = Literal["adk", "flat", "mixed"]
RenderForm = Literal["plain", "data", "enveloped", "mixed"]

DOCUMENTED_SECONDS: Final = MappingProxyType(
    {
        "token": (0.2, 0.2),
        "session": (0.2, 0.2),
        "upload": (1.0, 1.0),
        "answer": (5.0, 15.0),
        "edit": (10.0, 30.0),
        "generation": (100.0, 300.0),
        "second_pass": (5.0, 15.0),
        "render": (30.0, 90.0),
    }
)
"""The shortest and the longest time in the real service, in seconds; the sandbox divides them by its speed."""

KEEP_ALIVE_SECONDS: Final = 15.0
"""How often the real stream sends a keep-alive; divided by the speed like the rest."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that stays the same while the process runs."""

    speed: float = 20.0
    latency: bool = True
    seed: int = 0
    credits: int = 100
    tokens: "Mapping[str, int]" = field(default_factory=dict)
    """Tokens of registered users, each with its credits."""
    streams: StreamForm = "mixed"
    renders: RenderForm = "mixed"
    keep_alive: float | None = None
    max_file_mb: int = 500
    clients_per_address: int = 10
    encoders: int = 2
    faults: "Mapping[str, object]" = field(default_factory=dict)

    @property
    def keep_alive_seconds(self) -> float:
        """Exactly the interval that is set, else the documented one divided by the speed."""
        return self.keep_alive if self.keep_alive is not None else KEEP_ALIVE_SECONDS / self.speed

    @property
    def max_file_bytes(self) -> int:
        return self.max_file_mb * 1024 * 1024
