"""All routes of the sandbox, on one page."""

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.routing import Route

from sandbox import accounts, agent_runs, control, files, renders, sessions, uploads
from sandbox.kinds import Endpoint
from sandbox.middleware import door

if TYPE_CHECKING:
    from sandbox.service import Service

GET, POST, DELETE = ["GET"], ["POST"], ["DELETE"]

ROUTES = [
    Route("/api/auth/anonymous-token", door(Endpoint.TOKEN, accounts.anonymous_token), methods=POST),
    Route("/api/auth/claim-token", door(Endpoint.CLAIM, sessions.claim_token), methods=POST),
    Route("/api/tasks/me/with-session/nemo_agent", door(Endpoint.SESSION, sessions.open_session), methods=POST),
    Route("/api/upload-video/nemo_agent/me/{session_id}", door(Endpoint.UPLOAD, uploads.upload), methods=POST),
    Route("/run_sse", door(Endpoint.EDIT, agent_runs.run), methods=POST),
    Route("/api/state/nemo_agent/me/{session_id}/latest", door(Endpoint.STATE, sessions.latest_state), methods=GET),
    Route("/api/credits/balance/simple", door(Endpoint.BALANCE, accounts.balance), methods=GET),
    Route("/api/render/proxy/lambda", door(Endpoint.RENDER, renders.submit), methods=POST),
    Route("/api/render/proxy/lambda/{render_id}", door(Endpoint.POLL, renders.look), methods=GET),
    Route("/api/render/proxy/lambda/{render_id}/cancel", door(Endpoint.CANCEL, renders.cancel), methods=POST),
    Route("/api/render/proxy/{render_id}/download", door(Endpoint.DOWNLOAD, files.download), methods=GET),
    Route("/cdn/{name:path}", door(Endpoint.CDN, files.cdn_file), methods=GET),
    Route("/sandbox/faults", control.show_faults, methods=GET),
    Route("/sandbox/faults", control.change_faults, methods=POST),
    Route("/sandbox/faults", control.reset_faults, methods=DELETE),
    Route("/sandbox/credits", control.top_up, methods=POST),
    Route("/sandbox/ledger", control.ledger, methods=GET),
    Route("/sandbox/requests", control.requests, methods=GET),
    Route("/sandbox/reset", control.reset, methods=POST),
]


def make_app(service: "Service") -> Starlette:
    app = Starlette(routes=ROUTES)
    app.state.service = service
    return app
