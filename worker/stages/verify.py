"""Finds out, by reading alone, whether an instruction took effect, and puts in words what changed.

A stream that ended properly is believed after a few quick looks. After a lost one the state is read until it tells:
changed counts once two reads agree, as a first change can be half an edit; unchanged counts only when the reads are
used up *and* a stream's longest life has passed, as a generation outlasts any number of reads.
"""

from dataclasses import dataclass
from typing import Final

from reelq.errors import AgentFailed, EditUnconfirmed, NoEffect
from reelq.job import Route
from reelq.remote import draft, phrases
from reelq.remote.receipts import Json
from worker.desk import Desk, Job, NotYet, Sending

_QUICK_LOOKS: Final = 3
_QUICK_SHARE: Final = 30
"""A quick look comes after this part of the settle-wait: two seconds, at its default."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What the session holds now, what the instruction changed, and what the agent asks for next."""

    timeline: str = ""
    changes: tuple[str, ...] = ()
    reply: str = ""
    follow_up: str = ""


def verify(job: Job, desk: Desk) -> Verified | NotYet:
    """What became of the newest instruction; for a row that only asks, the answer."""
    if job.route is Route.CREDITS:
        return Verified(reply=f"{desk.read_balance('asked')} credits available")
    now = desk.remote.state(job.remote_session).draft
    sending = desk.sending()
    if sending is None:
        return Verified(timeline=draft.timeline(now))
    return _after_its_end(sending, now, desk) if sending.ended_well else _in_doubt(sending, now, desk)


def _after_its_end(sending: Sending, now: Json | None, desk: Desk) -> Verified | NotYet:
    if _changed(sending, now) and draft.exportable(now):
        return _applied(sending, now)
    if sending.reads < _QUICK_LOOKS:
        desk.read_again(sending, draft.fingerprint(now))
        return NotYet(desk.settings.reelq_settle_wait / _QUICK_SHARE, "the edit does not show yet")
    desk.close_costs()
    if sending.agent_error:
        raise AgentFailed(sending.agent_error)
    reply = phrases.read(sending.reply).kept
    raise NoEffect(f"The agent changed nothing; it said: {reply}" if reply else "The agent changed nothing")


def _in_doubt(sending: Sending, now: Json | None, desk: Desk) -> Verified | NotYet:
    seen = draft.fingerprint(now)
    if _changed(sending, now) and seen == sending.read_fingerprint:
        return _applied(sending, now)
    reads = desk.read_again(sending, seen)
    over = sending.seconds_since > desk.settings.reelq_edit_timeout
    if not _changed(sending, now) and over and reads >= desk.settings.reelq_settle_reads:
        desk.close_costs()
        raise EditUnconfirmed
    return NotYet(desk.settings.reelq_settle_wait, f"the stream was lost; looked at the session's state, time {reads}")


def _changed(sending: Sending, now: Json | None) -> bool:
    return draft.fingerprint(now) != sending.fingerprint


def _applied(sending: Sending, now: Json | None) -> Verified:
    talk = phrases.read(sending.reply)
    return Verified(draft.timeline(now), draft.changes(sending.baseline, now), talk.kept, talk.follow_up)
