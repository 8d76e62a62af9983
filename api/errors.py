"""Errors as RFC 9457 problem details, with one table from error to status."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from reelq import errors
from reelq.errors import Fault, ManifestError, ReelqError
from reelq.store.db.engine import is_unavailable

log = logging.getLogger(__name__)
MEDIA: Final = "application/problem+json"
_AGAIN_SECONDS: Final = 5
STATUSES: Final[Mapping[type[ReelqError], int]] = {
    errors.ManifestError: 422,
    errors.SkillError: 422,
    errors.UnknownName: 404,
    errors.CannotRefine: 409,
    errors.TypeNotAccepted: 415,
    errors.FileTooLarge: 413,
    errors.CannotWrite: 507,
    errors.AddressRefused: 422,
}
"""The status for each error of `reelq.errors`. Any other error is a bug and gives 500."""
_CODES: Final = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "type_not_accepted",
}


class Problem(Exception):
    """An error response: a status, a code for programs and a message for people."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        advice: str = "",
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.advice = advice
        self.headers = dict(headers or {})
        self.more = more

    def answer(self) -> JSONResponse:
        """Return the response."""
        head = {"type": f"/problems/{self.code}", "title": self.code.replace("_", " ").capitalize()}
        advice = {"advice": self.advice} if self.advice else {}
        body = {**head, "status": self.status, "detail": self.detail, "code": self.code, **advice, **self.more}
        return JSONResponse(body, self.status, headers=self.headers, media_type=MEDIA)


class FaultShown(BaseModel):
    """An error or a warning about a manifest. Line 0 stands for the whole manifest."""

    line: int
    column: str
    message: str
    value: str
    hint: str
    row: int


class InvalidShown(BaseModel):
    """A part of a request that is not valid."""

    where: str
    message: str


class ProblemShown(BaseModel):
    """An error (RFC 9457)."""

    model_config = ConfigDict(title="Problem", extra="allow")

    type: str
    title: str
    status: int
    detail: str
    code: str
    advice: str | None = None
    faults: list[FaultShown] | None = None
    warnings: list[FaultShown] | None = None
    invalid: list[InvalidShown] | None = None


def not_found(what: str) -> Problem:
    """Return the problem for something that does not exist or belongs to another owner. It does not tell which."""
    return Problem(404, "not_found", f"No such {what}")


def faults(found: Iterable[Fault]) -> list[dict[str, Any]]:
    """Return errors or warnings about a manifest for a response."""
    return [asdict(fault) for fault in found]


def problem_for(error: Exception) -> Problem:
    """Return the problem for an error. Bugs are logged, and the response does not give any details of them."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, ManifestError):
        details: dict[str, Any] = {"faults": faults(error.faults), "warnings": faults(error.warnings)}
        return Problem(STATUSES[ManifestError], error.code, str(error), advice=error.advice, **details)
    if isinstance(error, ReelqError) and type(error) in STATUSES:
        return Problem(STATUSES[type(error)], error.code, str(error), advice=error.advice)
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, HTTPException):
        return _of_router(error)
    if is_unavailable(error):
        log.warning("The database does not respond")
        headers = {"Retry-After": str(_AGAIN_SECONDS)}
        return Problem(503, "database_away", "The database does not respond; try again in a moment", headers=headers)
    log.error("A request failed", exc_info=error)
    return Problem(500, "internal_error", "Something went wrong on our side; the service's log says what")


def _of_router(error: HTTPException) -> Problem:
    phrase = HTTPStatus(error.status_code).phrase
    code = _CODES.get(error.status_code, phrase.lower().replace(" ", "_"))
    return Problem(error.status_code, code, str(error.detail or phrase), headers=error.headers)


def _invalid(error: RequestValidationError) -> Problem:
    """Return 404 for a path parameter that is not valid, as nothing can have that name, and 422 for anything else."""
    failures: Sequence[Any] = error.errors()
    if any(failure["loc"][0] == "path" for failure in failures):
        return Problem(404, "not_found", "No resource has this id")
    invalid = [{"where": ".".join(map(str, failure["loc"])), "message": str(failure["msg"])} for failure in failures]
    detail = "; ".join(f"{failure['where']}: {failure['message']}" for failure in invalid)
    return Problem(422, "invalid_request", detail, invalid=invalid)


def _methods(app: FastAPI, request: Request) -> set[str]:
    """Return the methods that the request's path supports."""
    routes = (
        route for route in app.routes if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
    )
    return {method for route in routes for method in route.methods or ()}


def add_handlers(app: FastAPI) -> None:
    """Let the app answer with problems where no route matches, too."""

    async def answer(request: Request, error: Exception) -> JSONResponse:
        response = problem_for(error).answer()
        if response.status_code == HTTPStatus.METHOD_NOT_ALLOWED:  # the router sets the methods of only one route
            response.headers["Allow"] = ", ".join(sorted(_methods(app, request)))
        return response

    app.add_exception_handler(HTTPException, answer)
    app.add_exception_handler(Problem, answer)
