"""docs/rest.md has every route with an example, and none that there is not."""

import re
import shlex
from collections.abc import Iterator

from api.app import ROUTES
from tests.unit.test_docs import DOCS

_PAGE = (DOCS / "rest.md").read_text(encoding="utf-8")
_CURL = re.compile(r"^curl .*$", re.MULTILINE)
_HEADING = re.compile(r"^### (.*)$", re.MULTILINE)
_IDS = {"bat_…": "{batch_id}", "job_…": "{job_id}", "hook_…": "{webhook_id}", "msg_…": "{delivery_id}"}
_BODIES = ("--json", "-F", "--data-binary")


def examples() -> Iterator[tuple[str, str]]:
    """Method and path of every call of curl on the page."""
    for line in _CURL.findall(_PAGE):
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
    for heading in _HEADING.findall(_PAGE):
        last = ""
        for name in re.findall(r"`([^`]+)`", heading):
            last = name if " " in name else f"{last.rpartition('/')[0]}/{name}"
            found.add(last)
    return found


def test_every_route_has_an_example_and_every_example_has_a_route() -> None:
    there = {(route.method, route.path) for route in ROUTES}
    shown = set(examples())
    assert shown - there == set()
    assert there - shown == set()


def test_every_heading_names_routes_and_no_route_is_without_one() -> None:
    there = {f"{route.method} {route.path}" for route in ROUTES if route.method != "HEAD"}
    assert headed() == there
