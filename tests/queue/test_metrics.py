"""What a deployment tells of itself, asked for real: metrics and logs of workers, and whether what reads them fits.

One deployment for all of it: a worker that is killed with rows in its hands, and another that goes on.
"""

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from api.deps import Service
from reelq.job import Cause, Stage, Status
from reelq.store.db.client_models import Scope
from tests.api.serving import serving
from tests.queue.farm import CLIP, KINDS, ROOT, farm, until
from tests.servers import free_port
from worker.outcomes import StageResult

pytestmark = pytest.mark.skipif("redis" not in KINDS, reason="needs Redis and PostgreSQL")

_ROWS: Final = 3
"""That a killed worker had in its hands, and as many afterwards."""
_FAULTS: Final = {"agent_error": {"count": 1}, "rate_limited": {"count": 2}, "result_missing": {"count": 6}}
"""Met by the second worker."""
_WELL: Final = 2 * _ROWS - 1
_TOKEN_SHAPED: Final = re.compile(r"nmv_[a-z]+_\w+")


Samples = dict[tuple[str, tuple[str, ...]], float]
"""By name and the values of labels."""


def asked_at(port: int) -> str:
    """What a worker answers to one who asks it as Prometheus does."""
    return httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).raise_for_status().text


def samples(text: str) -> Samples:
    """The same, taken apart."""
    found = (one for family in text_string_to_metric_families(text) for one in family.samples)
    return {(one.name, tuple(one.labels.values())): one.value for one in found}


@dataclass
class Told:
    """What was there to be read when all rows had ended."""

    worker: Samples
    labels: dict[str, set[str]]
    """Of every metric that worker or REST service tell: what it is labelled with."""
    log: list[str]
    ends: "Counter[str]"
    jobs: dict[str, str]
    """Every job, with its batch."""

    def sum(self, name: str, *words: str) -> float:
        """Of all samples of this name that have these values among their labels."""
        return sum(value for (one, at), value in self.worker.items() if one == name and {*words} <= {*at})


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    folder = tmp_path_factory.mktemp("telling")
    shutil.copy(CLIP, folder / "beach.mp4")
    port = free_port()
    settings: dict[str, Any] = {
        "reelq_log_format": "json",
        "reelq_lease_seconds": 60.0,
        "reelq_metrics_address": str(port),
    }
    with farm("redis", folder, faults={"edit_seconds": 1.5}, **settings) as made:
        batches = [made.submit([f"beach.mp4,Scene {number}" for number in range(_ROWS)], name="first")]
        first = made.start_worker()
        # A decision to send is not enough: killed before it is carried out, it leaves a row in doubt.
        until(lambda: len(made.heard()) == _ROWS, "all instructions at the service")
        first.kill()
        first.wait()
        made.lapse_leases()
        made.sandbox.faults(**_FAULTS)
        second = made.start_worker()
        batches.append(made.submit([f"beach.mp4,Take {number}" for number in range(_ROWS)], name="second"))
        ends = made.ended(batches[0]) + made.ended(batches[1])
        answer = asked_at(port)
        with serving(Service(made.settings, made.store)) as served:
            deployment = served.client("prometheus", Scope.METRICS).get("/metrics").raise_for_status().text
        assert made.redis
        made.redis.stop()
        until(
            lambda: re.search(r'^reelq_away_total{what="broker"} [1-9]', asked_at(port), re.MULTILINE), "its loss told"
        )
        second.terminate()
        second.wait(60)
        yield Told(
            samples(answer),
            _labels(answer + deployment),
            (folder / "worker1.log").read_text().splitlines(),
            ends,
            {job.id: batch for batch in batches for job in made.jobs(batch)},
        )


def _labels(text: str) -> dict[str, set[str]]:
    """Names as they are asked for, from families that have no sample yet too."""
    found: dict[str, set[str]] = {}
    for name, kind in re.findall(r"^# TYPE (\S+) (\w+)$", text, re.MULTILINE):
        for ending in ("_bucket", "_sum", "_count") if kind == "histogram" else ("",):
            found.setdefault(f"{name}{ending}", set())
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            found.setdefault(one.name, set()).update(one.labels)
    return found


