"""Errors as RFC 9457 problem details: one table from error to status, and one shape for all of them."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from reelq import errors
from reelq.errors import Fault, ManifestError, ReelqError
from reelq.store.session import is_away

log = logging.getLogger(__name__)

MEDIA: Final = "application/problem+json"
_AGAIN_SECONDS: Final = 5
STATUSES: Final[Mapping[type[ReelqError], int]] = MappingProxyType(
    {
        errors.ManifestError: 422,
        errors.SkillError: 422,
        errors.UnknownName: 404,
        errors.CannotRefine: 409,
        errors.TypeNotAccepted: 415,
        errors.FileTooLarge: 413,
        errors.CannotWrite: 507,
        errors.AddressRefused: 422,
    }
)
"""What an error of the spine is answered with; any other is a fault of ours."""
_CODES: Final = MappingProxyType(
    {400: "bad_request", 404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "type_not_accepted"}
)


class Problem(Exception):
    """An answer that is no success: a status, a word for programs, a sentence for people."""

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
        """As it goes out."""
        told = {"type": f"/problems/{self.code}", "title": self.code.replace("_", " ").capitalize()}
        advice = {"advice": self.advice} if self.advice else {}
        body = {**told, "status": self.status, "detail": self.detail, "code": self.code, **advice, **self.more}
        return JSONResponse(body, self.status, headers=self.headers, media_type=MEDIA)


class FaultShown(BaseModel):
    """One thing wrong with a manifest, or worth a warning. Line 0 is the manifest as a whole."""

    line: int
    column: str
    message: str
    value: str
    hint: str
    row: int


class InvalidShown(BaseModel):
    """One thing wrong with a request."""

    where: str
    message: str


class ProblemShown(BaseModel):
    """What went wrong (RFC 9457)."""

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
    """It is not there, or is somebody else's: who asks is not told which."""
    return Problem(404, "not_found", f"There is no such {what}")


def faults(found: Iterable[Fault]) -> list[dict[str, Any]]:
    """Faults or warnings of a manifest as they go out."""
    return [asdict(fault) for fault in found]


def of(error: Exception) -> Problem:
    """What an error is answered with. A fault of ours is logged; nobody else learns more than that it is one."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, ManifestError):
        told: dict[str, Any] = {"faults": faults(error.faults), "warnings": faults(error.warnings)}
        return Problem(STATUSES[ManifestError], error.code, str(error), advice=error.advice, **told)
    if isinstance(error, ReelqError) and type(error) in STATUSES:
        return Problem(STATUSES[type(error)], error.code, str(error), advice=error.advice)
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, HTTPException):
        return _of_router(error)
    if is_away(error):
        log.warning("the database does not answer")
        again = {"Retry-After": str(_AGAIN_SECONDS)}
        return Problem(503, "database_away", "The database does not answer; ask again in a moment", headers=again)
    log.error("a request failed", exc_info=error)
    return Problem(500, "internal_error", "Something went wrong on our side; the service's log says what")


def _of_router(error: HTTPException) -> Problem:
    phrase = HTTPStatus(error.status_code).phrase
    code = _CODES.get(error.status_code, phrase.lower().replace(" ", "_"))
    return Problem(error.status_code, code, str(error.detail or phrase), headers=error.headers)


def _invalid(error: RequestValidationError) -> Problem:
    """A path that can name nothing names nothing: only what else is wrong is a fault of the request's form."""
    found: Sequence[Any] = error.errors()
    if any(one["loc"][0] == "path" for one in found):
        return Problem(404, "not_found", "There is nothing by that name")
    invalid = [{"where": ".".join(map(str, one["loc"])), "message": str(one["msg"])} for one in found]
    detail = "; ".join(f"{one['where']}: {one['message']}" for one in invalid)
    return Problem(422, "invalid_request", detail, invalid=invalid)


def _methods(app: FastAPI, request: Request) -> set[str]:
    """What can be asked at a request's path."""
    here = (one for one in app.routes if isinstance(one, Route) and one.matches(request.scope)[0] is not Match.NONE)
    return {method for one in here for method in one.methods or ()}


def handle(app: FastAPI) -> None:
    """What goes wrong outside of a route, where there is none, is told in the same shape."""

    async def answer(request: Request, error: Exception) -> JSONResponse:
        told = of(error).answer()
        if told.status_code == HTTPStatus.METHOD_NOT_ALLOWED:  # the router knows of one route, and there may be more
            told.headers["Allow"] = ", ".join(sorted(_methods(app, request)))
        return told

    app.add_exception_handler(HTTPException, answer)
    app.add_exception_handler(Problem, answer)
