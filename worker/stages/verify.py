"""Finds out whether an instruction took effect, by reading only, and describes what changed.

If the stream ended properly, a few quick reads are enough. If it was lost, the session is read until the outcome is
clear. A change counts once two reads agree, as the first can show half an edit. No change counts only if all reads are
used up *and* the longest lifetime of a stream has passed, as a generation can outlast any number of reads.
"""

from dataclasses import dataclass
from typing import Any, Final

from reelq.errors import AgentFailed, EditUnconfirmed, NoEffect
from reelq.job import ClaimedJob, OpenSend, Route
from reelq.nemo import agent_text, timeline
from reelq.nemo.types import Json
from worker.context import NotYet, Receipt, StageContext

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


def verify(job: ClaimedJob, context: StageContext) -> Verified | NotYet:
    """Return what the newest instruction did, or the answer for a row that only asks for credits."""
    if job.route is Route.CREDITS:
        return Verified(reply=f"{context.read_balance('asked')} credits available")
    now = context.remote.state(job.remote_session).draft
    send = context.open_send()
    if send is None:
        return Verified(timeline=timeline.timeline(now))
    return _after_proper_end(send, now, context) if send.ended_well else _after_lost_stream(send, now, context)


def _after_proper_end(send: OpenSend, now: Json | None, context: StageContext) -> Verified | NotYet:
    if _changed(send, now) and timeline.has_segments(now):
        return _applied(send, now)
    if send.reads < _QUICK_READS:
        context.read_again(send, timeline.fingerprint(now))
        return NotYet(context.settings.reelq_settle_wait / _QUICK_DIVISOR, "the edit does not show yet")
    context.close_costs()
    if send.agent_error:
        raise AgentFailed(send.agent_error)
    reply = agent_text.parse_reply(send.reply).kept
    raise NoEffect(f"The agent changed nothing; it said: {reply}" if reply else "The agent changed nothing")


def _after_lost_stream(send: OpenSend, now: Json | None, context: StageContext) -> Verified | NotYet:
    seen = timeline.fingerprint(now)
    if _changed(send, now) and seen == send.read_fingerprint:
        return _applied(send, now)
    reads = context.read_again(send, seen)
    over = send.seconds_since > context.settings.reelq_edit_timeout
    if not _changed(send, now) and over and reads >= context.settings.reelq_settle_reads:
        context.close_costs()
        raise EditUnconfirmed
    return NotYet(context.settings.reelq_settle_wait, f"the stream was lost; checked the session, attempt {reads}")


def _changed(send: OpenSend, now: Json | None) -> bool:
    return timeline.fingerprint(now) != send.fingerprint


def _applied(send: OpenSend, now: Json | None) -> Verified:
    answer = agent_text.parse_reply(send.reply)
    return Verified(timeline.timeline(now), timeline.changes(send.baseline, now), answer.kept, answer.follow_up)
