"""An agent that does what the instruction names, without a model: one word for each thing a stream can carry."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from google.adk.agents import BaseAgent
from google.adk.agents.invocation_context import InvocationContext
from google.adk.events import Event, EventActions
from google.genai.types import Content, FunctionCall, FunctionResponse, Part

DRAFT = {"t": [{"tt": 7, "sg": [{"d": 3000, "m": {"title": "Urban Dreams"}}]}]}


class Scripted(BaseAgent):
    """Plays one scene for each word that the tests send."""

    async def _run_async_impl(self, ctx: InvocationContext) -> AsyncGenerator[Event, None]:
        parts = ctx.user_content.parts if ctx.user_content else None
        word = (parts[0].text if parts else None) or ""

        def event(said: Part, **more: Any) -> Event:
            content = Content(role="model", parts=[said])
            return Event(invocation_id=ctx.invocation_id, author=self.name, content=content, **more)

        match word:
            case "pieces":
                for piece in ("The title ", "is in ", "place."):
                    yield event(Part(text=piece), partial=True)
            case "tools":
                yield event(Part(function_call=FunctionCall(name="add_title", args={"text": "Urban Dreams"})))
                yield event(
                    Part(function_response=FunctionResponse(name="add_title", response={"ok": True})),
                    actions=EventActions(state_delta={"draft": DRAFT}),
                )
            case "exception":
                yield event(Part(text="Let me see."))
                raise RuntimeError("the encoder is on fire")
            case "silence":
                return
            case "forever":
                yield event(Part(text="Working on it."))
                await asyncio.sleep(600)
        yield event(Part(text="The title is in place."))


root_agent = Scripted(name="nemo_agent", description="Plays the remote agent.")
