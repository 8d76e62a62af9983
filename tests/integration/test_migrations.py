"""Versions of the schema: up, down, several at once, from a wheel, and the same as the models on both databases."""

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.config import main as alembic
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Inspector, create_engine, func, inspect, select, text

from reelq.errors import SettingsError
from reelq.job import Status
from reelq.store.billing import ledger
from reelq.store.db import migrations
from reelq.store.db.engine import Store
from reelq.store.db.models import Base, Job, JobEvent, Outcome, Send
from reelq.store.jobs.transitions import Position, write_progress
from tests.databases import KINDS, add_account, add_batch, add_job, add_send, empty_database, moment, shown

ROOT = Path(__file__).parents[2]
NEWEST = "0005"
CONSTRAINTS = {
    "ck_accounts_kind", "ck_accounts_parked", "ck_batches_state", "ck_job_events_stage", "ck_jobs_cause",
    "ck_jobs_route", "ck_jobs_stage", "ck_jobs_status", "ck_sends_outcome",
    "uq_accounts_service_url_credential", "uq_jobs_batch_id_row", "uq_sends_job_id_number",
}  # fmt: skip
"""What the database itself refuses: words that it does not know, and a second one of what there is one of."""

_UPGRADE = """
import sys
from sqlalchemy import make_url
from reelq.store.db import migrations
from reelq.store.db.engine import Store

store = Store(make_url(sys.argv[1]))
print("ready", migrations.SCRIPTS, flush=True)
sys.stdin.readline()
migrations.upgrade(store)
print(migrations.revision(store))
store.close()
"""

AddVersion = Callable[..., None]


@pytest.fixture
def store(own_store: Store) -> Store:
    """Each test has a schema of its own to change."""
    return own_store


@pytest.fixture(params=KINDS)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[URL]:
    """The address of a database that nobody has migrated."""
    with empty_database(request.param, tmp_path) as url:
        yield url


@pytest.fixture
def add_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AddVersion:
    """Adds a version 0006 to a copy of the history, as some later change would."""

    def add(*statements: str) -> None:
        history = tmp_path / "later" / "migrations"
        shutil.copytree(migrations.SCRIPTS, history, ignore=shutil.ignore_patterns("__pycache__"))
        head = ["import sqlalchemy as sa", "from alembic import op", 'revision = "0006"', f'down_revision = "{NEWEST}"']
        body = ["def upgrade() -> None:", *(f"    {line}" for line in statements)]
        (history / "versions" / "0006_later.py").write_text("\n".join([*head, *body]))
        monkeypatch.setattr(migrations, "SCRIPTS", history)

    return add


def _tables(store: Store) -> set[str]:
    return set(inspect(store.engine).get_table_names())


def test_up_then_down_to_nothing_then_up_again_by_the_tool_for_developers(
    empty_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = Store(empty_url)
    assert (migrations.revision(empty), migrations.is_current(empty)) == (None, False)
    migrations.upgrade(empty)
    assert (migrations.revision(empty), migrations.is_current(empty)) == (NEWEST, True)
    assert _tables(empty) == {*Base.metadata.tables, "alembic_version"}
    with moment(empty) as (session, now):
        add_send(session, now, add_job(session, now), add_account(session, now))
    migrations.downgrade(empty, "base")
    assert (migrations.revision(empty), migrations.is_current(empty)) == (None, False)
    assert _tables(empty) == {"alembic_version"}
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("REELQ_DATABASE_URL", shown(empty_url))
    for words in (["upgrade", "head"], ["check"], ["downgrade", "base"], ["upgrade", "head"]):
        alembic(words)  # the tool of developers exits where something is missing
    assert migrations.is_current(empty)
    empty.close()


def test_upgrading_what_is_current_waits_for_nobody(store: Store) -> None:
    with store.write() as session:
        add_account(session, store.now(session))
        migrations.upgrade(store)
        with store.read() as other:
            assert other.scalar(text("SELECT count(*) FROM accounts")) == 0


def test_checks_and_partial_indexes_are_those_of_the_models_too(store: Store, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    with empty_database(store.url.get_backend_name(), tmp_path / "models") as url:
        engine = create_engine(url)
        Base.metadata.create_all(engine)
        of_the_models = _described(inspect(engine))
        engine.dispose()
    migrated = _described(inspect(store.engine))
    assert migrated == of_the_models
    named = {name for table in migrated.values() for kind in ("checks", "uniques") for name in table[kind]}
    assert named >= CONSTRAINTS
    assert "queued" in migrated["jobs"]["partial"]["uq_jobs_open_key"]


def _described(inspector: Inspector) -> dict[str, dict[str, Any]]:
    """What `alembic check` does not compare."""
    where = f"{inspector.dialect.name}_where"
    return {
        table: {
            "key": inspector.get_pk_constraint(table),
            "uniques": {str(each["name"]): each["column_names"] for each in inspector.get_unique_constraints(table)},
            "checks": {str(each["name"]): each["sqltext"] for each in inspector.get_check_constraints(table)},
            "partial": {
                str(each["name"]): str(each.get("dialect_options", {}).get(where, ""))
                for each in inspector.get_indexes(table)
            },
        }
        for table in inspector.get_table_names()
        if table != "alembic_version"
    }


def test_processes_that_upgrade_one_new_database_at_once_all_succeed(empty_url: URL) -> None:
    command = [sys.executable, "-W", "error", "-c", _UPGRADE, shown(empty_url)]
    pipe = subprocess.PIPE
    started = [subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(2)]
    for process in started:
        assert process.stdout
        assert process.stdout.readline().startswith("ready")
    for process in started:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    ends = [(*process.communicate(timeout=60), process.returncode) for process in started]
    assert ends == [(f"{NEWEST}\n", "", 0)] * 2


def test_a_database_of_a_newer_program_is_refused_in_words(store: Store) -> None:
    with store.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '0999'"))
    assert not migrations.is_current(store)
    with pytest.raises(SettingsError, match=r"created by a newer reelq \(schema version 0999\)"):
        migrations.upgrade(store)
    with pytest.raises(SettingsError, match="newer"):
        migrations.downgrade(store, "base")
    assert _tables(store) >= Base.metadata.tables.keys()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ('raise OSError("the disk is full")', "the disk is full"),
        ('op.execute("DELETE FROM accounts")', "refer to missing rows of accounts|violates foreign key"),
    ],
)
def test_a_version_that_goes_wrong_is_undone(store: Store, add_version: AddVersion, fault: str, words: str) -> None:
    with store.write() as session:
        add_job(session, store.now(session))
    add_version('op.create_table("halfway", sa.Column("id", sa.Integer))', fault)
    with pytest.raises(Exception, match=words):
        migrations.upgrade(store)
    assert "halfway" not in _tables(store)
    assert migrations.revision(store) == NEWEST
    with store.read() as session:
        assert session.scalar(text("SELECT count(*) FROM accounts")) == 1


