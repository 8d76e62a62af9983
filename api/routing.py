"""One line of the route table, and what happens around every handler: key first, then form, then errors as problems."""

import re
import secrets
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from api import problems
from api.auth import admit
from api.problems import Problem
from reelq import logs
from reelq.store.clients import Scope

SMALL: Final = 1_000_000
"""The most bytes that a request may send where nothing else is said."""
REQUEST_ID: Final = "X-Request-ID"
_PLAIN: Final = re.compile(r"[\w-]{1,64}", re.ASCII)
_ALWAYS: Final = (500, 503)


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path, who serves it, who may ask, and every way in which it answers."""

    method: str
    path: str
    handler: Callable[..., Any]
    scope: Scope | None
    """What a key has to allow; none where no key is needed."""
    answers: Any = None
    """The model of a success; none where the handler answers with something else than JSON."""
    status: int = 200
    problems: tuple[int, ...] = ()
    """The statuses of its own problems, beside those that any route can answer with."""
    also: Mapping[int, Any] = field(default_factory=dict)
    """Its other answers, as OpenAPI describes them; and the success, where that is no JSON."""
    body: Mapping[str, Any] | None = None
    """What it takes, as OpenAPI describes a request body, where the handler reads the request itself."""
    most: int | None = SMALL
    """The most bytes that it takes; none where the handler sees to that itself, as it streams."""

    def all_problems(self) -> tuple[int, ...]:
        """Every status of a problem that it can answer with."""
        form = (422,)
        key = (401, 403) if self.scope else ()
        sent = (400, 413) if self.method == "POST" else ()
        return tuple(sorted({*self.problems, *form, *key, *sent, *_ALWAYS}))


class Guarded(APIRoute):
    """A route that reads nothing of a request before its key is known, and answers every error with a problem."""

    line: ClassVar[Route]

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What serves a request."""
        serve = super().get_route_handler()
        line = self.line

        async def guarded(request: Request) -> Response:
            name = _named(request)
            logs.note(request=name)
            answer = await answered(request)
            answer.headers[REQUEST_ID] = name
            return answer

        async def answered(request: Request) -> Response:
            try:
                await _let_in(request, line)
                self._refuse_unknown(request)
                return await serve(_limited(request, line.most))
            except Exception as error:  # noqa: BLE001 - none may leave unanswered; `of` logs what it does not know
                answer = problems.of(error).answer()
                if line.most is None:  # else the server would read on to the body's end, for nothing
                    answer.headers["Connection"] = "close"
                return answer

        return guarded

    def _refuse_unknown(self, request: Request) -> None:
        """A slip in `dry_run` would cost credits: nobody's words are passed over."""
        known = {param.alias for param in self.dependant.query_params}
        unknown = [name for name in request.query_params if name not in known]
        if unknown:
            invalid = [{"where": f"query.{name}", "message": "there is no such parameter"} for name in unknown]
            detail = f"{', '.join(unknown)}: no such parameter; there are {', '.join(sorted(known)) or 'none'}"
            raise Problem(422, "invalid_request", detail, invalid=invalid)


def _named(request: Request) -> str:
    """What a request is called in the log: as whoever passed it on calls it, where that is a plain word."""
    told = request.headers.get(REQUEST_ID, "")
    return told if _PLAIN.fullmatch(told) else secrets.token_hex(8)


async def _let_in(request: Request, line: Route) -> None:
    if line.scope is not None:
        store = request.app.state.service.store
        key = request.headers.get("authorization")
        request.state.holder = holder = await run_in_threadpool(admit, store, key, line.scope)
        logs.note(key=holder.key_id, owner=holder.owner)


def _limited(request: Request, most: int | None) -> Request:
    if most is None:
        return request
    told = request.headers.get("content-length", "")
    if told.isascii() and told.isdigit() and int(told) > most:
        raise too_large(most)
    return Request(request.scope, _counted(request.receive, most))


def _counted(receive: Receive, most: int) -> Receive:
    so_far = 0

    async def counted() -> Message:
        nonlocal so_far
        message = await receive()
        so_far += len(message.get("body", b""))
        if so_far > most:  # the framework, which reads, lets no other kind of error through as it is
            raise HTTPException(413, too_large(most).detail)
        return message

    return counted


def too_large(most: int) -> Problem:
    """More bytes than are taken."""
    return Problem(413, "too_large", f"At most {most:,} bytes are taken here")


def add(app: FastAPI, line: Route) -> None:
    """Serve a line of the table, and describe it in the schema."""
    told = {status: _problem(status) for status in line.all_problems()} | dict(line.also)
    plain: dict[str, Any] = {} if line.answers is not None else {"response_class": Response}
    key: dict[str, Any] = {"security": [{"key": []}]} if line.scope else {}
    body: dict[str, Any] = {"requestBody": dict(line.body)} if line.body else {}
    app.router.add_api_route(
        line.path,
        line.handler,
        methods=[line.method],
        response_model=line.answers,
        status_code=line.status,
        responses=told,
        operation_id=line.handler.__name__,
        openapi_extra=key | body,
        route_class_override=type("Guarded", (Guarded,), {"line": line}),
        **plain,
    )


def _problem(status: int) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": _SAYS.get(status, "A problem"), "content": {problems.MEDIA: {"schema": schema}}}


_SAYS: Final = {
    400: "The body can't be read",
    401: "No key, or one that is not valid",
    403: "The key does not allow this",
    404: "There is no such thing, or it is somebody else's",
    409: "It is not so that this could be done",
    410: "It was there, and is gone",
    413: "The body is too large",
    415: "Such a body is not taken",
    416: "There are no such bytes",
    422: "The request can't be understood, or what it holds can't be run",
    500: "A fault of the service's own",
    503: "The database or the broker is away; ask again in a moment",
    507: "There is no room",
}
