"""A row that can't be tried again says so, and its problem is one that the description of the service names."""

import httpx
from sqlalchemy import update

from reelq.job import Status
from reelq.store.models import Job
from tests.api.serving import Served


def test_a_refinement_whose_session_is_lost_is_refused_as_described(ann: httpx.Client, served: Served) -> None:
    row = {"file": "https://cdn.example/a.mp4", "instruction": "Add a title"}
    first = ann.post("/v1/jobs", json=row).json()["id"]
    with served.store.write() as session:
        session.execute(update(Job).where(Job.id == first).values(remote_session_id="ses_1", status=Status.SUCCEEDED))
    refined = ann.post(f"/v1/jobs/{first}/refine", json={"instruction": "Warmer"}).json()["id"]
    with served.store.write() as session:
        lost = {"status": Status.FAILED, "cause": None, "error_code": "session_lost"}
        session.execute(update(Job).where(Job.id == refined).values(**lost))
    refused = ann.post(f"/v1/jobs/{refined}/retry")
    assert (refused.status_code, refused.json()["code"]) == (409, "cannot_refine")
    assert "409" in served.app.openapi()["paths"]["/v1/jobs/{job_id}/retry"]["post"]["responses"]