def test_a_version_that_rebuilds_a_table_keeps_the_rows_that_refer_to_it(store: Store, add_version: AddVersion) -> None:
    with moment(store) as (session, now):
        job_id = add_job(session, now)
        write_progress(session, Position.of(session.get_one(Job, job_id)), now, "came in", "It came in.")
        add_send(session, now, job_id, add_account(session, now))
    add_version(
        'with op.batch_alter_table("jobs") as jobs:',
        '    jobs.alter_column("owner", existing_type=sa.String(100), type_=sa.Text())',
    )
    migrations.upgrade(store)
    types = {column["name"]: str(column["type"]) for column in inspect(store.engine).get_columns("jobs")}
    assert types["owner"] == "TEXT"
    with store.read() as session:
        counts = [session.scalar(select(func.count()).select_from(table)) for table in (Job, JobEvent, Send)]
    assert counts == [1, 1, 1]


def test_the_newest_version_is_told_by_its_files_name_as_alembic_tells_it_by_its_contents() -> None:
    known = ScriptDirectory(migrations.SCRIPTS)
    assert migrations.newest() == known.get_current_head()
    assert not any(migrations.is_newer(each.revision) for each in known.walk_revisions())


def test_a_version_is_a_record_and_imports_nothing_that_may_change() -> None:
    for version in sorted((migrations.SCRIPTS / "versions").glob("*.py")):
        imports = [node for node in ast.walk(ast.parse(version.read_text())) if isinstance(node, ast.Import)]
        froms = [node for node in ast.walk(ast.parse(version.read_text())) if isinstance(node, ast.ImportFrom)]
        named = {alias.name for node in imports for alias in node.names} | {str(node.module) for node in froms}
        assert named <= {"sqlalchemy", "alembic"}, version


def test_a_wheel_brings_its_versions_and_finds_them_from_any_folder(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=100)
    installed = tmp_path / "installed"
    shutil.unpack_archive(next(tmp_path.glob("*.whl")), installed, "zip")
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "migrations").mkdir(parents=True)
    (elsewhere / "migrations" / "__init__.py").write_text("raise ImportError('somebody else in the current folder')")
    url = URL.create("sqlite", database=str(tmp_path / "reelq.db"))
    env = os.environ | {"PYTHONPATH": str(installed)}
    command = [sys.executable, "-W", "error", "-c", _UPGRADE, shown(url)]
    ran = subprocess.run(
        command, cwd=elsewhere, env=env, input="\n", capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.stdout.splitlines(), ran.stderr) == ([f"ready {installed / 'migrations'}", NEWEST], "")


def test_older_sends_are_told_their_batches_and_those_of_ended_rows_bear_no_more(
    store: Store,
) -> None:
    with moment(store) as (session, now):
        batch, account = add_batch(session, now), add_account(session, now)
        sends = {}
        for row, status in enumerate((Status.CANCELLED, Status.QUEUED), 1):
            job_id = add_job(session, now, batch_id=batch, account_id=account, status=status, row=row)
            sends[status] = add_send(session, now, job_id, account, cost=row)
    migrations.downgrade(store, "0002")
    with store.read() as session:
        assert session.scalar(text("SELECT sum(cost) FROM sends")) == 3
    migrations.upgrade(store)
    with store.read() as session:
        assert ledger.spent(session, batch) == 3
        found = {status: session.get_one(Send, send_id) for status, send_id in sends.items()}
    assert {status: (send.outcome, send.bears_costs) for status, send in found.items()} == {
        Status.CANCELLED: (Outcome.UNCONFIRMED, False),
        Status.QUEUED: (Outcome.OPEN, True),
    }
