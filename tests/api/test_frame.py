"""What holds for every route: keys, scopes, problems, limits, a schema that says so, and the lines of the log."""

import json
import logging
import re
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import create_engine, select, text, update

from api.app import ROUTES
from reelq.settings import Settings
from reelq.store import api_keys
from reelq.store.db.client_models import ApiKey, Scope
from reelq.store.queries import lookup
from tests.api.serving import Served, running
from tests.databases import shown
from tests.servers import HAS_POSTGRES

_ALLOWS = {
    Scope.READ: {Scope.READ},
    Scope.SUBMIT: {Scope.READ, Scope.SUBMIT},
    Scope.ADMIN: {Scope.READ, Scope.SUBMIT, Scope.ADMIN},
    Scope.METRICS: {Scope.METRICS},
}
NOBODY = "bat_00000000000000000000zz"


def test_health_and_docs_need_no_key_and_everything_else_does(served: Served) -> None:
    nobody = served.client()
    opened = {line.path for line in ROUTES if nobody.request(line.method, line.path).status_code != 401}
    assert opened == {"/healthz", "/readyz"}
    assert nobody.get("/docs").status_code == nobody.get("/openapi.json").status_code == 200
    paths = {getattr(route, "path", "") for route in served.app.routes}
    assert paths - {line.path for line in ROUTES} == {"/docs", "/openapi.json"}


@pytest.mark.parametrize("key", ["", "Bearer", "Bearer x", "Basic abc", "bearer rq_nope", "Bearer rq_é"])
def test_a_missing_or_wrong_key_is_challenged(served: Served, key: str) -> None:
    headers = [(b"Authorization", key.encode())] if key else []
    refused = served.client().get("/v1/batches", headers=headers)
    assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.json()["code"] == "unauthorized"


def test_a_key_is_kept_as_a_hash_and_opens_nothing_once_it_is_revoked(served: Served) -> None:
    made, secret = api_keys.create(served.store, "ann", Scope.ADMIN)
    assert (secret[:3], len(secret), made.hint) == ("rq_", 46, secret[:8])
    with served.store.read() as session:
        assert secret not in str(vars(session.execute(select(ApiKey)).scalar_one()))
    headers = {"Authorization": f"Bearer {secret}"}
    nobody = served.client()
    assert nobody.get("/v1/batches", headers=headers).status_code == 200
    assert api_keys.revoke(served.store, made.id)
    assert not api_keys.revoke(served.store, made.id)
    assert nobody.get("/v1/batches", headers=headers).status_code == 401


@pytest.mark.parametrize("scope", list(Scope))
def test_a_key_opens_what_its_scope_allows_and_no_more(served: Served, scope: Scope) -> None:
    holder = served.client("ann", scope)
    for line in ROUTES:
        if line.scope is not None:
            refused = holder.request(line.method, line.path).status_code == 403
            assert refused == (line.scope not in _ALLOWS[scope]), (line.method, line.path)


def test_what_changes_anything_needs_more_than_to_read() -> None:
    reading = [line for line in ROUTES if line.scope is Scope.READ]
    assert {line.method for line in reading} == {"GET", "HEAD"}
    to_webhooks = [line for line in ROUTES if line.path.startswith("/v1/webhooks") and line not in reading]
    assert {line.scope for line in to_webhooks} == {Scope.ADMIN}
    assert [line.path for line in ROUTES if line.scope is Scope.METRICS] == ["/metrics"]  # all owners' figures


def test_the_use_of_a_key_is_noted_once_a_minute(served: Served) -> None:
    made, secret = api_keys.create(served.store, "ann")
    served.store.engine.dispose()

    def used() -> Any:
        api_keys.holder_of(served.store, secret)
        return api_keys.all_keys(served.store)[0].used_at

    first = used()
    assert first is not None
    assert used() == first
    with served.store.write() as session:
        session.execute(update(ApiKey).where(ApiKey.id == made.id).values(used_at=first - timedelta(seconds=61)))
    assert used() >= first


def test_what_is_not_there_and_what_is_not_to_be_asked_are_problems_too(ann: httpx.Client) -> None:
    nothing = ann.get("/v1/nothing")
    assert (nothing.status_code, nothing.json()["code"]) == (404, "not_found")
    wrong = ann.request("OPTIONS", "/v1/batches")
    assert (wrong.status_code, wrong.json()["code"], wrong.headers["Allow"]) == (405, "method_not_allowed", "GET, POST")
    assert ann.get("/v1/batches/../../etc/passwd").status_code == 404


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "cursor=x", "dryrun=true", "cursor=bat_%00"])
def test_a_question_that_can_not_be_understood_says_where(ann: httpx.Client, query: str) -> None:
    refused = ann.get(f"/v1/batches?{query}")
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")
    assert refused.json()["invalid"][0]["where"] == f"query.{query.partition('=')[0]}"


