"""The command line and a service somewhere else: real processes, and lines between them that break."""

import csv
import json
import shutil
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select

from reelq.store import api_keys
from reelq.store.db.client_models import Asset, Scope
from tests.acceptance.running import ROOT, Terminal, User, titles, until
from tests.api.serving import ApiProcess
from tests.queue.farm import KINDS, Farm, farm


class Line:
    """A relay before the service. It is cut once: after so many bytes of one way, or in place of one answer."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._door = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._door.getsockname()[1]}"
        self.left: dict[str, int] = {}
        """How many more bytes go `there` or come `back` before it is cut."""
        self.unanswered = b""
        """A request with this in it arrives, and its answer does not."""
        self.cut = threading.Event()
        self.mended = threading.Event()
        self.mended.set()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Nobody comes through any more."""
        self._door.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._door.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self.mended.wait(60)
        with client, suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 5) as service:
            service.settimeout(None)
            back = threading.Thread(target=self._hand_on, args=(service, client, "back"), daemon=True)
            back.start()
            self._hand_on(client, service, "there")
            back.join()

    def _hand_on(self, source: socket.socket, target: socket.socket, way: str) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                if self.unanswered and self.unanswered in piece:
                    self.unanswered, self.left["back"] = b"", 0
                if way in self.left and len(piece) > self.left[way]:
                    target.sendall(piece[: self.left.pop(way)])
                    self.mended.clear()
                    self.cut.set()
                    break
                if way in self.left:
                    self.left[way] -= len(piece)
                target.sendall(piece)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A deployment and its HTTP process; no worker, unless a test starts one."""

    farm: Farm
    api: ApiProcess


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Elsewhere]:
    """As real as there is one here: Redis and PostgreSQL where they are installed."""
    folder = tmp_path_factory.mktemp("place")
    with (
        farm(KINDS[-1], folder, reelq_allowed_networks="127.0.0.0/8") as deployment,
        closing(ApiProcess(deployment.environment(), folder / "api.log")) as api,
    ):
        yield Elsewhere(deployment, api)


@pytest.fixture
def there(place: Elsewhere) -> Iterator[Elsewhere]:
    """Without anybody at work."""
    place.farm.sandbox.clear_faults()
    yield place
    for process in place.farm.workers:
        process.kill()
        process.wait()


@pytest.fixture
def user(there: Elsewhere, tmp_path: Path) -> User:
    """With a key and at another machine; the service has not met this owner before."""
    (home := tmp_path / "home").mkdir()
    key = api_keys.create(there.farm.store, tmp_path.name, Scope.SUBMIT)[1]
    return User(home, None, REELQ_API_URL=there.api.url, REELQ_API_KEY=key)


@pytest.fixture
def line(there: Elsewhere, user: User) -> Iterator[Line]:
    made = Line(there.api.port)
    user.environment["REELQ_API_URL"] = made.url
    yield made
    made.close()


def uploaded(there: Elsewhere, user: User) -> list[str]:
    """What the service has kept of this owner's."""
    with there.farm.store.read() as session:
        mine = select(Asset.name).where(Asset.owner == user.folder.parent.name)
        return sorted(session.scalars(mine))


