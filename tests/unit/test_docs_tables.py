"""docs/rest.md has every route, docs/troubleshooting.md every code that a user can meet, and neither has any other."""

import re
import shlex
from collections.abc import Iterator

from api.app import ROUTES
from api.errors import _CODES, STATUSES
from reelq.cli import errors
from reelq.job import Cause
from tests.compose import ROOT
from tests.unit.test_docs import DOCS
from tests.unit.test_words import every

_REST = (DOCS / "rest.md").read_text(encoding="utf-8")
_IDS = {"bat_…": "{batch_id}", "job_…": "{job_id}", "hook_…": "{webhook_id}", "msg_…": "{delivery_id}"}
_BODIES = ("--json", "-F", "--data-binary")
_PAGE = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
_HEADING = re.compile(r"^### `(\w+)`\n(.*?)(?=^#)", re.MULTILINE | re.DOTALL)
_PROBLEM = re.compile(r"^\| (\d{3}) \| `(\w+)` \|", re.MULTILINE)
_EXIT = re.compile(r"^\| (\d+) \|", re.MULTILINE)
_MESSAGE = re.compile(r"^\| ([A-Z][^|`]*?) \| \[`(\w+)`\]\(#(\w+)\) \|$", re.MULTILINE)
_LABELS = ["Meaning:", "What reelq did:", "What to do:"]
_BEYOND_THE_TREE = {"internal", "predecessor"}
"""What ends a row and is no error of ours: a fault in the code, and the end of the row before it."""


def examples() -> Iterator[tuple[str, str]]:
    """Method and path of every call of curl on the page."""
    for line in re.findall(r"^curl .*$", _REST, re.MULTILINE):
        words = shlex.split(line)
        address = next(word for word in words if word.startswith("$API"))
        path = re.sub(r"sha256:[0-9a-f]+…", "{asset_id}", address.removeprefix("$API").partition("?")[0])
        for example, name in _IDS.items():
            path = path.replace(example, name)
        yield _method(words), path


def _method(words: list[str]) -> str:
    if "-X" in words:
        return words[words.index("-X") + 1]
    return "HEAD" if "--head" in words else "POST" if any(word in _BODIES for word in words) else "GET"


def headed() -> set[str]:
    """What the headings name: a word alone stands for the path before it with another end."""
    found: set[str] = set()
    for heading in re.findall(r"^### (.*)$", _REST, re.MULTILINE):
        last = ""
        for name in re.findall(r"`([^`]+)`", heading):
            last = name if " " in name else f"{last.rpartition('/')[0]}/{name}"
            found.add(last)
    return found


def test_every_route_has_an_example_and_every_example_has_a_route() -> None:
    assert set(examples()) == {(route.method, route.path) for route in ROUTES}


def test_every_heading_names_routes_and_no_route_is_without_one() -> None:
    assert headed() == {f"{route.method} {route.path}" for route in ROUTES if route.method != "HEAD"}


def code_of(*folders: str) -> str:
    return "".join(file.read_text(encoding="utf-8") for name in folders for file in (ROOT / name).rglob("*.py"))


def problems() -> set[tuple[int, str]]:
    """Every problem that the service can answer with: those that are raised, and what errors are turned into."""
    raised = re.findall(r'\bProblem\(\s*(\d{3}),\s*"(\w+)"', code_of("api"))
    turned = {(status, kind.code) for kind, status in STATUSES.items()} | set(_CODES.items())
    return turned | {(int(status), code) for status, code in raised}


def test_every_code_and_every_cause_has_its_heading_once_and_nothing_else_has() -> None:
    headed = [name for name, _ in _HEADING.findall(_PAGE)]
    assert sorted(headed) == sorted({*(kind.code for kind in every()), *_BEYOND_THE_TREE, *map(str, Cause)})


def test_under_each_heading_stands_what_it_means_what_was_done_and_what_to_do() -> None:
    for name, told in _HEADING.findall(_PAGE):
        assert re.findall(r"^- \*\*(.*?)\*\* ", told, re.MULTILINE) == _LABELS, name


def test_the_messages_that_are_quoted_are_ones_that_the_code_has_and_lead_to_a_heading() -> None:
    code = code_of("reelq", "worker")
    quoted = _MESSAGE.findall(_PAGE)
    assert len(quoted) > 10
    for words, name, anchor in quoted:
        assert words.rstrip(":") in code, words
        assert name == anchor
        assert name in dict(_HEADING.findall(_PAGE))


def test_every_problem_over_http_stands_in_its_table_and_no_other_does() -> None:
    _, _, table = _PAGE.partition("## Problems over HTTP")
    told = [(int(status), code) for status, code in _PROBLEM.findall(table.partition("\n## ")[0])]
    assert len(told) == len(set(told))
    # A form that can't be read is told by the status of what is wrong with it.
    assert set(told) == problems() | {(400, "bad_form")}


def test_every_exit_code_stands_in_its_table_and_no_other_does() -> None:
    there = {errors.OK, errors.FAILED, errors.USAGE_ERROR, errors.WAITING, errors.INTERRUPTED}
    for page in (_PAGE, (DOCS / "cli.md").read_text(encoding="utf-8")):
        _, _, table = page.partition("## Exit codes")
        assert {int(code) for code in _EXIT.findall(table.partition("\n## ")[0])} == there


def test_whatever_advice_an_error_gives_names_commands_that_its_section_names_too() -> None:
    told = dict(_HEADING.findall(_PAGE))
    for kind in every():
        for command in re.findall(r"`reelq (retry|refine|resume)\b", kind.advice):
            section = told[kind.code]
            sections = section + "".join(told[name] for name in re.findall(r"\(#(\w+)\)", section) if name in told)
            assert f"`reelq {command}" in sections, kind.code
