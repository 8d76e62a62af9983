"""Tokens and credits: the free starter token, and the balance."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sandbox.envelope import Code, Refusal, success
from sandbox.state import TOKEN_LIFE, is_dead

if TYPE_CHECKING:
    from starlette.responses import Response

    from sandbox.middleware import AuthenticatedCall as Visit


async def anonymous_token(visit: "Visit") -> "Response":
    """Issue one free token per client in seven days; once it has expired, the client can ask again."""
    client_id = visit.request.headers.get("x-client-id", "").strip()
    if not client_id:
        raise Refusal(Code.CLIENT_ID_MISSING, "X-Client-Id is missing")
    await visit.service.wait("token")
    try:
        _check_quota(visit, client_id)
    except Refusal:
        visit.service.ledger.token_request(client_id, "refused")
        raise
    token = visit.service.world.issue_token(client_id, visit.service.settings.credits)
    visit.service.ledger.token_request(client_id, "issued")
    return success(
        {
            "token": token.value,
            "user_id": token.account.user_id,
            "credits": token.account.available,
            "expires_at": (datetime.now(UTC) + timedelta(seconds=TOKEN_LIFE)).isoformat(),
        }
    )


def _check_quota(visit: "Visit", client_id: str) -> None:
    world = visit.service.world
    earlier = world.clients.get(client_id)
    if earlier and not is_dead(earlier, visit.service.faults.seconds("tokens_expire")):
        raise Refusal(Code.RATE_LIMITED, "one token per client per 7 days")
    address = visit.request.client.host if visit.request.client else ""
    clients = world.addresses.setdefault(address, set())
    if client_id not in clients and len(clients) >= visit.service.settings.clients_per_address:
        raise Refusal(Code.RATE_LIMITED, "too many clients at this address within 7 days")
    clients.add(client_id)


async def balance(visit: "Visit") -> "Response":
    return success(visit.account.shown())
