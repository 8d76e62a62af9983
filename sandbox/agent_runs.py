"""The agent's work on one message: what it costs, what changes and when, and what it streams."""

import asyncio
from typing import TYPE_CHECKING, Any, Final

from sandbox import agent
from sandbox.dialects import GARBAGE, AdkDialect, FlatDialect, agent_errors
from sandbox.envelope import Code, Refusal
from sandbox.stream import Events, EventStream, Mark
from sandbox.talk import TEMPORARY_ISSUE, Talk

if TYPE_CHECKING:
    from starlette.responses import Response

    from sandbox.agent import Plan, Step
    from sandbox.dialects import Dialect
    from sandbox.ledger import Message
    from sandbox.middleware import AuthenticatedCall as Visit
    from sandbox.service import Service
    from sandbox.state import Session
_APP: Final = "nemo_agent"
_FAULTS: Final = (
    "agent_error",
    "agent_error_code",
    "agent_error_message",
    "stream_cut",
    "stream_cut_ends",
    "garbage_event",
    "temporary_issue",
)
_FAULTS_OF_A_CHANGE: Final = ("silent_edit", "two_step_edit")
"""Only for messages that change something: an answer without a change needs its text."""


async def run(visit: "Visit") -> "Response":
    """Accept a message, start the agent on it, and respond with its stream."""
    body = await visit.json()
    session = visit.session(body.get("session_id"))
    text = _text_of(body)
    note = visit.service.ledger.message(session.id, text, visit.account.user_id)
    planned = _plan(visit, session, text)
    if planned.cost > visit.account.available:
        note.close("refused")
        raise Refusal(Code.OUT_OF_CREDITS, "insufficient credits")
    turn = AgentRun(visit.service, session, note, planned, _striking_faults(visit, planned))
    visit.account.freeze(planned.cost)
    visit.service.set_to_work(turn.work())
    slow, silent = (visit.service.faults.strikes(name, visit.endpoint) for name in ("slow_stream", "silent_stream"))
    return EventStream(
        turn.events,
        turn.dialect,
        interval=visit.service.settings.keep_alive_seconds,
        slow=slow.seconds if slow else 0,
        silent=silent.seconds if silent else 0,
    )


def _text_of(body: dict[str, Any]) -> str:
    """The text of the message, in the only shape that is accepted."""
    message = body.get("new_message")
    parts = message.get("parts") if isinstance(message, dict) else None
    texts = [part.get("text") for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
    text = "\n".join(text for text in texts if isinstance(text, str)).strip()
    if body.get("app_name") != _APP or body.get("user_id") != "me" or not text:
        raise Refusal(Code.UNPROCESSABLE, f"app_name {_APP}, user_id me and a text in new_message.parts are required")
    return text


def _plan(visit: "Visit", session: "Session", text: str) -> "Plan":
    talk = Talk(session.language, visit.service.draw, screens=visit.strikes("screen_talk"))
    if visit.strikes("agent_declines"):
        return agent.declines(talk)
    if visit.strikes("agent_asks_back"):
        return agent.asks_back(talk.wants_detail())
    return agent.plan(text, session, talk)


def _striking_faults(visit: "Visit", planned: "Plan") -> frozenset[str]:
    """The faults that strike this message."""
    names = (*_FAULTS, *(_FAULTS_OF_A_CHANGE if planned.steps else ()))
    return frozenset(name for name in names if visit.strikes(name))


class AgentRun:
    """One message being worked on. The work continues if the connection is lost."""

    def __init__(
        self, service: "Service", session: "Session", note: "Message", plan: "Plan", twists: frozenset[str]
    ) -> None:
        self.service = service
        self.session = session
        self.note = note
        self.plan = plan
        self.twists = twists
        self.events = Events()
        self.dialect: Dialect = AdkDialect() if next(service.stream_forms) == "adk" else FlatDialect()

    async def work(self) -> None:
        """Do the work, from the first event to the last."""
        async with self.session.at_work:
            half = self.service.seconds(self.plan.length) / 2
            self._start()
            await asyncio.sleep(half)
            if self._strike_halfway():
                return
            await asyncio.sleep(half)
            self._finish()
        self.events.put_nowait(Mark.END)
        if self.plan.length == "generation" and self.note.outcome == "applied":
            await self._second_pass()

    def _start(self) -> None:
        for step in self.plan.steps[:1]:
            self._emit(self.dialect.tool_call(step.tool, step.args))
        if "garbage_event" in self.twists:
            self._emit(GARBAGE)

    def _strike_halfway(self) -> bool:
        """Apply the faults that strike halfway. True if the work ends here."""
        if self.twists & {"stream_cut", "stream_cut_ends"}:
            self.events.put_nowait(Mark.CUT)
        if "stream_cut_ends" in self.twists:
            self._spend(0, "lost")
            return True
        if "two_step_edit" in self.twists:
            self._apply(agent.groundwork(self.note.text))
        return False

    def _finish(self) -> None:
        failure = next((event for twist, event in agent_errors().items() if twist in self.twists), None)
        if failure:
            self._emit(failure)
            self._spend(0, "failed")
            return
        self._change()
        if "silent_edit" not in self.twists:
            self._emit(*self.dialect.text(self.plan.reply))
        if "temporary_issue" in self.twists and "silent_edit" not in self.twists:
            self._emit(*self.dialect.text(TEMPORARY_ISSUE))

    def _change(self) -> None:
        for number, step in enumerate(self.plan.steps):
            if number:
                self._emit(self.dialect.tool_call(step.tool, step.args))
            self._apply(step)
            self._emit(self.dialect.tool_result(step.tool, self.session.draft.as_json()))
        if self.plan.length == "generation":
            self.session.generated.append({"prompt": self.note.text, "file_type": "video"})
        self._spend(self.plan.cost, self.plan.outcome)

    async def _second_pass(self) -> None:
        await self.service.wait("second_pass")
        async with self.session.at_work:
            self._apply(agent.second_pass(self.service.draw))

    def _apply(self, step: "Step") -> None:
        step.change(self.session.draft)

    def _emit(self, *events: bytes) -> None:
        for event in events:
            self.events.put_nowait(event)

    def _spend(self, credits_: int, outcome: str) -> None:
        """Charge this much of the frozen credits, and release the rest."""
        account = self.session.account
        account.charge(credits_)
        account.release(self.plan.cost - credits_)
        self.note.close(outcome, credits_)
        if credits_:
            self.service.ledger.charge(self.session.id, account.user_id, credits_, self.note.text)
