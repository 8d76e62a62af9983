"""The metrics of the deployment, for Prometheus."""

from typing import Final

from fastapi import Request, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from api.deps import Here

ANSWERS: Final = {
    200: {"description": "Metrics, as Prometheus reads them", "content": {"text/plain": {"schema": {"type": "string"}}}}
}


def show_metrics(here: Here, request: Request) -> Response:
    """Metrics of the whole deployment, over all owners. They contain no names of batches or rows."""
    return Response(request.app.state.exposition.told(here.store), media_type=CONTENT_TYPE_PLAIN_0_0_4)
