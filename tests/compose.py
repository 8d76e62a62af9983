"""docker-compose.yml, the Dockerfile and .env.example as tests read them: variables filled in, lines taken apart."""

import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[1]
COMPOSE: Final = ROOT / "docker-compose.yml"
DOCKERFILE: Final = ROOT / "Dockerfile"
EXAMPLE: Final = ROOT / ".env.example"

_VARIABLE: Final = re.compile(r"\$\{(?P<name>\w+):(?P<how>[?-])(?P<words>[^}]*)\}")
_ASSIGNED: Final = re.compile(r"^(?P<comment>#?)(?P<name>[A-Z_]+)=(?P<value>.*)$", re.MULTILINE)


class Refused(Exception):
    """Compose would not begin: a variable that has to be set is not."""


def compose(environment: Mapping[str, str]) -> dict[str, Any]:
    """The file with the variables of this environment in it. An empty one counts as unset, as `:?` and `:-` have it."""

    def fill(found: re.Match[str]) -> str:
        if value := environment.get(found["name"]):
            return value
        if found["how"] == "?":
            raise Refused(f"{found['name']}: {found['words']}")
        return found["words"]

    return dict(_walk(_document(), lambda text: _VARIABLE.sub(fill, text)))


def variables() -> dict[str, str | None]:
    """Every variable that the file names, with its default; None for one that has to be set."""
    found = _VARIABLE.finditer(COMPOSE.read_text(encoding="utf-8"))
    return {each["name"]: None if each["how"] == "?" else each["words"] for each in found}


def example() -> tuple[dict[str, str], dict[str, str]]:
    """What .env.example sets, and what it only shows."""
    lines = list(_ASSIGNED.finditer(EXAMPLE.read_text(encoding="utf-8")))
    done, shown = (
        {each["name"]: each["value"] for each in lines if each["comment"] == comment} for comment in ("", "#")
    )
    return done, shown


def dockerfile() -> list[tuple[str, str]]:
    """Every instruction with its words, in order."""
    joined = re.sub(r"\\\n\s*", "", DOCKERFILE.read_text(encoding="utf-8"))
    lines = (line for line in joined.splitlines() if line and not line.startswith("#"))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def copied() -> list[tuple[str, str]]:
    """What the images get from the checkout, and where it lies in them."""
    words = (rest.split() for word, rest in dockerfile() if word == "COPY" and not rest.startswith("--from"))
    return [(source, target) for *sources, target in words for source in sources]


def seconds(duration: str) -> int:
    """`75s` as a number."""
    assert duration.endswith("s")
    return int(duration.removesuffix("s"))


@cache
def _document() -> Any:
    return yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))


def _walk(node: Any, change: Callable[[str], str]) -> Any:
    if isinstance(node, dict):
        return {key: _walk(value, change) for key, value in node.items()}
    if isinstance(node, list):
        return [_walk(each, change) for each in node]
    return change(node) if isinstance(node, str) else node
