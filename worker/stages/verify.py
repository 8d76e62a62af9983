"""Finds out whether an instruction took effect, by reading only, and describes what changed.

If the stream ended properly, a few quick reads are enough. If it was lost, the session is read until the outcome is
clear. A change counts once two reads agree, as the first can show half an edit. No change counts only if all reads are
used up *and* the longest lifetime of a stream has passed, as a generation can outlast any number of reads.
"""

from dataclasses import dataclass
from typing import Any, Final

from reelq.errors import AgentFailed, EditUnconfirmed, NoEffect
from reelq.job import Route
from reelq.nemo import agent_text, timeline
from reelq.nemo.types import Json
from worker.context import Job, NotYet, PendingSend, Receipt, StageContext

_QUICK_READS: Final = 3
_QUICK_DIVISOR: Final = 30
"""The wait before a quick read is the settle wait divided by this: two seconds by default."""


@dataclass(frozen=True, slots=True)
class Verified(Receipt):
    """What the session contains now, what the instruction changed, and what the agent asks for next."""

    timeline: str = ""
    changes: tuple[str, ...] = ()
    reply: str = ""
    follow_up: str = ""

    @property
    def message(self) -> str:
        return "; ".join(self.changes) or self.timeline or self.reply or "verified"

    @property
    def columns(self) -> dict[str, Any]:
        return {"timeline": self.timeline, "reply": self.reply, "to_send": "", "resend": False}


def verify(job: Job, desk: StageContext) -> Verified | NotYet:
    """Return what the newest instruction did, or the answer for a row that only asks for credits."""
    if job.route is Route.CREDITS:
        return Verified(reply=f"{desk.read_balance('asked')} credits available")
    now = desk.remote.state(job.remote_session).draft
    sending = desk.sending()
    if sending is None:
        return Verified(timeline=timeline.timeline(now))
    return _after_proper_end(sending, now, desk) if sending.ended_well else _after_lost_stream(sending, now, desk)


def _after_proper_end(sending: PendingSend, now: Json | None, desk: StageContext) -> Verified | NotYet:
    if _changed(sending, now) and timeline.has_segments(now):
        return _applied(sending, now)
    if sending.reads < _QUICK_READS:
        desk.read_again(sending, timeline.fingerprint(now))
        return NotYet(desk.settings.reelq_settle_wait / _QUICK_DIVISOR, "the edit does not show yet")
    desk.close_costs()
    if sending.agent_error:
        raise AgentFailed(sending.agent_error)
    reply = agent_text.parse_reply(sending.reply).kept
    raise NoEffect(f"The agent changed nothing; it said: {reply}" if reply else "The agent changed nothing")


def _after_lost_stream(sending: PendingSend, now: Json | None, desk: StageContext) -> Verified | NotYet:
    seen = timeline.fingerprint(now)
    if _changed(sending, now) and seen == sending.read_fingerprint:
        return _applied(sending, now)
    reads = desk.read_again(sending, seen)
    over = sending.seconds_since > desk.settings.reelq_edit_timeout
    if not _changed(sending, now) and over and reads >= desk.settings.reelq_settle_reads:
        desk.close_costs()
        raise EditUnconfirmed
    return NotYet(desk.settings.reelq_settle_wait, f"the stream was lost; checked the session, attempt {reads}")


def _changed(sending: PendingSend, now: Json | None) -> bool:
    return timeline.fingerprint(now) != sending.fingerprint


def _applied(sending: PendingSend, now: Json | None) -> Verified:
    answer = agent_text.parse_reply(sending.reply)
    return Verified(timeline.timeline(now), timeline.changes(sending.baseline, now), answer.kept, answer.follow_up)