def test_a_worker_counts_what_it_did(told: Told) -> None:
    assert told.ends == {"succeeded": _WELL, "agent_failed": 1}
    assert told.sum("reelq_jobs_ended_total", "succeeded") == _WELL
    assert told.sum("reelq_jobs_ended_total", "failed", "agent_failed") == 1
    for stage in ("render", "download"):
        assert told.sum("reelq_stage_seconds_count", stage, "done") == _WELL
        assert told.sum("reelq_messages_total", stage, "performed") >= _WELL
    assert told.sum("reelq_stage_seconds_count", "verify", "failed") == 1
    assert told.worker["reelq_jobs_in_hand", ()] == 0
    assert told.worker["reelq_slots", ()] == 16
    # The agent works for a second and a half at each edit; for what was sent before the kill it is not asked again.
    assert told.sum("reelq_stage_seconds_count", "edit", "done") == 2 * _ROWS
    assert told.sum("reelq_stage_seconds_bucket", "edit", "done", "+Inf") == 2 * _ROWS
    assert told.sum("reelq_stage_seconds_sum", "edit", "done") >= (_ROWS - 1) * 1.5


def test_a_429_and_a_passing_fault_are_counted_where_they_were_met(told: Told) -> None:
    assert told.sum("reelq_rate_limited_total") == 2
    assert told.sum("reelq_stage_seconds_count", "held_off") == 2
    causes = {at: value for (name, at), value in told.worker.items() if name == "reelq_retries_total"}
    assert told.sum("reelq_retries_total", "result_missing") >= 1
    assert sum(causes.values()) == told.sum("reelq_stage_seconds_count", "again"), causes


def test_rows_of_a_killed_worker_are_counted_as_rescued(told: Told) -> None:
    assert told.worker["reelq_leases_rescued_total", ()] == _ROWS
    assert told.worker["reelq_leases_lost_total", ()] == 0


def test_every_duty_of_the_lifeline_is_done_again_and_again(told: Told) -> None:
    rounds = {at[0]: value for (name, at), value in told.worker.items() if name.endswith("round_timestamp_seconds")}
    assert rounds.keys() - {"core"} == {  # which is for machines with two cores, and for Linux
        "leases",
        "due_work",
        "silent_workers",
        "parked_accounts",
        "costs",
        "finished_batches",
        "retention",
        "deliveries",
    }


def test_every_line_of_a_workers_log_is_an_object(told: Told) -> None:
    # The last words that Celery says past its log go to standard output.
    lines = [json.loads(line) for line in told.log if line and line != "worker: Warm shutdown (MainProcess)"]
    assert len(lines) > 20
    for line in lines:
        assert line.keys() >= {"at", "level", "logger", "process", "message"}
        if line["logger"] in {"worker.executor", "worker.db_context"}:
            assert told.jobs[line["job"]] == line["batch"]
            assert line["stage"] in list(Stage)
            assert line["run"] in {1, 2}
            assert line["worker"]
        assert not _TOKEN_SHAPED.search(json.dumps(line))


def test_a_stage_that_ends_writes_one_line_that_says_how(told: Told) -> None:
    lines = [json.loads(line) for line in told.log if line.startswith("{")]
    ended = Counter(line["stage"] for line in lines if line["message"].startswith("done in "))
    assert (ended["render"], ended["download"]) == (_WELL, _WELL)
    (failed,) = [line for line in lines if line["message"].startswith("failed in ")]
    assert (failed["stage"], failed["level"]) == ("verify", "info")
    assert not [line for line in lines if line["logger"] in {"celery.app.trace", "celery.worker.strategy"}]
    assert any("Metrics at http://127.0.0.1:" in line["message"] for line in lines)


# The files that read all this.

