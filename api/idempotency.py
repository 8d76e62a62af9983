"""`Idempotency-Key`: a request that creates, asked again because its answer was lost, is answered as before."""

import hashlib
import json
import math
from collections.abc import Callable
from typing import Annotated, Final

from fastapi import Header, Request, Response
from pydantic import BaseModel

from api.problems import Problem
from reelq.errors import ReelqError
from reelq.store import idempotency
from reelq.store.idempotency import Another, Answered, Mine, UnderWay
from reelq.store.ids import Kind, new_id
from reelq.store.session import Store

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[\x21-\x7e]{1,255}$",
        description="A word of your own for this request: sent again with it within 24 hours, it is done once.",
    ),
]
REPLAYED: Final = "Idempotent-Replayed"


class Made(Response):
    """The answer to a request that made something."""

    media_type = "application/json"

    def __init__(self, shown: BaseModel, place: str) -> None:
        super().__init__(shown.model_dump_json(), 201, {"Location": place})


def fingerprint(request: Request, content: str) -> str:
    """What tells a request from others: all that it asks; `content` is its body, or the hash of it."""
    query = sorted(request.query_params.multi_items())
    asked = [request.method, request.url.path, query, content]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def once(
    store: Store, owner: str, key: str | None, print_: str, kind: Kind, make: Callable[[str], Response]
) -> Response:
    """What `make` answers, at the first time; it is given the id for what it is to make, the same at every try.

    A problem or an error of ours that it raises says that nothing was made: then the key is free again.
    """
    made_id = new_id(kind)
    if key is None:
        return make(made_id)
    match idempotency.claim(store, owner, key, print_, made_id):
        case Answered(status, said):
            return _again(status, said)
        case UnderWay(seconds):
            again = {"Retry-After": str(math.ceil(seconds))}
            raise Problem(409, "under_way", "The same request is being served; ask again in a moment", headers=again)
        case Another():
            advice = "Give each request a key of its own."
            raise Problem(422, "key_used", "This Idempotency-Key was used for another request", advice=advice)
        case Mine() as mine:
            return _first(store, mine, make)


def _first(store: Store, mine: Mine, make: Callable[[str], Response]) -> Response:
    try:
        made = make(mine.made_id)
    except (Problem, ReelqError):
        with store.write() as session:
            idempotency.give_up(session, mine)
        raise
    except BaseException:
        with store.write() as session:
            idempotency.let_go(session, mine, store.now(session))
        raise
    said = json.dumps({"location": made.headers.get("location", ""), "body": bytes(made.body).decode()})
    with store.write() as session:
        idempotency.answer(session, mine, made.status_code, said)
    return made


def _again(status: int, said: str) -> Response:
    told = json.loads(said)
    headers = {REPLAYED: "true"} | ({"Location": told["location"]} if told["location"] else {})
    return Response(told["body"], status, headers, media_type="application/json")
