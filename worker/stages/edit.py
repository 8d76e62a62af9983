"""Tells the agent what to do, at most once for each decision to tell it.

Why it can be killed anywhere:
- before `intend`: nothing was written and nothing sent; it begins again;
- after `intend`: the decision stands in the database as open, and an open decision is never sent again. Whether it
  went out, and took effect, `verify` finds out by reading.
Only proof that nothing happened (no connection was made, or the service itself refused) withdraws a decision.
"""

from dataclasses import dataclass

from reelq.errors import ReelqError, StreamLost
from reelq.remote.sse import Event, Heard, Patience, Text, ToolCall
from worker.desk import Desk, Job, Sending


@dataclass(frozen=True, slots=True)
class Edited:
    """The instruction went out; what was heard to a proper end, None where it is not known how that ended."""

    heard: Heard | None


def edit(job: Job, desk: Desk) -> Edited:
    """Send the instruction, unless that was decided before, and listen to the end."""
    if desk.sending():
        return Edited(None)
    desk.read_balance("before")
    baseline = desk.remote.state(job.remote_session).draft
    desk.check()
    return _tell(job, desk.intend(dict(baseline) if baseline is not None else None), desk)


def _tell(job: Job, sending: Sending, desk: Desk) -> Edited:
    """The decision carried out."""
    patience = Patience(desk.settings.reelq_edit_timeout, desk.settings.reelq_silence_timeout)

    def tell(event: Event) -> None:
        if isinstance(event, ToolCall):
            desk.progress(f"the agent works: {event.name.replace('_', ' ')}")
        elif isinstance(event, Text):
            desk.progress("the agent answers")

    try:
        return Edited(desk.remote.send(job.remote_session, sending.text, patience, tell=tell, alive=desk.check))
    except StreamLost as lost:
        desk.say(f"{lost}; the session's state will tell whether the edit took place")
        return Edited(None)
    except ReelqError as refusal:
        desk.withdraw(sending, refusal)
        raise
