"""docs/troubleshooting.md has every code that a user can meet, and none that there is not."""

import ast
import re
from collections.abc import Iterator

from api.problems import _CODES, STATUSES
from reelq.cli import exits
from reelq.errors import ReelqError
from reelq.job import Cause
from tests.unit.test_docs import DOCS, ROOT

_PAGE = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
_HEADING = re.compile(r"^### `(\w+)`\n(.*?)(?=^#)", re.MULTILINE | re.DOTALL)
_PROBLEM = re.compile(r"^\| (\d{3}) \| `(\w+)` \|", re.MULTILINE)
_EXIT = re.compile(r"^\| (\d+) \|", re.MULTILINE)
_MESSAGE = re.compile(r"^\| ([A-Z][^|`]*?) \| \[`(\w+)`\]\(#(\w+)\) \|$", re.MULTILINE)
_BEYOND_THE_TREE = {"internal", "predecessor"}
"""What ends a row and is no error of ours: a fault in the code, and the end of the row before it."""


def codes(kind: type[ReelqError] = ReelqError) -> Iterator[str]:
    yield kind.code
    for child in kind.__subclasses__():
        yield from codes(child)


def problems() -> set[tuple[int, str]]:
    """Every problem that the service can answer with: those that are raised, and what errors are turned into."""
    found = {(status, kind.code) for kind, status in STATUSES.items()} | set(_CODES.items())
    for file in (ROOT / "api").rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)) if "Problem(" in text else ():
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Problem":
                status, code = (one.value if isinstance(one, ast.Constant) else None for one in node.args[:2])
                if isinstance(status, int) and isinstance(code, str):
                    found.add((status, code))
    return found


def test_every_code_and_every_cause_has_its_heading_once_and_nothing_else_has() -> None:
    headed = [name for name, _ in _HEADING.findall(_PAGE)]
    assert sorted(headed) == sorted({*codes(), *_BEYOND_THE_TREE, *map(str, Cause)})


def test_under_each_heading_stands_what_it_means_what_was_done_and_what_to_do() -> None:
    for name, told in _HEADING.findall(_PAGE):
        assert re.findall(r"^- \*\*(.*?)\*\* ", told, re.MULTILINE) == ["Means", "reelq has", "You"], name


def test_the_messages_that_are_quoted_are_ones_that_the_code_has_and_lead_to_a_heading() -> None:
    code = "".join(
        file.read_text(encoding="utf-8") for name in ("reelq", "worker") for file in (ROOT / name).rglob("*.py")
    )
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
    there = {exits.OK, exits.FAILED, exits.WRONG_CALL, exits.WAITS, exits.INTERRUPTED}
    for page in (_PAGE, (DOCS / "cli.md").read_text(encoding="utf-8")):
        _, _, table = page.partition("## Exit codes")
        assert {int(code) for code in _EXIT.findall(table.partition("\n## ")[0])} == there


def test_whatever_advice_an_error_gives_names_commands_that_its_section_names_too() -> None:
    told = dict(_HEADING.findall(_PAGE))
    for kind in _every():
        for command in re.findall(r"`reelq (retry|refine|resume)\b", kind.advice):
            section = told[kind.code]
            sections = section + "".join(told[name] for name in re.findall(r"\(#(\w+)\)", section) if name in told)
            assert f"`reelq {command}" in sections, kind.code


def _every(kind: type[ReelqError] = ReelqError) -> Iterator[type[ReelqError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _every(child)
