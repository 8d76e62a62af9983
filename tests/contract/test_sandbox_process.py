"""The stand-in as a process: its start, its end, its haste, and how much it holds."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from sandbox.__main__ import main
from sandbox.faults import KINDS
from sandbox.service import Service, Settings
from tests.sandbox_process import NO_TLS, Caller, SandboxProcess, Start, message

STREAMS = 200
ROOT = Path(__file__).parents[2]


@contextmanager
def _begun(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A sandbox with its folder in this one and no standard input; killed in the end, so that it can not clean up."""
    command, env = [sys.executable, "-m", "sandbox", "--port=0"], os.environ | {"TMPDIR": str(folder)}
    none, pipe = subprocess.DEVNULL, subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=env, stdin=none, stdout=pipe) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT, None])
def test_a_signal_or_the_end_of_its_standard_input_ends_it_at_once_drops_open_streams_and_removes_its_folder(
    start_sandbox: Start, by: signal.Signals | None
) -> None:
    sandbox = start_sandbox(faults={"edit_seconds": 600})
    caller, process = sandbox.guest(), sandbox.process
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("not read")
    process.stdin.flush()
    assert len(list(sandbox.folder.iterdir())) == 1
    with caller.stream(caller.open_session(), 'add a title "Dawn"') as answer:
        lines = answer.iter_lines()
        next(lines)
        process.send_signal(by) if by else process.stdin.close()
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            list(lines)
    assert process.wait(60) == 0
    assert list(sandbox.folder.iterdir()) == []
    assert process.stdout.read() == ""  # one line was all that it said


def test_a_run_with_it_that_is_killed_leaves_neither_a_sandbox_nor_its_folder(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "samples", tmp_path / "samples")
    shutil.copy(ROOT / "jobs.example.csv", tmp_path)
    (temporary := tmp_path / "tmp").mkdir()
    reelq = str(Path(sys.executable).with_name("reelq"))
    command = [reelq, "run", "jobs.example.csv", "--sandbox"]
    env = os.environ | {"TMPDIR": str(temporary), "REELQ_DATA_DIR": str(tmp_path / "data")}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=tmp_path, env=env, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if "uploaded" in line)
        process.kill()
        # Ends only when all who can write have gone: the sandbox too.
        process.communicate(timeout=60)
    assert list(temporary.iterdir()) == []


def test_it_runs_on_without_a_standard_input_and_the_next_start_removes_the_folders_of_those_that_were_killed(
    tmp_path: Path,
) -> None:
    (foreign := tmp_path / "nemo-sandbox-of-another-kind").mkdir()
    with _begun(tmp_path) as process, pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    (killed,) = set(tmp_path.iterdir()) - {foreign}
    (killed / "upload.mp4").write_bytes(b"x")
    with _begun(tmp_path):
        (living,) = set(tmp_path.iterdir()) - {foreign}
        assert living != killed
        with _begun(tmp_path):
            assert {living, foreign} < set(tmp_path.iterdir())


def test_documented_waits_are_divided_by_the_speed(tmp_path: Path) -> None:
    for speed in (1, 50):
        service = Service(Settings(speed=speed), tmp_path)
        assert all(10 <= service.seconds("edit") * speed <= 30 for _ in range(20))
    assert Service(Settings(latency=False), tmp_path).seconds("edit") == 0


def test_it_holds_two_hundred_streams_and_answers_others_meanwhile(sandbox: SandboxProcess, caller: Caller) -> None:
    sandbox.top_up(STREAMS * 50)
    sandbox.faults(edit_seconds=600)
    bodies = [message(caller.open_session(), 'add a title "Dawn"') for _ in range(STREAMS)]

    async def hold() -> None:
        http = httpx.AsyncClient(
            base_url=sandbox.url, headers=caller.http.headers, trust_env=False, verify=NO_TLS,
            timeout=60, limits=httpx.Limits(max_connections=STREAMS),
        )  # fmt: skip
        async with http, AsyncExitStack() as stack:
            asked = [stack.enter_async_context(http.stream("POST", "/run_sse", json=body)) for body in bodies]
            heard = [answer.aiter_lines() for answer in await asyncio.gather(*asked)]
            assert all(["add_text" in await anext(lines) for lines in heard])
            await asyncio.to_thread(caller.balance)

    asyncio.run(hold())


def test_the_help_and_the_fault_list_name_every_fault(sandbox: SandboxProcess) -> None:
    told = CliRunner().invoke(main, ["--help"]).stdout
    known = sandbox.control.get("/sandbox/faults").json()["known"]
    assert known.keys() == KINDS.keys()
    assert all(name in told and kind["means"] in told for name, kind in known.items())


def test_faults_and_tokens_can_be_set_on_the_command_line(start_sandbox: Start) -> None:
    faults = {"rate_limited": {"count": 2, "on": ["balance", "state"]}, "tokens_expire": 0}
    caller = start_sandbox(no_latency=True, token="nmv_usr_mine=700", faults=faults).caller("nmv_usr_mine")
    assert [caller.http.get("/api/credits/balance/simple").status_code for _ in range(2)] == [429, 429]
    assert caller.balance() == {"available": 700, "frozen": 0, "total": 700}  # which no time ends


def test_a_port_in_use_is_said_once_and_with_a_way_out(sandbox: SandboxProcess) -> None:
    port = sandbox.url.rpartition(":")[2]
    refused = CliRunner().invoke(main, ["--port", port])
    assert refused.exit_code == 1
    assert refused.stderr == (
        f"Error: can't listen on 127.0.0.1:{port}: Address already in use; --port 0 takes a free port\n"
    )


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--host", "no.such.host.invalid"], 1, "Error: can't listen on no.such.host.invalid:0: "),
        (["--host", "a..b"], 1, "Error: can't listen on a..b:0: "),
        (["--keep-alive", "nan"], 2, "give a number"),
        (["--speed", "inf"], 2, "give a number"),
        (["rate_limitd=1"], 2, "no fault is named"),
        (["rate_limited=often"], 2, "rate_limited: 'often' is not a number"),
        (["rate_limited=count:2,render"], 2, "rate_limited: each part is key:value, and render is not"),
        (["rate_limited=count:"], 2, "rate_limited: count has no value"),
    ],
)
def test_a_start_that_can_not_be_is_refused_in_words(words: list[str], code: int, told: str) -> None:
    refused = CliRunner().invoke(main, ["--port", "0", *words])
    assert (refused.exit_code, told in refused.stderr) == (code, True)
