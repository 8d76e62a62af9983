"""Webhooks: where an owner wants to be told of what, what became of each thing told, and telling it once more."""

from datetime import datetime
from typing import Annotated

from fastapi import Path, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from api.auth import Caller
from api.idempotency import REPLAYED, Key, Made, fingerprint, once
from api.pages import After, Limit, Page, page
from api.problems import Problem, not_found
from api.service import Here, Service
from reelq import outward
from reelq.store import webhooks
from reelq.store.apikeys import Holder
from reelq.store.clients import DeliveryState
from reelq.store.outbox import Event
from reelq.store.session import Transaction
from reelq.store.webhooks import Delivery, Disabled, Endpoint, TooMany

WebhookId = Annotated[str, Path(pattern=r"^hook_[0-9a-z]{22}$", examples=["hook_01k9z3c0q2m4x6v8b1n5s7"])]
DeliveryId = Annotated[str, Path(pattern=r"^msg_[0-9a-z]{22}$", examples=["msg_01k9z3c0q2m4x6v8b1n5s7"])]
_LONGEST_URL = 2000


def _secret(word: str) -> str:
    if not webhooks.is_secret(word):
        raise ValueError("`whsec_` and 24 to 64 bytes in base64 make a secret")
    return word


def _all_different(events: list[Event]) -> list[Event]:
    return list(dict.fromkeys(events))


class WebhookAsked(BaseModel):
    """Where you want to be told of what."""

    model_config = ConfigDict(extra="forbid", title="NewWebhook")

    url: Annotated[str, Field(max_length=_LONGEST_URL, examples=["https://example.com/reelq"])]
    """A public `http(s)` address. Redirects are not followed."""
    events: Annotated[list[Event], Field(min_length=1, max_length=20), AfterValidator(_all_different)] = list(Event)
    secret: Annotated[str, Field(pattern=r"^whsec_[A-Za-z0-9+/]{32,86}={0,2}$"), AfterValidator(_secret)] | None = None
    """One of your own; else one is made."""


class WebhookShown(BaseModel):
    """An endpoint."""

    id: str
    url: str
    events: list[Event]
    created_at: datetime
    disabled_at: datetime | None
    """Nothing is sent there since."""
    why: str

    @classmethod
    def of(cls, one: Endpoint) -> "WebhookShown":
        """As its owner sees it."""
        return cls.model_validate(one, from_attributes=True)


class WebhookMade(WebhookShown):
    """A new endpoint, with what its messages are signed with: shown now, and never again."""

    secret: str | None
    """None where it is an earlier request that is answered again, and the webhook was deleted since."""


class DeliveryShown(BaseModel):
    """One event for one endpoint, and how far it has come. Its id is the message's `webhook-id` at every try."""

    id: str
    event: Event
    batch: str
    job: str | None
    state: DeliveryState
    attempts: int
    due_at: datetime
    """When a pending one is tried again, or counts as lost where a try is under way."""
    status_code: int | None
    error: str
    created_at: datetime
    delivered_at: datetime | None

    @classmethod
    def of(cls, one: Delivery) -> "DeliveryShown":
        """As its owner sees it."""
        return cls.model_validate(one, from_attributes=True)


def create_webhook(
    here: Here, caller: Caller, request: Request, asked: WebhookAsked, idempotency_key: Key = None
) -> Response:
    """Be told from now on. The answer shows the secret, once."""
    outward.check(asked.url, here.settings.allowed_networks)
    asks = fingerprint(request, asked.model_dump_json())
    answer = once(
        here.store, caller.owner, idempotency_key, asks, "hook", lambda made_id: _create(here, caller, asked, made_id)
    )
    return _with_secret(here, caller, answer)


def _create(here: Service, caller: Holder, asked: WebhookAsked, made_id: str) -> Response:
    secret = asked.secret or webhooks.new_secret()
    with here.store.write() as session:
        now = here.store.now(session)
        try:
            made = webhooks.create(session, here.vault, caller.owner, asked.url, asked.events, secret, now, made_id)
        except TooMany:
            detail = f"You have {webhooks.MOST} webhooks, which is the most that there may be"
            raise Problem(409, "too_many_webhooks", detail, advice="Delete one that is not needed.") from None
    return Made(WebhookShown.of(made), f"/v1/webhooks/{made.id}")


def _with_secret(here: Service, caller: Holder, answer: Response) -> Response:
    """Only now, on its way out: the answer is kept, for whoever asks once more, and a secret must not be kept in it."""
    shown = WebhookShown.model_validate_json(bytes(answer.body))
    with here.store.read() as session:
        secret = webhooks.secret_of(session, here.vault, caller.owner, shown.id)
    whole = WebhookMade(**shown.model_dump(), secret=secret)
    headers = {name: answer.headers[name] for name in ("Location", REPLAYED) if name in answer.headers}
    return Response(whole.model_dump_json(), answer.status_code, headers, media_type="application/json")


def list_webhooks(here: Here, caller: Caller, limit: Limit = 50, cursor: After = None) -> Page[WebhookShown]:
    """Your webhooks, the newest first."""
    with here.store.read() as session:
        found = webhooks.endpoints(session, caller.owner, limit + 1, cursor)
    return page(found, limit, WebhookShown.of, lambda one: one.id)


def show_webhook(here: Here, caller: Caller, webhook_id: WebhookId) -> WebhookShown:
    """One of your webhooks."""
    with here.store.read() as session:
        return WebhookShown.of(_own(session, caller.owner, webhook_id))


def delete_webhook(here: Here, caller: Caller, webhook_id: WebhookId) -> None:
    """Nothing is sent there any more, and what was is forgotten."""
    with here.store.write() as session:
        if not webhooks.remove(session, caller.owner, webhook_id):
            raise not_found("webhook")


def list_deliveries(
    here: Here, caller: Caller, webhook_id: WebhookId, limit: Limit = 50, cursor: After = None
) -> Page[DeliveryShown]:
    """What it was told, or is still to be told, the newest first."""
    with here.store.read() as session:
        _own(session, caller.owner, webhook_id)
        found = webhooks.deliveries(session, webhook_id, limit + 1, cursor)
    return page(found, limit, DeliveryShown.of, lambda one: one.id)


def redeliver(here: Here, caller: Caller, webhook_id: WebhookId, delivery_id: DeliveryId) -> DeliveryShown:
    """Tell it this once more, at once, under the same id."""
    with here.store.write() as session:
        _own(session, caller.owner, webhook_id)
        try:
            again = webhooks.redeliver(session, webhook_id, delivery_id, here.store.now(session))
        except Disabled:
            raise Problem(409, "webhook_disabled", "Nothing is sent to this webhook any more") from None
        if again is None:
            raise not_found("delivery")
    return DeliveryShown.of(again)


def _own(session: Transaction, owner: str, webhook_id: str) -> Endpoint:
    found = webhooks.endpoint(session, owner, webhook_id)
    if found is None:
        raise not_found("webhook")
    return found
