"""What the service's answers come to, in our words: frozen receipts, one for each thing it can be asked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Grant:
    """A free token, with whose it is and how long it lasts where the service says so."""

    token: str = field(repr=False)
    user_id: str = ""
    credits: int | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A remote session: the project that one job, or one chain of jobs, works in."""

    session_id: str
    task_id: str = ""
    user_id: str = ""


@dataclass(frozen=True, slots=True)
class Media:
    """A file as the service took it in."""

    filename: str
    file_type: str = ""
    url: str = ""
    duration: float | None = None
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, slots=True)
class Uploaded:
    """The receipt of an upload; `applied` tells whether the session took the files at once, where that is said."""

    files: tuple[Media, ...]
    applied: bool | None = None


@dataclass(frozen=True, slots=True)
class State:
    """A session as it stands: its draft as it came, and whose it is where that is said."""

    draft: Json | None
    user_id: str = ""


@dataclass(frozen=True, slots=True)
class Balance:
    """A reading of the account's credits; `frozen` is set aside for work in progress."""

    available: int
    frozen: int = 0
    total: int | None = None


class RenderStatus(StrEnum):
    """How far a render is, in our words."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Progress:
    """One look at a render."""

    status: RenderStatus
    percent: int | None = None
    url: str = ""
    reason: str = ""
