"""`Idempotency-Key`: a creating request that is sent again with the same key gets the first response again."""

import hashlib
import json
import math
from collections.abc import Callable
from typing import Annotated, Final

from fastapi import Header, Request, Response
from pydantic import BaseModel

from api.errors import Problem
from reelq.errors import ReelqError
from reelq.store import idempotency
from reelq.store.db.engine import Store
from reelq.store.db.types import Kind, new_id
from reelq.store.idempotency import Claim, InProgress, KeyReused, Replay

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[\x21-\x7e]{1,255}$",
        description="A unique key for this request. Sent again with the same key within 24 hours, it runs only once.",
    ),
]
REPLAYED: Final = "Idempotent-Replayed"


class CreatedResponse(Response):
    """The response to a request that created a resource."""

    media_type = "application/json"

    def __init__(self, resource: BaseModel, location: str) -> None:
        super().__init__(resource.model_dump_json(), 201, {"Location": location})


def fingerprint(request: Request, content: str) -> str:
    """Return a hash of everything that the request asks for. `content` is its body or the hash of that."""
    query = sorted(request.query_params.multi_items())
    parts = [request.method, request.url.path, query, content]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def run_once(
    store: Store, owner: str, key: str | None, request_hash: str, kind: Kind, make: Callable[[str], Response]
) -> Response:
    """Call `make` for the first request with this key, and return its stored response for later ones.

    `make` gets the id of the resource to create, which is the same for every request with this key. If it raises a
    `Problem` or a `ReelqError`, nothing was created and the key can be used again.
    """
    made_id = new_id(kind)
    if key is None:
        return make(made_id)
    match idempotency.claim(store, owner, key, request_hash, made_id):
        case Replay(status, answer):
            return _replay(status, answer)
        case InProgress(seconds):
            headers = {"Retry-After": str(math.ceil(seconds))}
            raise Problem(
                409, "under_way", "The same request is still in progress; try again in a moment", headers=headers
            )
        case KeyReused():
            advice = "Use a new key for each request."
            raise Problem(422, "key_used", "This Idempotency-Key was used for another request", advice=advice)
        case Claim() as claim:
            return _run(store, claim, make)


def _run(store: Store, claim: Claim, make: Callable[[str], Response]) -> Response:
    try:
        response = make(claim.made_id)
    except (Problem, ReelqError):
        with store.write() as session:
            idempotency.discard(session, claim)
        raise
    except BaseException:
        with store.write() as session:
            idempotency.release(session, claim, store.now(session))
        raise
    answer = json.dumps({"location": response.headers.get("location", ""), "body": bytes(response.body).decode()})
    with store.write() as session:
        idempotency.answer(session, claim, response.status_code, answer)
    return response


def _replay(status: int, answer: str) -> Response:
    stored = json.loads(answer)
    headers = {REPLAYED: "true"} | ({"Location": stored["location"]} if stored["location"] else {})
    return Response(stored["body"], status, headers, media_type="application/json")
