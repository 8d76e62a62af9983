"""Who asks: the bearer key of a request, and whether it allows what is asked."""

from typing import Annotated, Final

from fastapi import Depends, Request

from api.problems import Problem
from reelq.store.apikeys import Holder, holder_of
from reelq.store.clients import Scope
from reelq.store.session import Store

_CHALLENGE: Final = {"WWW-Authenticate": "Bearer"}


def admit(store: Store, authorization: str | None, scope: Scope) -> Holder:
    """Whoever holds the key; a problem where there is none, or where it does not allow this."""
    word, _, secret = (authorization or "").partition(" ")
    holder = holder_of(store, secret.strip()) if word.lower() == "bearer" else None
    if holder is None:
        detail = "The key is not valid" if authorization else "A key is needed: Authorization: Bearer <key>"
        raise Problem(401, "unauthorized", detail, advice="`reelq keys create` makes a key.", headers=_CHALLENGE)
    if not holder.may(scope):
        detail = f"This key may {holder.scope}; what was asked needs one that may {scope}"
        raise Problem(403, "forbidden", detail, advice=f"`reelq keys create --scope {scope}` makes such a key.")
    return holder


async def _of(request: Request) -> Holder:
    found: Holder = request.state.holder
    return found


Caller = Annotated[Holder, Depends(_of)]
"""A handler's parameter: whose key came with the request. The route has checked it before anything was read."""
