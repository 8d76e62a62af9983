"""The sandbox's control endpoints: faults, credits, the ledger and a reset. They need no token."""

from typing import TYPE_CHECKING, Any

from sandbox.envelope import Json
from sandbox.faults import UnknownFault

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from sandbox.service import Service


async def show_faults(request: "Request") -> "Response":
    return Json(_service(request).faults.shown())


async def change_faults(request: "Request") -> "Response":
    """Merge a JSON object of faults into those in force; null removes a fault."""
    body = await _body(request)
    if body is None:
        return _not_an_object('{"server_error": 0.05}')
    try:
        _service(request).faults.change(body)
    except UnknownFault as error:
        return _unprocessable(str(error))
    return Json(_service(request).faults.shown())


async def reset_faults(request: "Request") -> "Response":
    """Restore the faults that the process was started with."""
    _service(request).faults.reset()
    return Json(_service(request).faults.shown())


async def top_up(request: "Request") -> "Response":
    """Add credits, as in `{"credits": 500}`, to all accounts, or to the one with `user_id`."""
    body, accounts = await _body(request), _service(request).world.accounts
    if body is None:
        return _not_an_object('{"credits": 500}')
    credits_, user_id = body.get("credits"), body.get("user_id")
    if not isinstance(credits_, int) or credits_ < 1:
        return _unprocessable("credits must be a whole number above 0")
    if user_id is not None and user_id not in accounts:
        return _unprocessable("no account has that user_id")
    for account in accounts.values() if user_id is None else [accounts[user_id]]:
        account.available += credits_
    return Json({"accounts": {name: account.shown() for name, account in accounts.items()}})


async def ledger(request: "Request") -> "Response":
    service = _service(request)
    accounts = {name: account.shown() for name, account in service.world.accounts.items()}
    return Json({**service.ledger.shown(), "accounts": accounts, "faults_struck": dict(service.faults.struck)})


async def requests(request: "Request") -> "Response":
    return Json({"requests": _service(request).ledger.book()})


async def reset(request: "Request") -> "Response":
    """Forget everything: accounts, sessions, exports, the ledger, and faults that were set later."""
    _service(request).reset()
    return Json({"reset": True})


def _service(request: "Request") -> "Service":
    service: Service = request.app.state.service
    return service


async def _body(request: "Request") -> dict[str, Any] | None:
    """The JSON object that was sent; None if it is not one."""
    try:
        body = await request.json()
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _not_an_object(example: str) -> "Response":
    return Json({"error": f"the body is not a JSON object; send one such as {example}"}, status_code=400)


def _unprocessable(message: str) -> "Response":
    return Json({"error": message}, status_code=422)
