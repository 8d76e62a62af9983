"""An order whose batch was given its id beforehand becomes one batch, however often and by how many it is submitted."""

from pathlib import Path

import pytest
from sqlalchemy import func, select

from reelq import manifest, skills
from reelq.manifest.uploads import Given, UploadedFiles
from reelq.store import submissions
from reelq.store.ids import new_id
from reelq.store.models import Batch, Job
from reelq.store.orders import Order
from reelq.store.session import Store
from tests.databases import add_account
from tests.integration.threads import together

SERVICE = "https://service.example"
ROWS = b"file,instruction,references\nbeach.mp4,Trim,https://example.com/a.jpg;face.jpg\n,Make a clip of the sea,\n"


@pytest.fixture
def account(store: Store) -> str:
    with store.write() as session:
        return add_account(session, store.now(session))


def order(batch_id: str = "") -> Order:
    given = {name: Given(sha * 64, 5, name, Path) for name, sha in (("beach.mp4", "a"), ("face.jpg", "b"))}
    files = UploadedFiles(given, {})
    checked = manifest.check(ROWS, name="jobs.csv", files=files, skills=skills.load())
    rows = checked.rows_or_raise()
    return Order("ann", "jobs", Path(), Path(), rows, checked.columns, inputs=files.inputs, batch_id=batch_id)


def batches(store: Store) -> int:
    with store.read() as session:
        return session.scalar(select(func.count()).select_from(Batch)) or 0


def test_rows_keep_the_hashes_of_what_their_names_stand_for(store: Store, account: str) -> None:
    made = submissions.submit(store, order(), service=SERVICE, account_id=account)
    with store.read() as session:
        first, second = session.scalars(select(Job).where(Job.batch_id == made.batch_id).order_by(Job.row))
        assert first.inputs == ["a" * 64, "", "b" * 64]
        assert second.inputs == [""]
        batch = session.get_one(Batch, made.batch_id)
        assert (batch.source, batch.out) == ("", "")


def test_each_time_it_is_a_batch_of_its_own_unless_its_id_was_given(store: Store, account: str) -> None:
    ids = {submissions.submit(store, order(), service=SERVICE, account_id=account).batch_id for _ in range(2)}
    assert len(ids) == 2
    given = new_id("bat")
    for _ in range(2):
        assert submissions.submit(store, order(given), service=SERVICE, account_id=account).batch_id == given
    assert batches(store) == 3


def test_submitted_by_several_at_once_it_is_made_once(store: Store, account: str) -> None:
    given = new_id("bat")
    made = together(6, lambda: submissions.submit(store, order(given), service=SERVICE, account_id=account))
    assert {each.batch_id for each in made} == {given}
    assert batches(store) == 1
    with store.read() as session:
        assert session.scalar(select(func.count()).select_from(Job)) == 2