def test_a_large_body_is_refused_whether_it_says_so_or_not(served: Served, ann: httpx.Client) -> None:
    large = b'{"url": "' + b"x" * 1_000_001 + b'"}'
    told = {"Content-Type": "application/json"}
    unknown = served.client().post("/v1/webhooks", content=large, headers=told)
    assert unknown.status_code == 401  # nothing of a body is read before the key is known
    for body in (large, iter([large[:500_000], large[500_000:]])):
        refused = ann.post("/v1/webhooks", content=body, headers=told)
        assert (refused.status_code, refused.json()["code"]) == (413, "too_large")


def test_a_fault_of_ours_is_logged_and_tells_nobody_else_more(
    ann: httpx.Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the secret inside")

    monkeypatch.setattr(lookup, "list_with_counts", broken)
    with caplog.at_level(logging.ERROR):
        failed = ann.get("/v1/batches")
    assert (failed.status_code, failed.json()["code"]) == (500, "internal_error")
    assert "secret" not in failed.text
    assert "the secret inside" in caplog.text


@pytest.mark.skipif(not HAS_POSTGRES, reason="needs PostgreSQL")
@pytest.mark.parametrize("service", ["postgresql"], indirect=True)
def test_a_database_that_is_away_is_said_to_be_and_asked_again_later(served: Served, ann: httpx.Client) -> None:
    ann.get("/v1/batches").raise_for_status()
    server = create_engine(served.store.url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    name = served.store.url.database
    with server.connect() as connection:
        connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        connection.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"))
        away = ann.get("/v1/batches")
        assert (away.status_code, away.json()["code"], away.headers["Retry-After"]) == (503, "database_away", "5")
        unready = ann.get("/readyz")
        assert (unready.status_code, unready.json()["missing"]) == (503, ["the database does not respond"])
        assert ann.get("/healthz").status_code == 200
        connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
    server.dispose()
    assert ann.get("/v1/batches").status_code == 200


def test_a_database_that_nobody_migrated_or_a_broker_that_does_not_answer_is_not_ready(served: Served) -> None:
    settings = served.service.settings.model_dump() | {"reelq_broker_url": "redis://127.0.0.1:1/0"}
    served.service.settings = Settings.model_validate(settings)
    unready = served.client().get("/readyz")
    assert (unready.status_code, unready.json()["missing"]) == (503, ["the broker does not respond"])
    with served.store.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    unready = served.client().get("/readyz")
    assert (unready.status_code, "reelq db upgrade" in unready.json()["detail"]) == (503, True)


def test_every_route_tells_every_status_of_its_problems(served: Served) -> None:
    schema = served.client().get("/openapi.json").json()
    assert len({line.handler.__name__ for line in ROUTES}) == len(ROUTES)  # by which operations are named
    for line in ROUTES:
        told = schema["paths"][line.path][line.method.lower()]
        assert {str(status) for status in line.all_problems()} <= set(told["responses"])
        assert bool(told.get("security")) == (line.scope is not None)
        assert told["description"] or told["summary"]


def test_the_address_of_the_database_is_told_to_nobody(served: Served, ann: httpx.Client) -> None:
    answers = [ann.get(path).text for path in ("/readyz", "/v1/credits", f"/v1/batches/{NOBODY}", "/openapi.json")]
    assert not any(shown(served.store.url) in answer for answer in answers)


def test_every_line_is_an_object_and_a_requests_lines_say_which_and_whose(tmp_path: Path) -> None:
    with running(tmp_path, REELQ_LOG_FORMAT="json") as service:
        client = service.client
        ours = client.get("/v1/batches").raise_for_status().headers["X-Request-ID"]
        named = client.get("/v1/skills", headers={"X-Request-ID": "from-the-proxy_1"})
        assert named.headers["X-Request-ID"] == "from-the-proxy_1"
        evil = client.get("/v1/skills", headers={"X-Request-ID": "a b\x01{}"}).headers["X-Request-ID"]
        assert re.fullmatch("[0-9a-f]{16}", evil)
        refused = client.get("/v1/batches", headers={"Authorization": "Bearer rq_wrong"})
        assert refused.status_code == 401
        service.api.process.send_signal(signal.SIGTERM)
        service.api.process.wait(60)
        text = service.api.log
    lines = [json.loads(line) for line in text.splitlines()]
    by_request = {line["request"]: line for line in lines if "request" in line}
    assert by_request.keys() == {ours, "from-the-proxy_1", evil, refused.headers["X-Request-ID"]}
    for request in (ours, "from-the-proxy_1", evil):
        assert (by_request[request]["key"], by_request[request]["owner"]) == (service.key_id, "ann")
    assert "owner" not in by_request[refused.headers["X-Request-ID"]]
    assert service.secret not in text
    assert "Started server process" in lines[0]["message"]
