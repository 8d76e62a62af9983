"""Routes, and what happens around each handler: check the key, check the parameters, turn errors into problems."""

import re
import secrets
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.types import Message

from api import errors
from api.deps import admit
from api.errors import Problem
from reelq import logs
from reelq.store.db.client_models import Scope

REQUEST_ID: Final = "X-Request-ID"
_PLAIN_ID: Final = re.compile(r"[\w-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Route:
    """A route: its method and path, its handler, the scope it needs and all its responses."""

    method: str
    path: str
    handler: Callable[..., Any]
    scope: Scope | None
    """The scope that the key must have, or None if no key is needed."""
    answers: Any = None
    """The model of a successful response, or None if that is not JSON."""
    status: int = 200
    problems: tuple[int, ...] = ()
    """Statuses of problems, in addition to those that every route can return."""
    also: Mapping[int, Any] = field(default_factory=dict)
    """OpenAPI descriptions of other responses, and of the successful one if that is not JSON."""
    body: Mapping[str, Any] | None = None
    """The OpenAPI description of the request body, if the handler reads the request itself."""
    max_bytes: int | None = 1_000_000
    """The limit for the request body in bytes, or None if the handler checks the size while it streams."""

    def all_problems(self) -> tuple[int, ...]:
        """Return the statuses of all problems that this route can return."""
        authorization = (401, 403) if self.scope else ()
        body = (400, 413) if self.method == "POST" else ()
        return tuple(sorted({*self.problems, *authorization, *body, 422, 500, 503}))


class AuthenticatedRoute(APIRoute):
    """A route that checks the key before it reads the request, and answers every error with a problem."""

    line: ClassVar[Route]

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the function that serves a request."""
        serve = super().get_route_handler()
        line = self.line

        async def guarded(request: Request) -> Response:
            request_id = _request_id(request)
            logs.add_context(request=request_id)
            answer = await respond(request)
            answer.headers[REQUEST_ID] = request_id
            return answer

        async def respond(request: Request) -> Response:
            try:
                await _authorize(request, line)
                self._refuse_unknown(request)
                return await serve(_limit_body(request, line.max_bytes))
            except Exception as error:  # noqa: BLE001 - every error gets a response; `problem_for` logs unknown ones
                answer = errors.problem_for(error).answer()
                if line.max_bytes is None:  # or the server would read the rest of the body for nothing
                    answer.headers["Connection"] = "close"
                return answer

        return guarded

    def _refuse_unknown(self, request: Request) -> None:
        """Refuse unknown query parameters. Ignoring a misspelt `dry_run` would cost credits."""
        known = {param.alias for param in self.dependant.query_params}
        unknown = [name for name in request.query_params if name not in known]
        if unknown:
            invalid = [{"where": f"query.{name}", "message": "unknown parameter"} for name in unknown]
            detail = f"{', '.join(unknown)}: unknown parameter; this route accepts {', '.join(sorted(known)) or 'none'}"
            raise Problem(422, "invalid_request", detail, invalid=invalid)


def _request_id(request: Request) -> str:
    """Return the id of the request for the log: the one in its header if that is a plain word, else a new one."""
    header = request.headers.get(REQUEST_ID, "")
    return header if _PLAIN_ID.fullmatch(header) else secrets.token_hex(8)


async def _authorize(request: Request, route: Route) -> None:
    if route.scope is not None:
        store = request.app.state.service.store
        key = request.headers.get("authorization")
        request.state.holder = holder = await run_in_threadpool(admit, store, key, route.scope)
        logs.add_context(key=holder.key_id, owner=holder.owner)


def _limit_body(request: Request, max_bytes: int | None) -> Request:
    if max_bytes is None:
        return request
    content_length = request.headers.get("content-length", "")
    if content_length.isascii() and content_length.isdigit() and int(content_length) > max_bytes:
        raise too_large(max_bytes)
    total = 0

    async def receive() -> Message:
        nonlocal total
        message = await request.receive()
        total += len(message.get("body", b""))
        if total > max_bytes:  # the framework passes on no other type of error while it reads
            raise HTTPException(413, too_large(max_bytes).detail)
        return message

    return Request(request.scope, receive)


def too_large(max_bytes: int) -> Problem:
    """Return the problem for a body that exceeds the limit."""
    return Problem(413, "too_large", f"The body may have at most {max_bytes:,} bytes")


def add_route(app: FastAPI, route: Route) -> None:
    """Add a route to the app and to its OpenAPI document."""
    responses = {status: _problem(status) for status in route.all_problems()} | dict(route.also)
    no_model: dict[str, Any] = {} if route.answers is not None else {"response_class": Response}
    security: dict[str, Any] = {"security": [{"key": []}]} if route.scope else {}
    body: dict[str, Any] = {"requestBody": dict(route.body)} if route.body else {}
    app.router.add_api_route(
        route.path,
        route.handler,
        methods=[route.method],
        response_model=route.answers,
        status_code=route.status,
        responses=responses,
        operation_id=route.handler.__name__,
        openapi_extra=security | body,
        route_class_override=type("Guarded", (AuthenticatedRoute,), {"line": route}),
        **no_model,
    )


def _problem(status: int) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": _DESCRIPTIONS.get(status, "A problem"), "content": {errors.MEDIA: {"schema": schema}}}


_DESCRIPTIONS: Final = {
    400: "The body can't be read",
    401: "No key, or one that is not valid",
    403: "The key does not allow this",
    404: "Not found, or owned by someone else",
    409: "The current state does not allow this",
    410: "It no longer exists",
    413: "The body is too large",
    415: "Unsupported content type",
    416: "The range is not satisfiable",
    422: "The request is invalid, or its content cannot be run",
    500: "Internal error",
    503: "The database or the broker is unavailable; try again in a moment",
    507: "No space left",
}