def test_a_manifest_goes_there_its_videos_come_home_and_nothing_goes_twice(
    there: Elsewhere, user: User, tmp_path: Path
) -> None:
    user.writes(["beach.mp4,Add a title that says A", "beach.mp4,Add a title that says B", "talk.mp4,show tracks"])
    first = user.calls("submit", "jobs.csv")
    assert "2 files (0.1 MB) to upload." in first.stderr
    assert "3 rows: 2 will be sent to the agent" in first.stderr
    assert "About 100 credits for 2 instructions" in first.stderr
    assert uploaded(there, user) == ["beach.mp4", "talk.mp4"]
    there.farm.start_worker()
    watched = user.calls("watch", first.stdout.strip())
    assert "3 of 3 rows done" in watched.stdout, watched.stderr

    again = user.calls("submit", "jobs.csv")
    assert "2 files: the service has them all." in again.stderr
    assert "uploading" not in again.stderr
    assert again.stdout != first.stdout
    user.calls("watch", "last")
    mine = f"select count(*) from sends where job_id in (select id from jobs where owner = '{tmp_path.name}')"
    assert there.farm.sql(mine)[0][0] == 2

    done = user.calls("results", "last", "--videos", "out", "-o", "results.csv")
    assert "2 videos downloaded to out." in done.stderr, done.stderr
    with (user.folder / "results.csv").open(encoding="utf-8-sig", newline="") as file:
        listed = [(row["status"], row["output"]) for row in csv.DictReader(file)]
    assert listed == [("succeeded", "1-beach.mp4"), ("succeeded", "2-beach.mp4"), ("succeeded", "")]
    for name in ("1-beach.mp4", "2-beach.mp4"):
        assert b"ftyp" in (user.folder / "out" / name).read_bytes()[:12]
    once_more = user.calls("results", "last", "--videos", "out")
    assert (once_more.stdout, once_more.stderr) == ("", "0 videos downloaded to out, 2 were there already.\n")
    (user.folder / "1-beach.mp4").write_bytes(b"of this user's own")
    beside = user.calls("results", "last", "--videos", ".", code=1)
    assert "already exists and is not this row's video" in beside.stderr
    assert (user.folder / "1-beach.mp4").read_bytes() == b"of this user's own"
    lines = user.calls("results", "jobs", "--format", "jsonl").stdout.splitlines()
    assert [json.loads(one)["output"] for one in lines] == [output for _, output in listed]


def test_what_is_done_to_a_batch_there_is_told_as_it_is_here(there: Elsewhere, user: User) -> None:
    assert "There are no batches yet" in user.calls("status").stderr
    user.writes(titles(3))
    batch = user.calls("submit", "jobs.csv", "--first", "2").stdout.strip()
    assert "1 waiting" in user.calls("status", batch[4:12]).stdout
    assert user.calls("pause", "last").stdout == f"Paused: 3 rows held. Continue with `reelq resume {batch}`.\n"
    assert "held by a pause" in user.calls("watch", "jobs", code=3).stdout
    for words, said in (
        (("resume", "jobs.csv"), "3 rows released."), (("cancel", f"{batch}:2"), "Row 2 is cancelled."),
        (("cancel", "last"), "2 rows cancelled; 1 row had already ended."),
        (("retry", "last:3"), "Row 3 is queued again."),
        (("retry", "last"), "0 rows queued again; 3 rows had not failed."),
    ):  # fmt: skip
        assert user.calls(*words).stdout.startswith(said)
    told = json.loads(user.calls("status", "--json").stdout)
    assert (told["batch"], told["cancelled"], told["queued"], told["state"]) == (batch, 2, 1, "active")
    there.farm.start_worker()
    ended = user.calls("watch", "last", "--json", code=1)
    assert json.loads(ended.stdout.splitlines()[-1])["succeeded"] == 1


def test_faults_are_told_before_anything_is_sent_and_those_that_the_service_sees_before_anything_runs(
    there: Elsewhere, user: User
) -> None:
    user.writes(["beech.mp4,Trim it to 5 s", "beach.mp4,Trim it to 5 s"])
    assert "jobs.csv:2: file: fault:" in user.calls("submit", "jobs.csv", code=2).stderr
    assert uploaded(there, user) == []
    user.writes(["beach.mp4,Trim it to 5 s", "http://169.254.169.254/x.mp4,Trim it to 5 s"])
    done = user.calls("submit", "jobs.csv", code=2)
    assert done.stdout == ""
    assert "jobs.csv:3: file: fault:" in done.stderr
    assert "reelq: 1 fault in the manifest; nothing was run" in done.stderr
    assert user.calls("status").stdout == ""


