"""`reelq credits`, and the estimate that `reelq check` sets beside the balance."""

import json
import re
from datetime import UTC, datetime, timedelta

from sqlalchemy import insert

from reelq.store.models import CreditReading
from reelq.store.session import Store
from tests.acceptance.test_doctor import Patient, patient
from tests.databases import add_account, add_batch, add_job, add_send
from tests.sandbox_process import SandboxProcess

__all__ = ["patient"]
NOBODY = "http://127.0.0.1:1"


def _spend(store: Store, service: str) -> None:
    """Two batches on the free account: one of today, one of last month; a top-up, and a loss that nobody explains."""
    with store.write() as session:
        now = datetime.now(UTC)
        account_id = add_account(session, now, service_url=service)
        for name, at, cost in (("old", now - timedelta(days=40), 70), ("new", now, 30)):
            batch_id = add_batch(session, at, name=name)
            job_id = add_job(session, at, batch_id=batch_id, account_id=account_id)
            add_send(session, at, job_id, account_id, cost=cost)
        row = {"account_id": account_id, "frozen": 5, "total": None}
        session.execute(
            insert(CreditReading),
            [
                {**row, "at": now - timedelta(days=9), "moment": "before", "available": 80, "unattributed": 12},
                {**row, "at": now, "moment": "after", "available": 120, "top_up": 40, "unattributed": 0},
            ],
        )


def test_the_free_account_is_asked_and_shown_with_its_link(patient: Patient, sandbox: SandboxProcess) -> None:
    done = patient.calls("credits")
    assert (done.returncode, done.stderr) == (0, "")
    assert "100 available" in done.stdout
    assert "token ends" in done.stdout
    assert "https://nemovideo.com/register?bind=anon_" in done.stdout
    sandbox.top_up(40)
    told = json.loads(patient.calls("credits", "--json").stdout)
    assert told["balance"]["available"] == 140
    assert told["spent"]["today"] == {"spent": 0, "unattributed": 0, "top_ups": 40}
    assert len(sandbox.ledger()["token_requests"]) == 1


def test_what_was_spent_is_told_by_the_day_and_by_the_batch_though_the_service_is_away(patient: Patient) -> None:
    with patient.edits() as store:
        _spend(store, NOBODY)
    done = patient.calls("credits", NEMO_API_URL=NOBODY)
    assert done.returncode == 1
    assert "could not be read: No connection" in done.stderr
    assert "120 available, 5 set aside" in done.stdout
    told = json.loads(patient.calls("credits", "--json", NEMO_API_URL=NOBODY).stdout)
    assert told["fresh"] is False
    assert told["spent"]["today"] == {"spent": 30, "unattributed": 0, "top_ups": 40}
    assert told["spent"]["all"] == {"spent": 100, "unattributed": 12, "top_ups": 40}
    assert [(batch["name"], batch["credits"]) for batch in told["batches"]] == [("new", 30), ("old", 70)]


def test_check_sets_the_cost_beside_what_is_known_of_the_balance_and_makes_no_database(
    patient: Patient, sandbox: SandboxProcess
) -> None:
    patient.writes(["beach.mp4,Cut the pauses", ",Make a clip of a city", "beach.mp4,export"])

    def last_line(**environment: str) -> str:
        done = patient.calls("check", "jobs.csv", **environment)
        assert (done.returncode, "3 rows" in done.stdout) == (0, True)
        return done.stdout.splitlines()[-1]

    unknown = "About 150 credits for 2 instructions, at what is usual; the balance is not known yet"
    assert last_line().startswith(unknown)
    assert not (patient.folder / "data").exists()
    away = patient.calls("check", "jobs.csv", REELQ_DATABASE_URL="postgresql://me@127.0.0.1:1/reelq")
    assert (away.returncode, unknown in away.stdout) == (0, True)
    assert re.fullmatch(r"The database does not answer \(.*the cost is that of all rows.*\n", away.stderr)
    patient.calls("credits")
    assert last_line().endswith("at what is usual; balance 100, 50 short.")
    assert len(sandbox.ledger()["token_requests"]) == 1
    with patient.edits() as store:
        _spend(store, NOBODY)
    cost = "About 140 credits for 2 instructions, at the most that one has cost yet; balance 120"
    assert last_line(NEMO_API_URL=NOBODY).startswith(f"{cost} (as of {datetime.now().astimezone():%Y-%m-%d}")
