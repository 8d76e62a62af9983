"""The REST service: every route on one page, and the FastAPI app. Start it with `uvicorn api.app:app`."""

import signal
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, Final

from fastapi import FastAPI

from api import errors
from api.deps import Page, Service
from api.errors import ProblemShown
from api.event_stream import EVENT
from api.routes import assets, batches, deployment, jobs, metrics, output, submissions, webhooks
from api.routes.assets import AssetShown
from api.routes.submissions import DryRunResult
from api.routes.webhooks import DeliveryShown, WebhookMade, WebhookShown
from api.routing import Route, add_route
from api.schemas import (
    Alive,
    BatchHandled,
    BatchListed,
    BatchShown,
    CreditsShown,
    JobHandled,
    JobShown,
    JobWhole,
    SkillsShown,
)
from reelq import logs
from reelq.settings import Settings
from reelq.store.db.client_models import Scope

READ, SUBMIT, ADMIN, METRICS = Scope.READ, Scope.SUBMIT, Scope.ADMIN, Scope.METRICS
_EVENTS: Final = {200: {"description": "Server-sent events", "content": {"text/event-stream": {"schema": EVENT}}}}
_TEXT: Final = {"schema": {"type": "string"}}
_RESULTS: Final = {
    200: {"description": "The result manifest", "content": {"text/csv": _TEXT, "application/jsonl": _TEXT}}
}

ROUTES: Final = (
    Route("GET", "/healthz", deployment.healthz, None, Alive),
    Route("GET", "/readyz", deployment.readyz, None, Alive),
    Route("GET", "/metrics", metrics.show_metrics, METRICS, also=metrics.ANSWERS),

    Route("GET", "/v1/batches", batches.list_batches, READ, Page[BatchListed]),
    Route("POST", "/v1/batches", submissions.add_batch, SUBMIT, BatchShown, 201, problems=(409, 415, 507),
          also={200: {"model": DryRunResult, "description": "With `dry_run`"}}, body=submissions.BATCH_BODY,
          max_bytes=None),
    Route("GET", "/v1/batches/{batch_id}", batches.show_batch, READ, BatchShown, problems=(404,)),
    Route("GET", "/v1/batches/{batch_id}/jobs", batches.list_jobs, READ, Page[JobShown], problems=(404,)),
    Route("GET", "/v1/batches/{batch_id}/results.csv", batches.batch_results, READ, problems=(404,), also=_RESULTS),
    Route("GET", "/v1/batches/{batch_id}/events", batches.batch_events, READ, problems=(404,), also=_EVENTS),
    Route("POST", "/v1/batches/{batch_id}/cancel", batches.cancel_batch, SUBMIT, BatchHandled, problems=(404,)),
    Route("POST", "/v1/batches/{batch_id}/pause", batches.pause_batch, SUBMIT, BatchHandled, problems=(404,)),
    Route("POST", "/v1/batches/{batch_id}/resume", batches.resume_batch, SUBMIT, BatchHandled, problems=(404,)),
    Route("POST", "/v1/batches/{batch_id}/retry", batches.retry_batch, SUBMIT, BatchHandled, problems=(404,)),

    Route("POST", "/v1/jobs", submissions.add_job, SUBMIT, JobWhole, 201, problems=(409, 507)),
    Route("GET", "/v1/jobs/{job_id}", jobs.show_job, READ, JobWhole, problems=(404,)),
    Route("GET", "/v1/jobs/{job_id}/events", jobs.job_events, READ, problems=(404,), also=_EVENTS),
    Route("GET", "/v1/jobs/{job_id}/output", output.job_output, READ, problems=(404, 410, 416), also=output.ANSWERS),
    Route("HEAD", "/v1/jobs/{job_id}/output", output.job_output_head, READ, problems=(404, 410)),
    Route("POST", "/v1/jobs/{job_id}/refine", submissions.refine_job, SUBMIT, JobWhole, 201, problems=(404, 409)),
    Route("POST", "/v1/jobs/{job_id}/cancel", jobs.cancel_job, SUBMIT, JobHandled, problems=(404,)),
    Route("POST", "/v1/jobs/{job_id}/retry", jobs.retry_job, SUBMIT, JobHandled, problems=(404, 409)),

    Route("POST", "/v1/assets", assets.add_asset, SUBMIT, AssetShown, 201, problems=(415, 507),
          also={200: {"model": AssetShown, "description": "Already uploaded"}}, body=assets.BODY, max_bytes=None),
    Route("GET", "/v1/assets/{asset_id}", assets.show_asset, READ, AssetShown, problems=(404,)),
    Route("HEAD", "/v1/assets/{asset_id}", assets.has_asset, READ, problems=(404,)),

    Route("GET", "/v1/credits", deployment.show_credits, READ, CreditsShown),
    Route("GET", "/v1/skills", deployment.list_skills, READ, SkillsShown),

    Route("GET", "/v1/webhooks", webhooks.list_webhooks, READ, Page[WebhookShown]),
    Route("POST", "/v1/webhooks", webhooks.create_webhook, ADMIN, WebhookMade, 201, problems=(409,)),
    Route("GET", "/v1/webhooks/{webhook_id}", webhooks.show_webhook, READ, WebhookShown, problems=(404,)),
    Route("DELETE", "/v1/webhooks/{webhook_id}", webhooks.delete_webhook, ADMIN, None, 204, problems=(404,)),
    Route("GET", "/v1/webhooks/{webhook_id}/deliveries", webhooks.list_deliveries, READ, Page[DeliveryShown],
          problems=(404,)),
    Route("POST", "/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver", webhooks.redeliver, ADMIN,
          DeliveryShown, 202, problems=(404, 409)),
)  # fmt: skip


def create_app(service: Service | None = None) -> FastAPI:
    """Create the app for this service. Without one, the app opens the service from the environment when it starts."""
    lifespan = partial(_lifespan, service)
    app = FastAPI(title="reelq", version="1", lifespan=lifespan, redoc_url=None, swagger_ui_oauth2_redirect_url=None)
    app.state.exposition = metrics.Exposition()
    errors.add_handlers(app)
    for route in ROUTES:
        add_route(app, route)
    _extend_openapi(app)
    return app


@asynccontextmanager
async def _lifespan(given: Service | None, app: FastAPI) -> AsyncIterator[None]:
    app.state.service = service = given or _open_service()
    with _stop_streams_on_signal(service.stopping):
        yield
    service.stopping.set()
    if given is None:
        service.store.close()


def _open_service() -> Service:
    settings = Settings.read()
    logs.set_up(settings.reelq_log_format)
    return Service.open(settings)


@contextmanager
def _stop_streams_on_signal(stopping: threading.Event) -> Iterator[None]:
    """Set `stopping` on SIGTERM or SIGINT, so that event streams end.

    The server waits for open streams before it runs the app's shutdown, so the shutdown would come too late for this.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def stop(number: int, frame: Any) -> None:
        stopping.set()
        handler = previous[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    for number in previous:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _extend_openapi(app: FastAPI) -> None:
    """Add the schema of problems and the API key to the OpenAPI document."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = generate()
            components = schema.setdefault("components", {})
            problem = ProblemShown.model_json_schema(ref_template="#/components/schemas/{model}")
            components.setdefault("schemas", {}).update(problem.pop("$defs", {}) | {"Problem": problem})
            components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]


def __getattr__(name: str) -> FastAPI:
    """Create `app` when a server loads `api.app:app`. It is created on access, as logging must be set up first."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    logs.set_up(Settings.read_leniently()[0].reelq_log_format)
    return create_app()