def test_on_a_terminal_nothing_is_handed_in_before_a_yes_and_whoever_leaves_the_view_leaves_the_work(
    there: Elsewhere, user: User
) -> None:
    user.writes(titles(1))
    for answer, queued in (("n", 0), ("y", 1)):
        asked = Terminal(user, "submit", "jobs.csv")
        until(lambda: asked.says("Continue?"), "the question")  # noqa: B023 - it is called at once
        asked.types(f"{answer}\n")
        assert asked.ends() == 0
        assert ("nothing was spent" in asked.written) is (queued == 0)
        assert len(user.calls("status", "--json").stdout.splitlines()) == queued
    watch = Terminal(user, "watch", "last")
    until(lambda: watch.says("1 not started"), "the view")
    watch.process.send_signal(signal.SIGINT)
    assert watch.ends() == 130
    assert "the batch continues" in watch.written
    assert json.loads(user.calls("status", "--json").stdout)["queued"] == 1


def test_a_watcher_outlives_the_service_and_misses_nothing(there: Elsewhere, user: User) -> None:
    user.writes(titles(3))
    batch = user.calls("submit", "jobs.csv").stdout.strip()
    there.farm.sandbox.faults(edit_seconds=2)
    with user.starts("watch", batch, "--json") as watch:
        until(lambda: f"/v1/batches/{batch}/events" in there.api.log, "somebody who listens")
        before = there.farm.sql("select coalesce(max(id), 0) from job_events")[0][0]
        there.farm.start_worker()
        first = watch.stdout.readline()
        there.api.close()
        until(lambda: there.farm.over(batch), "the end of the work")
        there.api.start()
        rest, said = watch.communicate()
    assert "retrying" in said
    assert "Traceback" not in said
    *told, end = (json.loads(one) for one in (first, *rest.splitlines()))
    happened = there.farm.sql(
        f"select job_id, what, words from job_events where batch_id = '{batch}' and id > {before}"
    )
    assert sorted((one["job"], one["event"], one["words"]) for one in told) == sorted(map(tuple, happened))
    assert end["succeeded"] == 3


def test_an_upload_that_breaks_off_is_done_again_and_a_download_goes_on_where_it_stopped(
    there: Elsewhere, user: User, line: Line
) -> None:
    shutil.copy(ROOT / "samples" / "beach.mp4", user.folder)  # one whose video is large enough to be cut
    user.writes(titles(1))
    line.left["there"] = 20_000
    with user.starts("submit", "jobs.csv") as submit:
        assert line.cut.wait(60)
        there.api.close()
        line.mended.set()
        there.api.start()
        batch, said = submit.communicate()
    assert said.count("retrying") >= 1
    assert batch.startswith("bat_")
    assert uploaded(there, user) == ["beach.mp4"]

    there.farm.start_worker()
    user.calls("watch", "last")
    line.cut.clear()
    line.left["back"] = 120_000
    with user.starts("results", "last", "--videos", "out") as results:
        assert line.cut.wait(60)
        line.mended.set()
        _, said = results.communicate()
    assert "0.1 MB already transferred" in said
    assert 'HTTP/1.1" 206' in there.api.log
    assert [path.name for path in (user.folder / "out").iterdir()] == ["1-beach.mp4"]


def test_a_lost_answer_is_asked_for_again_and_the_batch_is_made_once(there: Elsewhere, user: User, line: Line) -> None:
    user.writes(titles(2))
    user.calls("submit", "jobs.csv", "--api", there.api.url)
    user.writes(titles(2, "Cut"))
    line.unanswered = b"skill=video-models HTTP"  # which the request that only asks for the cost does not have
    with user.starts("submit", "jobs.csv") as submit:
        assert line.cut.wait(60)
        line.mended.set()
        batch, said = submit.communicate()
    assert "retrying" in said
    names = [json.loads(one)["batch"] for one in user.calls("status", "--json").stdout.splitlines()]
    assert len(names) == 2
    assert names[0] == batch.strip()
