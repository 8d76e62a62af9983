"""Sends the row's instruction to the agent, at most once for each decision to send it.

The stage can be killed at any point:
- before `intend`, nothing has been written or sent, so it starts again;
- after `intend`, the decision to send is open in the database, and an open decision is never sent again. `verify` finds
  out by reading whether the instruction went out and took effect.
A decision is withdrawn only on proof that nothing happened: no connection was made, or the service refused the request.
"""

from dataclasses import dataclass

from reelq.errors import ReelqError, StreamLost
from reelq.job import ClaimedJob
from reelq.nemo.stream import AgentReply, Event, Patience, Text, ToolCall
from worker.context import Receipt, StageContext


@dataclass(frozen=True, slots=True)
class Edited(Receipt):
    """The instruction was sent. `heard` is the stream's content, or None if the stream broke off or was not read."""

    heard: AgentReply | None
    next_in: float = 0.0

    @property
    def message(self) -> str:
        return "the agent is done" if self.heard else "the stream was lost; checking the session for the result"


def edit(job: ClaimedJob, context: StageContext) -> Edited:
    """Send the instruction and read the stream to its end, unless a decision to send is already open."""
    if context.open_send():
        return Edited(None, context.settings.reelq_settle_first_wait)
    context.read_balance("before")
    baseline = context.remote.state(job.remote_session).draft
    context.check()
    return _send(job, context.intend(dict(baseline) if baseline is not None else None), context)


def _send(job: ClaimedJob, text: str, context: StageContext) -> Edited:
    """Send the instruction that was decided on, and read the answer."""
    patience = Patience(context.settings.reelq_edit_timeout, context.settings.reelq_silence_timeout)

    def on_event(event: Event) -> None:
        if isinstance(event, ToolCall):
            context.progress(f"the agent is working: {event.name.replace('_', ' ')}")
        elif isinstance(event, Text):
            context.progress("the agent answers")

    try:
        return Edited(context.remote.send(job.remote_session, text, patience, tell=on_event, alive=context.check))
    except StreamLost as lost:
        context.say(f"{lost}; checking the session for the result")
        return Edited(None, context.settings.reelq_settle_first_wait)
    except ReelqError as refusal:
        context.withdraw(refusal)
        raise
