"""`reelq doctor`, told by planted faults, each of which it finds with its mend; `reelq db`; and `reelq credits`."""

import json
import re
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import URL, insert

from reelq.cli.doctor import local
from reelq.cli.doctor.findings import CheckContext as Looked
from reelq.cli.doctor.findings import Severity
from reelq.settings import Settings
from reelq.store.db.engine import Store
from reelq.store.db.migrations import downgrade, upgrade
from reelq.store.db.models import CreditReading
from tests.acceptance.running import Terminal, User
from tests.contract.scripted_service import ScriptedService, reply
from tests.databases import add_account, add_batch, add_job, add_send, empty_database, shown
from tests.sandbox_process import SandboxProcess
from tests.servers import HAS_POSTGRES

NO_REDIS = "redis://127.0.0.1:1/0"
NOWHERE = "http://127.0.0.1:1"
OPEN_FLOWER = {"REELQ_BROKER_URL": NO_REDIS, "FLOWER_ADDRESS": "0.0.0.0"}
SECRETS = {
    "NEMO_TOKEN": "nmv_usr_hushhush1",
    "REELQ_SECRET_KEY": "hushhush2-and-long-enough",
    "REELQ_BROKER_URL": "redis://boss:hushhush3@127.0.0.1:1/0?password=hushhush4",
    "NEMO_CLIENT_ID": "hushhush-client",
    "HTTPS_PROXY": "http://boss:hushhush8@127.0.0.1:1",
    "REELQ_DATABASE_URL": "postgresql://boss:hushhush5@127.0.0.1:1/reelq",
    "FLOWER_BASIC_AUTH": "boss:hushhush6",
}


class Patient(User):
    """A place of its own for each test: home, data folder, current folder."""

    @property
    def database(self) -> Path:
        (self.folder / "data").mkdir(exist_ok=True)
        return self.folder / "data" / "reelq.db"

    @contextmanager
    def edits(self) -> Iterator[Store]:
        """The database at the newest version, to be spoilt."""
        store = Store(URL.create("sqlite", database=str(self.database)))
        try:
            upgrade(store)
            yield store
        finally:
            store.close()

    def doctor(self, **more: str) -> tuple[int, list[dict[str, Any]]]:
        """Its exit code, which has to fit, and what it found."""
        done = self.calls("doctor", "--json", code=None, **more)
        assert done.stderr == ""
        findings = json.loads(done.stdout)["findings"]
        assert done.returncode == any(each["grade"] == "wrong" for each in findings)
        return done.returncode, findings

    def finding(self, about: str, grade: str, **more: str) -> str:
        """The one finding of that grade, with its mend."""
        _, findings = self.doctor(**more)
        (fitting,) = (each for each in findings if (each["about"], each["grade"]) == (about, grade))
        return f"{fitting['what']} - {fitting['mend']}"


@pytest.fixture
def patient(tmp_path: Path, sandbox: SandboxProcess) -> Patient:
    """With nothing wrong."""
    return Patient(tmp_path, sandbox)


def test_looking_changes_nothing_and_asks_for_no_token(patient: Patient, sandbox: SandboxProcess) -> None:
    def files() -> dict[Path, tuple[int, int]]:
        found = {path: path.stat() for path in patient.folder.rglob("*")}
        return {path: (stat.st_ino, stat.st_mtime_ns) for path, stat in found.items()}

    before = files()
    done = patient.calls("doctor", "--all")
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "Nothing is wrong."
    assert files() == before
    assert sandbox.ledger()["token_requests"] == {}
    patient.calls("credits")  # makes a database and a key, and asks for a token
    before = files()
    assert patient.finding("credits", "ok") == "100 available - "
    assert files() == before
    assert len(sandbox.ledger()["token_requests"]) == 1


@pytest.mark.skipif(not HAS_POSTGRES, reason="needs PostgreSQL")
def test_a_shared_database_without_its_migrations_or_a_key_is_found(patient: Patient) -> None:
    with empty_database("postgresql", patient.folder) as url:
        more = {"REELQ_DATABASE_URL": shown(url), "REELQ_SECRET_KEY": "long enough for a key"}
        assert "reelq db upgrade" in patient.finding("database", "wrong", **more)
        for words, code in ((["db"], 1), (["db", "upgrade"], 0), (["db"], 0)):
            patient.calls(*words, code=code, **more)
        assert patient.doctor(**more)[0] == 0
        assert "the same on every machine" in patient.finding("key", "wrong", REELQ_DATABASE_URL=shown(url))


def test_a_full_disk_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_999_999_999))
    looked = Looked(Settings(reelq_data_dir=tmp_path), {}, {}, tmp_path / "out")
    found = list(local.check_folders(looked))
    assert [each.grade for each in found] == [Severity.WARNING] * 2
    assert all("has only 2.0 GB left" in each.what and "Free disk space" in each.mend for each in found)


