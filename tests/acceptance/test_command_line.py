"""The command as a user calls it: a process, its output, its exit code; and the keys that it makes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reelq.cli.app import COMMANDS
from tests.acceptance.running import BARE, REELQ, ROOT, User, reelq


def test_every_fault_is_shown_at_once_below_its_place_with_its_mend_and_nothing_that_a_terminal_obeys(
    tmp_path: Path,
) -> None:
    (tmp_path / "beach.mp4").write_bytes(b"x")
    rows = [",beech.mp4,Trim it,", '"two\r\nnames",beach.mp4,Trim it,', ",be\x1b[31mach.mp4,Trim it,video-model"]
    (tmp_path / "jobs.csv").write_text("\n".join(["id,file,instr\x1b[2Juction,skill", *rows, ""]))
    done = reelq("check", "jobs.csv", code=2, cwd=tmp_path)
    assert "\x1b" not in done.stdout
    assert r"jobs.csv:1: instr\x1b[2Juction: " in done.stdout
    assert re.search(r"jobs\.csv:2: file: fault: .*\n    .*beech\.mp4\n    .*beach\.mp4", done.stdout), done.stdout
    assert "    two\n    names\n" in done.stdout
    assert r"    be\x1b[31mach.mp4" in done.stdout
    *findings, total = done.stdout.splitlines()
    assert all(line.startswith(("jobs.csv:", "    ")) for line in findings), findings
    assert re.fullmatch(r"\d faults, \d warnings?: can't run\.", total)


def test_the_skills_are_listed_with_those_of_the_user(tmp_path: Path) -> None:
    (own := tmp_path / "skills" / "wedding-cut").mkdir(parents=True)
    head = "name: wedding-cut\nversion: 2.1.0\ndescription: Cuts weddings."
    (own / "SKILL.md").write_text(f"---\n{head}\n---\nBe kind.\n")
    listed = {line.split()[0] for line in reelq("skills", REELQ_DATA_DIR=str(tmp_path)).stdout.splitlines()}
    assert {"video-models", "ai-video-face-swap", "wedding-cut"} <= listed
    assert "Be kind." in reelq("skills", "wedding-cut", REELQ_DATA_DIR=str(tmp_path)).stdout


@pytest.mark.parametrize(
    ("words", "environment", "first"),
    [
        (["rum"], {}, ""),
        (["skills", "video-modls"], {}, "reelq: No skill is named 'video-modls'"),
        (["check", "jobs.example.csv", "--skill", "video-modls"], {}, "reelq: No skill is named 'video-modls'"),
        (["check", "nothing.csv"], {}, "reelq: there is no such manifest (found 'nothing.csv')"),
        (["check", "jobs.example.csv"], {"REELQ_POLL_INTERVAL": "often"}, "reelq: REELQ_POLL_INTERVAL takes a number"),
    ],
)
def test_a_wrong_call_ends_with_2_and_its_reason(words: list[str], environment: dict[str, Any], first: str) -> None:
    done = reelq(*words, code=2, **environment)
    assert done.stdout == ""
    assert done.stderr.startswith(first)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_with_an_example(command: str) -> None:
    assert "Example" in reelq(command, "--help").stdout


@pytest.mark.parametrize("encoding", ["cp1252", "gb18030"])
def test_a_value_that_no_terminal_could_show_is_told_all_the_same(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "jobs.jsonl").write_text('{"file": "\\ud800.mp4", "instruction": "Trim it", "名称é": ""}\n', "utf-8")
    env = {**BARE, "PYTHONIOENCODING": encoding}  # which Python reads as it starts
    done = subprocess.run([REELQ, "check", "jobs.jsonl"], cwd=tmp_path, env=env, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (2, b"")
    assert rb"\ud800.mp4" in done.stdout


def test_the_help_lists_every_command_and_imports_nothing_that_takes_long() -> None:
    words = [sys.executable, "-X", "importtime", REELQ, "--help"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=BARE)
    assert set(COMMANDS) <= set(done.stdout.split())
    names = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "reelq.cli" in names
    assert not names & {"celery", "httpx", "pydantic", "reelq.settings", "sqlalchemy"}


def test_output_into_a_pipe_that_closes_is_no_crash() -> None:
    reads, writes = os.pipe()
    os.close(reads)
    done = subprocess.run([REELQ, "skills"], stdout=writes, stderr=subprocess.PIPE, text=True, env=BARE, check=False)
    os.close(writes)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
@pytest.mark.parametrize("words", [["--help"], ["check", "jobs.example.csv"]])
def test_output_onto_a_full_disk_is_told_in_one_line(words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [REELQ, *words], stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=BARE, check=False
        )
    assert (done.returncode, done.stderr) == (1, "reelq: No space left on device\n")


def test_a_shell_can_complete_commands_and_options() -> None:
    asked = reelq(_REELQ_COMPLETE="bash_complete", COMP_CWORD="1", COMP_WORDS="reelq r")
    assert "plain,run" in asked.stdout.split()
    asked = reelq(_REELQ_COMPLETE="bash_complete", COMP_CWORD="2", COMP_WORDS="reelq run --lim")
    assert asked.stdout == "plain,--limit-credits\n"


def test_a_key_is_shown_alone_on_standard_output_and_listed_without_its_secret_until_it_is_revoked(
    tmp_path: Path,
) -> None:
    user = User(tmp_path)
    assert "reelq keys create" in user.calls("keys", "list").stderr
    made = user.calls("keys", "create", "--owner", "ann", "--scope", "read")
    secret = made.stdout.strip()
    assert made.stdout == f"{secret}\n"
    assert secret not in made.stderr
    listed = user.calls("keys", "list").stdout
    assert secret[:8] in listed
    assert secret not in listed
    told = json.loads(user.calls("keys", "list", "--json").stdout)
    assert (told["owner"], told["scope"], told["used_at"], told["revoked_at"]) == ("ann", "read", None, None)
    assert user.calls("keys", "revoke", told["key"][4:14]).stdout == f"{told['key']} of ann is revoked.\n"
    assert "was already revoked" in user.calls("keys", "revoke", told["key"]).stdout
    assert "revoked 2" in user.calls("keys", "list").stdout


def test_what_names_no_key_two_keys_or_no_owner_is_refused(tmp_path: Path) -> None:
    user = User(tmp_path)
    for _ in range(2):
        user.calls("keys", "create", "--owner", "ann")
    before = user.calls("keys", "list", "--json").stdout
    for words, said in (
        (["revoke", "key_nothing"], "No key has the id 'key_nothing'"),
        (["revoke", json.loads(before.splitlines()[0])["key"][:8]], "2 keys begin with"),
        (["create"], "--owner"),
        (["create", "--owner", " ann"], "without leading or trailing spaces"),
        (["create", "--owner", "a\nb"], "must be 1 to"),
        (["create", "--owner", "ann", "--scope", "all"], "'read', 'submit', 'admin'"),
    ):
        done = user.calls("keys", *words, code=2)
        assert (done.stdout, said in done.stderr) == ("", True), done.stderr
    assert user.calls("keys", "list", "--json").stdout == before
