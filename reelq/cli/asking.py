"""The configured account as commands ask about it: with the token that is there, quickly, and without a new one."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

from reelq import skills
from reelq.cli.deadline import side_by_side
from reelq.manifest import DEFAULT_SKILL
from reelq.settings import Settings
from reelq.store.looking import looking
from reelq.store.session import FILE
from reelq.store.standing import standing, token_at_hand

_SECONDS: Final = 6.0


@dataclass(frozen=True, slots=True)
class Funds:
    """What there is to spend, as far as that is known without asking for a token."""

    highest: int = 0
    """The most that one instruction has cost on the account yet."""
    available: int | None = None
    read_at: datetime | None = None
    """When that was read; None for a moment ago."""


def attribution(settings: Settings) -> dict[str, str]:
    """The headers of a request that belongs to no row."""
    skill = skills.load()[DEFAULT_SKILL]
    return skills.headers(skill, skills.platform(skill.path, settings.skill_source, Path.home()))


def funds(settings: Settings, name: str = FILE) -> Funds:
    """From the service where there is a token to ask with, else from the last reading; never any trouble.

    Nothing is written, and a database that is not there yet is not made.
    """
    answer = side_by_side([partial(_funds, settings, name)], _SECONDS)[0]
    return Funds() if isinstance(answer, Exception) else answer


def _funds(settings: Settings, name: str) -> Funds:
    from reelq.remote import probe  # with all that speaks HTTP: whoever hands rows in has done so by now

    known, token = None, settings.nemo_token
    # Whatever is wrong with the database or its key, `doctor` tells it; here a balance is then not known.
    with suppress(Exception), looking(settings, name) as store:
        if store is not None:
            known = standing(store, settings)
            token = token_at_hand(store, settings)
    highest = known.highest if known else 0
    with suppress(Exception):
        seen = probe.look(settings, attribution(settings), token) if token else None
        if seen and seen.balance:
            return Funds(highest, seen.balance.available)
    reading = known.reading if known else None
    return Funds(highest, reading.available, reading.at) if reading else Funds(highest)