def test_a_key_that_does_not_open_the_token_is_found(patient: Patient) -> None:
    patient.calls("credits")  # there is a token now, locked with the key that was made for it
    found = patient.finding("key", "wrong", REELQ_SECRET_KEY="another key, and long enough")
    assert re.search("encrypted with another key.* - .*REELQ_SECRET_KEY", found)
    (key := patient.folder / "data" / "secret.key").unlink()
    assert "secret.key is missing" in patient.finding("key", "wrong")
    assert not key.exists()


FAULTS: list[tuple[dict[str, str], list[tuple[str, str, str, str]]]] = [
    ({"REELQ_BROKER_URL": NO_REDIS, "NEMO_API_URL": NOWHERE, "IMAGEIO_FFMPEG_EXE": "/nowhere/ffmpeg",
      "REELQ_BROKERURL": "redis://127.0.0.1/0"},
     [("broker", "wrong", "Connection refused", "REELQ_BROKER_URL"),
      ("service", "wrong", "", "firewall"),
      ("flower", "ok", "this machine only", ""),
      ("encoder", "warning", "/nowhere/ffmpeg: No such file or directory", "IMAGEIO_FFMPEG_EXE"),
      ("environment", "warning", "BROKERURL is set, but is not a reelq setting", "Did you mean REELQ_BROKER_URL")]),
    (OPEN_FLOWER | {"NEMO_API_URL": "http://no-such-host.invalid", "REELQ_API_KEY": "rq_hushhush"},
     [("flower", "wrong", "anyone who reaches 0.0.0.0", "FLOWER_BASIC_AUTH=NAME:PASSWORD"),
      ("service", "wrong", "", "DNS"),
      ("reelq service", "warning", "REELQ_API_KEY is set, but REELQ_API_URL is not", "")]),
    (OPEN_FLOWER | {"FLOWER_BASIC_AUTH": "me:hush", "NEMO_API_URL": "https://service.example",
                    "HTTPS_PROXY": "http://me:secret@127.0.0.1:1", "REELQ_API_URL": NOWHERE, "REELQ_API_KEY": ""},
     [("flower", "ok", "asks for a password", ""),
      ("service", "wrong", "through http://me:***@127.0.0.1:1", ""),
      ("reelq service", "wrong", "REELQ_API_KEY is not set", "")]),
    ({"NEMO_TOKEN": "nmv_usr_nobody", "REELQ_API_URL": NOWHERE, "REELQ_API_KEY": "rq_hushhush"},
     [("token", "wrong", "NEMO_TOKEN", "unset it"),
      ("reelq service", "wrong", "No reelq service answers at http://127.0.0.1:1", "")]),
    ({"NEMO_API_URL": "https://{sandbox}", "REELQ_API_URL": "http://{sandbox}", "REELQ_API_KEY": "rq_hushhush"},
     [("service", "wrong", "", "SSL_CERT_FILE"), ("reelq service", "wrong", "is not a reelq service", "")]),
]  # fmt: skip


@pytest.mark.parametrize(("environment", "expected"), FAULTS)
def test_faults_in_the_environment_are_found_with_their_mends(
    patient: Patient, sandbox: SandboxProcess, environment: dict[str, str], expected: list[tuple[str, str, str, str]]
) -> None:
    place = sandbox.url.removeprefix("http://")
    code, findings = patient.doctor(**{name: text.replace("{sandbox}", place) for name, text in environment.items()})
    assert code == 1
    for about, grade, what, mend in expected:
        (found,) = [each for each in findings if (each["about"], each["grade"]) == (about, grade)]
        assert what in found["what"]
        assert mend in found["mend"]
        assert found["mend"] or grade == "ok"
    assert "hushhush" not in json.dumps(findings)


def test_what_answers_in_place_of_the_service_or_with_another_clock_is_found(
    patient: Patient, sandbox: SandboxProcess
) -> None:
    with ScriptedService(reply(body=b"<html>Please log in</html>", Content_Type="text/html")) as page:
        assert "login page" in patient.finding("service", "wrong", NEMO_API_URL=page.url)
    early = format_datetime(datetime.now(UTC) - timedelta(minutes=59), usegmt=True)
    refusal = reply(body=b'{"code": 1001, "message": "no token"}', Content_Type="application/json", Date=early)
    with ScriptedService(refusal) as slow:
        found = patient.finding("clock", "warning", NEMO_API_URL=slow.url)
    assert re.match("this machine's clock is 59 minutes ahead of the service's - .*timedatectl", found)
    patient.calls("credits")
    sandbox.reset()  # a service that knows no token any more
    assert "register" in patient.finding("token", "warning")
    assert sandbox.ledger()["token_requests"] == {}


def test_folders_and_files_of_the_user_that_can_not_be_used_are_found(patient: Patient) -> None:
    (patient.folder / "reelq-out").write_text("a file in the way")
    profile = patient.folder / "data" / "skills" / "wedding" / "SKILL.md"
    profile.parent.mkdir(parents=True)
    profile.write_text("no front matter")
    patient.database.touch()
    assert "is not a folder" in patient.finding("output folder", "wrong")
    assert f"{profile}: line 1" in patient.finding("skills", "warning")
    assert "reelq db upgrade" in patient.finding("database", "warning")
    if Path("/proc/self").exists():  # nobody writes there, not even root
        assert "REELQ_DATA_DIR" in patient.finding("data folder", "wrong", REELQ_DATA_DIR="/proc/reelq")