_DOCS: Final = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
_RULES: Final[list[dict[str, Any]]] = [
    rule
    for group in yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
_BOARD: Final = json.loads((ROOT / "deploy/grafana/reelq.json").read_text(encoding="utf-8"))
_NAME: Final = re.compile(r"\breelq_[a-z_]+\b|\bup\b")
_SELECTED: Final = re.compile(r"\b(reelq_[a-z_]+|up){([^}]*)}")
_MATCHER: Final = re.compile(r'(\w+)\s*(=~|=|!=|!~)\s*"([^"]*)"')
_GROUPED: Final = re.compile(r"\bby \(([^)]*)\)")
_OF_PROMETHEUS: Final = {"job", "instance", "le"}
_WORDS: Final[dict[str, set[str]]] = {
    "stage": {*Stage},
    "status": {*Status},
    "cause": {*Cause},
    "ending": {*StageResult},
    "job": {"reelq-api", "reelq-worker"},
    "kind": {"available", "frozen"},
    "state": {"active", "paused", "cancelled", "finished", "disabled", "pending", "failed"},
    "level": {"warning", "error", "critical"},
    "duty": {"leases", "due_work", "parked_accounts", "finished_batches", "retention", "deliveries"},
}


def _panels() -> list[dict[str, Any]]:
    return [panel for panel in _BOARD["panels"] if panel["type"] != "row"]


def _asked() -> list[tuple[str, str]]:
    """Every expression, with where it stands."""
    rules = [(rule["alert"], rule["expr"]) for rule in _RULES]
    shown = [(panel["title"], target["expr"]) for panel in _panels() for target in panel["targets"]]
    return rules + shown


def _unknown(expression: str, labels: dict[str, set[str]]) -> list[str]:
    """Whatever an expression names that nothing exposes."""
    found = [name for name in _NAME.findall(expression) if name != "up" and name not in labels]
    for name, matchers in _SELECTED.findall(expression):
        for label, _, words in _MATCHER.findall(matchers):
            there = labels.get(name, set()) | _OF_PROMETHEUS
            found += [f"{name}{{{label}}}"] if label not in there else []
            found += [word for word in words.split("|") if label in _WORDS and word not in _WORDS[label]]
    named = {label for name in _NAME.findall(expression) for label in labels.get(name, set())} | _OF_PROMETHEUS
    grouped = [label.strip() for labels_ in _GROUPED.findall(expression) for label in labels_.split(",")]
    return found + [label for label in grouped if label not in named]


def test_the_dashboard_and_the_alerts_ask_for_what_is_there(told: Told) -> None:
    labels = told.labels | {"reelq_delivery_seconds_count": {"outcome"}}  # nobody was told anything here
    assert len(_asked()) > 40
    assert {where: found for where, asked in _asked() if (found := _unknown(asked, labels))} == {}
    slips = ("sum(reelq_job)", 'reelq_jobs{state="failed"}', 'reelq_jobs{status=~"queued|runing"}', 'up{job="reelq"}')
    for wrong in (*slips, "sum by (stage, level) (reelq_jobs)"):
        assert _unknown(wrong, labels)  # slips are found


def test_the_page_tells_of_every_metric_with_its_labels_and_of_no_other(told: Told) -> None:
    documented: dict[str, set[str]] = {}
    for name, cell in re.findall(r"^\| `(reelq_\w+)` \| ([^|]*) ?\|", _DOCS, re.MULTILINE):
        documented[name] = set(re.findall(r"`(\w+)`", cell))
    there = {re.sub(r"(_seconds)_(bucket|sum|count)$", r"\1", name): name for name in told.labels}
    own = {name for name in there if not name.startswith("reelq_process_")}
    assert documented.keys() == own
    for name, labels in documented.items():
        exposed = told.labels[there[name]] - {"le"}
        assert not exposed or exposed == labels, name


def test_each_alert_is_explained_and_says_where_it_is_told_what_to_do() -> None:
    explained = set(re.findall(r"`(Reelq\w+)`", _DOCS))
    assert {rule["alert"] for rule in _RULES} == explained
    for rule in _RULES:  # that the place is there, the tests of the documentation see to
        assert re.search(r"See docs/\w+\.md#[\w-]+$", rule["annotations"]["description"]), rule["alert"]


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    assert (_BOARD["uid"], _BOARD["title"], _BOARD["schemaVersion"] >= 38) == ("reelq", "reelq", True)
    ids = [panel["id"] for panel in _BOARD["panels"]]
    assert len(set(ids)) == len(ids)
    assert {one["name"] for one in _BOARD["templating"]["list"]} == {"datasource", "account"}
    for panel in _panels():
        assert panel["datasource"]["uid"] == "${datasource}"
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
