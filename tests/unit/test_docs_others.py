"""Commands on the pages that are not reelq's own: make, celery, uvicorn, docker compose, and addresses for curl."""

import re
import shlex
from importlib import import_module
from pathlib import Path

from celery.bin.celery import celery as celery_command
from starlette.routing import Match
from tornado.options import options as flower_options
from uvicorn.main import main as uvicorn_command

from api.app import app
from tests.compose import compose
from tests.unit.test_compose import SECRETS
from tests.unit.test_docs import DOCS, PAGES, ROOT, options_of, written

_OURS = re.compile(r"(?:\$API|https?://(?:127\.0\.0\.1|localhost):8000)(/[^\s\"'?`)]*)")
_OF_FLOWER = re.compile(r"\bFLOWER_[A-Z_]+[A-Z]\b")
_IN_COMPOSE = {"exec", "run", "logs", "restart", "stop", "start", "up", "ps", "build", "kill", "pull"}
_TAKES_A_VALUE = {"--scale", "--since", "--tail", "--timeout", "--profile", "-f", "--file", "-t", "-e", "-u", "--user"}


def calls(program: str) -> list[tuple[Path, list[str]]]:
    """Every call of a program, wherever it lies, on any page."""
    begins = re.compile(rf"(?:\$ |ExecStart=)?(?:[A-Z_]+=\S* )*(?:\S*/)?{program} (.*)")
    found = ((page, begins.match(line)) for page in PAGES for line in written(page))
    return [(page, shlex.split(call[1], comments=True)) for page, call in found if call]


def options_of_flower() -> set[str]:
    """As its command line has them."""
    import_module("flower.options")
    return {f"--{spelt}" for name in flower_options for spelt in (name, name.replace("_", "-"))}


def unknown(words: list[str], known: set[str]) -> list[str]:
    """The options among these words that a program does not know."""
    return [word for word in words if word.startswith("-") and word.partition("=")[0] not in known]


def test_every_target_of_make_on_a_page_is_there() -> None:
    found = [[word for word in words if "=" not in word and not word.startswith("-")] for _, words in calls("make")]
    named = {words[0] for words in found if len(words) == 1}  # not "make it look better", which some page quotes
    assert len(named) > 5
    assert named <= set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def test_every_call_of_celery_starts_something_that_there_is_with_options_that_it_knows() -> None:
    found = [(page, words) for page, words in calls("celery") if len(words) > 2]
    assert len(found) > 3
    for page, (app_option, module, name, *rest) in found:
        assert (app_option, module) == ("-A", "worker"), (page, name)
        assert import_module(f"{module}.celery").app.main == "reelq"
        if name == "flower":
            known = options_of_flower()
        else:
            command = celery_command.commands[name]
            # `inspect` and `control` hand on whatever comes to what they name.
            known = options_of(command) | {"-d", "-t", "--timeout", "--destination", "-h", "--help"}
        assert unknown(rest, known) == [], (page, name, rest)


def test_every_call_of_uvicorn_names_the_app_and_options_that_it_knows() -> None:
    found = [(page, words) for page, words in calls("uvicorn") if words]
    assert len(found) > 1
    for page, words in found:
        assert words[0] == "api.app:app", (page, words)
        assert unknown(words, options_of(uvicorn_command)) == [], (page, words)


def test_every_service_that_docker_compose_is_told_of_is_in_its_file() -> None:
    found = [(page, words[1:]) for page, words in calls("docker") if words[:1] == ["compose"]]
    assert found
    services = compose(SECRETS)["services"]
    for page, words in found:
        plain = [
            word for at, word in enumerate(words) if not word.startswith("-") and words[at - 1] not in _TAKES_A_VALUE
        ]
        scaled = [word.partition("=")[0] for at, word in enumerate(words) if words[at - 1] == "--scale"]
        assert set(scaled) <= services.keys(), (page, words)
        if plain and plain[0] in _IN_COMPOSE:
            named = plain[1:2] if plain[0] in {"exec", "run"} else plain[1:]
            assert set(named) <= services.keys(), (page, words)


def test_every_address_of_the_rest_service_leads_to_a_route() -> None:
    for page in PAGES:
        for path in _OURS.findall(page.read_text(encoding="utf-8")):
            asked = {"type": "http", "path": path, "method": "GET", "headers": [], "root_path": "", "query_string": b""}
            assert path == "/" or any(route.matches(asked)[0] is not Match.NONE for route in app.routes), (page, path)


def test_every_variable_of_flower_on_a_page_is_one_that_flower_reads() -> None:
    known = {f"FLOWER_{name[2:].upper().replace('-', '_')}" for name in options_of_flower()}
    for page in [*PAGES, DOCS.parent / ".env.example"]:
        assert set(_OF_FLOWER.findall(page.read_text(encoding="utf-8"))) <= known, page


def test_every_module_that_the_page_on_architecture_names_is_there() -> None:
    named = re.findall(r"`([\w/]+\.py)`", (DOCS / "architecture.md").read_text(encoding="utf-8"))
    folders = [ROOT / name for name in ("", "reelq", "reelq/store", "reelq/remote", "reelq/cli", "worker", "api")]
    assert len(named) > 30
    assert [name for name in named if not any((folder / name).is_file() for folder in folders)] == []