def test_settings_that_can_not_be_understood_do_not_end_it(patient: Patient) -> None:
    broken = {"REELQ_POLL_INTERVAL": "often", "REELQ_MAX_IN_FLIGHT": "many", "REELQ_DATABASE_URL": "nonsense"}
    code, findings = patient.doctor(**broken)
    told = "\n".join(each["what"] for each in findings if each["grade"] == "wrong")
    assert code == 1
    assert "often" in told
    assert "many" in told
    assert re.search("^REELQ_DATABASE_URL", told, re.MULTILINE)
    assert [each for each in findings if each["about"] == "service" and each["grade"] == "ok"]


@pytest.mark.parametrize("how", ["--all", "--json"])
def test_no_secret_is_shown(patient: Patient, how: str) -> None:
    spoilt = {
        "NEMO_TOKEN": "hushhush7 with a blank",
        "REELQ_BROKER_URL": "redis://boss:hushhush3/hushhush@127.0.0.1:1/0",
        "REELQ_DATABASE_URL": "postgresql://boss@127.0.0.1:1/reelq?password=hushhush5",
    }
    for more in (SECRETS, SECRETS | spoilt):
        done = patient.calls("doctor", how, code=1, **more)
        assert "NEMO_TOKEN" in done.stdout
        assert "hushhush" not in done.stdout + done.stderr


@pytest.mark.benchmark
def test_with_nobody_answering_it_is_over_in_ten_seconds_and_says_so(patient: Patient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        code, findings = patient.doctor(
            REELQ_BROKER_URL=f"redis://{place}/0",
            REELQ_DATABASE_URL=f"postgresql://me@{place}/reelq",
            NEMO_API_URL=f"http://{place}",
        )
    assert time.monotonic() - began < 10
    assert code == 1
    assert {"broker", "database", "service"} <= {each["about"] for each in findings if each["grade"] == "wrong"}


def test_a_database_is_shown_and_migrated_by_hand_and_one_of_a_newer_reelq_is_found(patient: Patient) -> None:
    assert "none yet" in patient.calls("db").stdout
    assert list(patient.folder.rglob("*.db")) == []
    assert "created at version" in patient.calls("db", "upgrade").stdout
    assert "is already at version" in patient.calls("db", "upgrade").stdout
    with patient.edits() as store:
        downgrade(store, "base")
    assert patient.calls("db", code=1).stderr == "Run `reelq db upgrade`.\n"
    with patient.edits() as store, store.write() as session:
        session.connection().exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    assert "Update reelq" in patient.finding("database", "wrong")
    assert "newer reelq" in patient.calls("db", "upgrade", code=2).stderr


@pytest.mark.parametrize(("more", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_on_a_terminal_lines_are_as_wide_as_it_is_and_coloured_if_that_is_wished(
    patient: Patient, more: dict[str, str], coloured: bool
) -> None:
    looked = Terminal(patient, "doctor", width=60, **more)
    assert looked.ends() == 0
    assert ("\x1b[32m" in looked.written) is coloured
    lines = re.sub(r"\x1b\[[0-9;]*m", "", looked.written).splitlines()
    assert "Nothing is wrong." in lines
    assert [line for line in lines if len(line) > 60 and "/" not in line] == []  # a path stays whole


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
    assert done.stderr == ""
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
        _spend(store, NOWHERE)
    done = patient.calls("credits", NEMO_API_URL=NOWHERE, code=1)
    assert "could not be read: No connection" in done.stderr
    assert "120 available, 5 set aside" in done.stdout
    told = json.loads(patient.calls("credits", "--json", code=1, NEMO_API_URL=NOWHERE).stdout)
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
        assert "3 rows" in done.stdout
        return done.stdout.splitlines()[-1]

    unknown = "About 150 credits for 2 instructions, based on typical cost; the balance is not known yet"
    assert last_line().startswith(unknown)
    assert not (patient.folder / "data").exists()
    away = patient.calls("check", "jobs.csv", REELQ_DATABASE_URL="postgresql://me@127.0.0.1:1/reelq")
    assert unknown in away.stdout
    assert re.fullmatch(r"The database does not respond \(.*the estimate covers all rows.*\n", away.stderr)
    patient.calls("credits")
    assert last_line().endswith("based on typical cost; balance 100, 50 short.")
    assert len(sandbox.ledger()["token_requests"]) == 1
    with patient.edits() as store:
        _spend(store, NOWHERE)
    cost = "About 140 credits for 2 instructions, based on the highest cost so far; balance 120"
    assert last_line(NEMO_API_URL=NOWHERE).startswith(f"{cost} (as of {datetime.now().astimezone():%Y-%m-%d}")
