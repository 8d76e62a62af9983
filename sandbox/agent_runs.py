"""The agent's work on one message: what it costs, what changes and when, and what it streams."""

import asyncio
from typing import Any, Final

from starlette.responses import Response

from sandbox import agent
from sandbox.ledger import Message
from sandbox.middleware import Call
from sandbox.responses import Code, Refusal
from sandbox.service import Service
from sandbox.state import Session
from sandbox.stream import GARBAGE, AdkDialect, Dialect, Events, EventStream, FlatDialect, Mark, agent_errors

_APP: Final = "nemo_agent"
_FAULTS: Final = ("stream_cut", "stream_cut_ends", "garbage_event", "temporary_issue")
_FAULTS_OF_A_CHANGE: Final = ("silent_edit", "two_step_edit")
"""Only for messages that change something: an answer without a change needs its text."""


async def run(call: Call) -> Response:
    """Accept a message, start the agent on it, and respond with its stream."""
    body = await call.json()
    session = call.session(body.get("session_id"))
    text = _text_of(body)
    message = call.service.ledger.message(session.id, text, call.account.user_id)
    plan = _plan(call, session, text)
    if plan.cost > call.account.available:
        message.close("refused")
        raise Refusal(Code.OUT_OF_CREDITS, "insufficient credits")
    names = (*agent_errors(), *_FAULTS, *(_FAULTS_OF_A_CHANGE if plan.steps else ()))
    agent_run = AgentRun(call.service, session, message, plan, frozenset(name for name in names if call.strikes(name)))
    call.account.freeze(plan.cost)
    call.service.run_in_background(agent_run.work())
    slow, silent = (call.service.faults.strikes(name, call.endpoint) for name in ("slow_stream", "silent_stream"))
    return EventStream(
        agent_run.events,
        agent_run.dialect,
        interval=call.service.settings.keep_alive_seconds,
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


def _plan(call: Call, session: Session, text: str) -> agent.Plan:
    talk = agent.Talk(session.language, call.service.rng, screens=call.strikes("screen_talk"))
    if call.strikes("agent_declines"):
        return agent.Plan("answer", "declined", reply=talk.declines())
    if call.strikes("agent_asks_back"):
        return agent.Plan("answer", "asked back", reply=talk.wants_detail())
    return agent.plan(text, session, talk)


class AgentRun:
    """One message being worked on. The work continues if the connection is lost."""

    def __init__(
        self, service: Service, session: Session, message: Message, plan: agent.Plan, faults: frozenset[str]
    ) -> None:
        self.events = Events()
        self.dialect: Dialect = AdkDialect() if next(service.stream_forms) == "adk" else FlatDialect()
        self._service = service
        self._session = session
        self._message = message
        self._plan = plan
        self._faults = faults

    async def work(self) -> None:
        """Do the work, from the first event to the last."""
        async with self._session.at_work:
            half = self._service.seconds(self._plan.length) / 2
            for step in self._plan.steps[:1]:
                self._emit(self.dialect.tool_call(step.tool, step.args))
            if "garbage_event" in self._faults:
                self._emit(GARBAGE)
            await asyncio.sleep(half)
            if self._faults & {"stream_cut", "stream_cut_ends"}:
                self.events.put_nowait(Mark.CUT)
            if "stream_cut_ends" in self._faults:
                self._charge(0, "lost")
                return
            if "two_step_edit" in self._faults:
                agent.groundwork(self._message.text).change(self._session.draft)
            await asyncio.sleep(half)
            self._finish()
        self.events.put_nowait(Mark.END)
        if self._plan.length == "generation" and self._message.outcome == "applied":
            await self._service.wait("second_pass")
            async with self._session.at_work:
                agent.second_pass(self._service.rng).change(self._session.draft)

    def _finish(self) -> None:
        failure = next((event for fault, event in agent_errors().items() if fault in self._faults), None)
        if failure:
            self._emit(failure)
            self._charge(0, "failed")
            return
        self._change()
        if "silent_edit" not in self._faults:
            self._emit(*self.dialect.text(self._plan.reply))
            if "temporary_issue" in self._faults:
                self._emit(*self.dialect.text(agent.TEMPORARY_ISSUE))

    def _change(self) -> None:
        for number, step in enumerate(self._plan.steps):
            if number:
                self._emit(self.dialect.tool_call(step.tool, step.args))
            step.change(self._session.draft)
            self._emit(self.dialect.tool_result(step.tool, self._session.draft.as_json()))
        if self._plan.length == "generation":
            self._session.generated.append({"prompt": self._message.text, "file_type": "video"})
        self._charge(self._plan.cost, self._plan.outcome)

    def _emit(self, *events: bytes) -> None:
        for event in events:
            self.events.put_nowait(event)

    def _charge(self, credits_: int, outcome: str) -> None:
        account = self._session.account
        account.charge(credits_, of_frozen=self._plan.cost)
        self._message.close(outcome, credits_)
        if credits_:
            self._service.ledger.charge(self._session.id, account.user_id, credits_, self._message.text)
