"""The deployment's figures, for Prometheus."""

from typing import Final

from fastapi import Request, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from api.service import Here

ANSWERS: Final = {
    200: {"description": "Metrics, as Prometheus reads them", "content": {"text/plain": {"schema": {"type": "string"}}}}
}


def show_metrics(here: Here, request: Request) -> Response:
    """How the deployment stands, all owners together, in figures alone."""
    return Response(request.app.state.exposition.told(here.store), media_type=CONTENT_TYPE_PLAIN_0_0_4)
