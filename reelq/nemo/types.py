"""The types that calls to the service return."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Grant:
    """A free token, with its account and expiry if the service states them."""

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
class State:
    """A session's state: its draft as received, and its account if the service states it."""

    draft: Json | None
    user_id: str = ""


@dataclass(frozen=True, slots=True)
class Balance:
    """The account's credits; `frozen` is set aside for work in progress."""

    available: int
    frozen: int = 0
    total: int | None = None


class RenderStatus(StrEnum):
    """The status of a render, in our terms."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Progress:
    """The result of polling a render once."""

    status: RenderStatus
    percent: int | None = None
    url: str = ""
    reason: str = ""
