"""Webhooks: an owner's endpoints, their deliveries, and redelivery."""

from datetime import datetime
from functools import partial
from typing import Annotated

from fastapi import Path, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from api.deps import After, Caller, Here, Limit, Page, Service, page
from api.errors import Problem, not_found
from api.idempotency import REPLAYED, CreatedResponse, Key, fingerprint, run_once
from reelq import egress
from reelq.store.api_keys import Holder
from reelq.store.db.client_models import DeliveryState, Webhook
from reelq.store.db.engine import Transaction
from reelq.store.webhooks import endpoints
from reelq.store.webhooks.endpoints import EndpointDisabled, TooManyEndpoints
from reelq.store.webhooks.outbox import Event

WebhookId = Annotated[str, Path(pattern=r"^hook_[0-9a-z]{22}$", examples=["hook_01k9z3c0q2m4x6v8b1n5s7"])]
DeliveryId = Annotated[str, Path(pattern=r"^msg_[0-9a-z]{22}$", examples=["msg_01k9z3c0q2m4x6v8b1n5s7"])]
_MAX_URL = 2000


def _secret(secret: str) -> str:
    if not endpoints.is_secret(secret):
        raise ValueError("the secret must be `whsec_` followed by 24 to 64 bytes in base64")
    return secret


def _unique(events: list[Event]) -> list[Event]:
    return list(dict.fromkeys(events))


class WebhookAsked(BaseModel):
    """An endpoint to create, and the events to send to it."""

    model_config = ConfigDict(extra="forbid", title="NewWebhook")

    url: Annotated[str, Field(max_length=_MAX_URL, examples=["https://example.com/reelq"])]
    """A public `http(s)` address. Redirects are not followed."""
    events: Annotated[list[Event], Field(min_length=1, max_length=20), AfterValidator(_unique)] = list(Event)
    secret: Annotated[str, Field(pattern=r"^whsec_[A-Za-z0-9+/]{32,86}={0,2}$"), AfterValidator(_secret)] | None = None
    """Your own secret. One is generated if you give none."""


class WebhookShown(BaseModel):
    """An endpoint."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    url: str
    events: list[Event]
    created_at: datetime
    disabled_at: datetime | None
    """When the endpoint was disabled. Nothing has been sent to it since."""
    why: str


class WebhookMade(WebhookShown):
    """A new endpoint with the secret that signs its messages. The secret is shown only once."""

    secret: str | None
    """None if this repeats the response to an earlier request and the webhook has been deleted since."""


class DeliveryShown(BaseModel):
    """The delivery of an event to an endpoint. Its id is the `webhook-id` of the message in every attempt."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    event: Event
    batch: str = Field(validation_alias="batch_id")
    job: str | None = Field(validation_alias="job_id")
    state: DeliveryState
    attempts: int
    due_at: datetime
    """When the next attempt is due, or when an attempt in progress counts as lost."""
    status_code: int | None
    error: str
    created_at: datetime
    delivered_at: datetime | None


def create_webhook(
    here: Here, caller: Caller, request: Request, asked: WebhookAsked, idempotency_key: Key = None
) -> Response:
    """Create a webhook. The response shows the secret, only once."""
    egress.check(asked.url, here.settings.allowed_networks)
    request_hash = fingerprint(request, asked.model_dump_json())
    make = partial(_create, here, caller, asked)
    answer = run_once(here.store, caller.owner, idempotency_key, request_hash, "hook", make)
    return _with_secret(here, caller, answer)


def _create(here: Service, caller: Holder, asked: WebhookAsked, made_id: str) -> Response:
    secret = asked.secret or endpoints.new_secret()
    with here.store.write() as session:
        now = here.store.now(session)
        try:
            endpoint = endpoints.create(
                session, here.vault, caller.owner, asked.url, asked.events, secret, now, made_id
            )
        except TooManyEndpoints:
            detail = f"You have {endpoints.MAX_ENDPOINTS} webhooks, the maximum"
            raise Problem(409, "too_many_webhooks", detail, advice="Delete one that is not needed.") from None
    return CreatedResponse(WebhookShown.model_validate(endpoint), f"/v1/webhooks/{endpoint.id}")


def _with_secret(here: Service, caller: Holder, answer: Response) -> Response:
    """Add the secret to the response. The stored response, which a repeated request gets, must not contain it."""
    shown = WebhookShown.model_validate_json(bytes(answer.body))
    with here.store.read() as session:
        secret = endpoints.secret_of(session, here.vault, caller.owner, shown.id)
    complete = WebhookMade(**shown.model_dump(), secret=secret)
    headers = {name: answer.headers[name] for name in ("Location", REPLAYED) if name in answer.headers}
    return Response(complete.model_dump_json(), answer.status_code, headers, media_type="application/json")


def list_webhooks(here: Here, caller: Caller, limit: Limit = 50, cursor: After = None) -> Page[WebhookShown]:
    """Your webhooks, newest first."""
    with here.store.read() as session:
        found = endpoints.endpoints(session, caller.owner, limit + 1, cursor)
    return page(found, limit, WebhookShown.model_validate, lambda endpoint: endpoint.id)


def show_webhook(here: Here, caller: Caller, webhook_id: WebhookId) -> WebhookShown:
    """One of your webhooks."""
    with here.store.read() as session:
        return WebhookShown.model_validate(_own(session, caller.owner, webhook_id))


def delete_webhook(here: Here, caller: Caller, webhook_id: WebhookId) -> None:
    """Delete a webhook and its deliveries."""
    with here.store.write() as session:
        if not endpoints.delete_endpoint(session, caller.owner, webhook_id):
            raise not_found("webhook")


def list_deliveries(
    here: Here, caller: Caller, webhook_id: WebhookId, limit: Limit = 50, cursor: After = None
) -> Page[DeliveryShown]:
    """The deliveries to a webhook, newest first."""
    with here.store.read() as session:
        _own(session, caller.owner, webhook_id)
        found = endpoints.deliveries(session, webhook_id, limit + 1, cursor)
    return page(found, limit, DeliveryShown.model_validate, lambda delivery: delivery.id)


def redeliver(here: Here, caller: Caller, webhook_id: WebhookId, delivery_id: DeliveryId) -> DeliveryShown:
    """Send a delivery again, now and with the same id."""
    with here.store.write() as session:
        _own(session, caller.owner, webhook_id)
        try:
            delivery = endpoints.redeliver(session, webhook_id, delivery_id, here.store.now(session))
        except EndpointDisabled:
            raise Problem(409, "webhook_disabled", "This webhook is disabled") from None
        if delivery is None:
            raise not_found("delivery")
    return DeliveryShown.model_validate(delivery)


def _own(session: Transaction, owner: str, webhook_id: str) -> Webhook:
    found = endpoints.endpoint(session, owner, webhook_id)
    if found is None:
        raise not_found("webhook")
    return found
