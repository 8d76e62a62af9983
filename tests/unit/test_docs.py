"""The pages tell what is there: options and variables are compared, and every command line is taken apart.

Commands that are not reelq's own too: make, celery, uvicorn, docker compose, and addresses for curl.
"""

import re
import runpy
import shlex
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from itertools import takewhile
from pathlib import Path

import click
from celery.bin.celery import celery as celery_command
from starlette.routing import Match
from tornado.options import options as flower_options
from uvicorn.main import main as uvicorn_command

from api.app import app
from reelq.cli.app import COMMANDS
from reelq.cli.group import load
from reelq.settings import DESCRIPTIONS
from tests.compose import ROOT, compose
from tests.unit.test_compose import SECRETS

DOCS = ROOT / "docs"
PAGES = [*(ROOT / name for name in ("README.md", "CHANGELOG.md", "samples/after-the-demo.txt")), *DOCS.rglob("*.md")]
_FENCED = re.compile(r"^ *```\w*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")
_HEADING = re.compile(r"^### `reelq ([a-z ]+)`$", re.MULTILINE)
_OPTIONS = re.compile(r"^\| (`-.*?) \|", re.MULTILINE)
_VARIABLE = re.compile(r"\b(?:REELQ|NEMO|SKILL)_[A-Z_]+[A-Z]\b")
_OF_THE_TESTS = {"REELQ_PROVE"}
_OURS = re.compile(r"(?:\$API|https?://(?:127\.0\.0\.1|localhost):8000)(/[^\s\"'?`)]*)")
_OF_FLOWER = re.compile(r"\bFLOWER_[A-Z_]+[A-Z]\b")
_IN_COMPOSE = {"exec", "run", "logs", "restart", "stop", "start", "up", "ps", "build", "kill", "pull"}
_TAKES_A_VALUE = {"--scale", "--since", "--tail", "--timeout", "--profile", "-f", "--file", "-t", "-e", "-u", "--user"}


@cache
def commands() -> dict[str, click.Command]:
    """Every command by its words."""
    top = {name: load(name) for name in COMMANDS}
    groups = {name: command for name, command in top.items() if isinstance(command, click.Group)}
    below = {f"{name} {word}": found for name, made in groups.items() for word, found in made.commands.items()}
    return top | below


def sections() -> dict[str, str]:
    """What docs/cli.md says below the heading of each command."""
    _, *parts = _HEADING.split((DOCS / "cli.md").read_text(encoding="utf-8"))
    named = zip(parts[::2], parts[1::2], strict=True)
    return {name: re.split(r"^#", text, maxsplit=1, flags=re.MULTILINE)[0] for name, text in named}


def options_of(command: click.Command) -> set[str]:
    given = (param for param in command.params if isinstance(param, click.Option))
    return {name for option in given for name in (*option.opts, *option.secondary_opts)}


def written(page: Path) -> list[str]:
    """Whatever stands in a block, between backquotes or in `$(…)`."""
    text = page.read_text(encoding="utf-8")
    lines = [line.strip() for block in _FENCED.findall(text) for line in block.splitlines()]
    lines += _INLINE.findall(_FENCED.sub("", text))
    return lines + [found for line in lines for found in re.findall(r"\$\(([^)]*)", line)]


def command_lines(page: Path) -> Iterator[list[str]]:
    """Whatever looks like a call of reelq, also in a container."""
    told = written(page)
    if page.suffix == ".txt":
        told = re.findall(r"(?:[A-Z_]+=\S+ )*\S*reelq .*", page.read_text(encoding="utf-8"))
    told += [found for line in told for found in re.findall(r"exec (?:-\w+ )*[a-z]+ (reelq [^)]*)", line)]
    for line in told:
        words = shlex.split(line, comments=True) if re.match(r"(\$ |[A-Z_]+=\S+ )*(\.venv/bin/)?reelq ", line) else []
        while words and not words[0].endswith("reelq"):
            words.pop(0)
        if len(words) > 1:
            yield list(takewhile(lambda word: word not in {">", ">>", "<", "|"}, words[1:]))


def test_each_command_and_each_of_its_options_has_its_place_and_nothing_else_has() -> None:
    told = sections()
    there = commands()
    assert told.keys() == there.keys()
    for name, command in there.items():
        documented = {
            word for cell in _OPTIONS.findall(told[name]) for word in re.findall(r"(?<![\w-])--?[a-z-]+", cell)
        }
        assert documented == options_of(command), name


def test_every_command_line_on_a_page_parses() -> None:
    there = commands()
    found = [words for page in PAGES for words in command_lines(page)]
    assert len(found) > 60
    for words in found:
        if words[0] in {"--version", "--help", "COMMAND"}:
            continue
        name = " ".join(words[:2]) if " ".join(words[:2]) in there else words[0]
        assert name in there, words
        rest = words[len(name.split()) :]
        if rest not in ([], ["--help"]):  # a sentence may only name it
            assert not isinstance(there[name], click.Group), words
            there[name].make_context(name, rest)


def test_the_page_on_settings_has_every_variable_and_the_pages_name_no_other() -> None:
    assert set(_VARIABLE.findall((DOCS / "settings.md").read_text(encoding="utf-8"))) == DESCRIPTIONS.keys()
    for page in PAGES:
        named = set(_VARIABLE.findall(page.read_text(encoding="utf-8")))
        assert named <= DESCRIPTIONS.keys() | _OF_THE_TESTS, page


def anchors(page: Path) -> set[str]:
    """What a page's headings are called in links, as GitHub makes it."""
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_links_on_a_page_lead_somewhere_and_so_do_the_names_of_pages_in_alert_rules_and_containers() -> None:
    deployed = [path for path in (ROOT / "deploy").rglob("*") if path.suffix in {".yml", ".json"}]
    deployed += [ROOT / name for name in ("docker-compose.yml", "Dockerfile", ".env.example")]
    found = [
        (where, page, *link)
        for pages, pattern, folder in (
            (PAGES, r"\]\(([^)#:]*)(?:#([^)]*))?\)", None),
            (deployed, r"\bdocs/([\w-]+\.md)(?:#([\w-]+))?", DOCS),
        )
        for where in pages
        for link in re.findall(pattern, where.read_text(encoding="utf-8"))
        for page in [(folder or where.parent) / link[0] if link[0] else where]
    ]
    assert sum(where in deployed for where, *_ in found) > 10
    for where, page, _, anchor in found:
        assert page.exists(), (where, page)
        assert not anchor or anchor in anchors(page), (where, page, anchor)


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen, left = set[Path](), [ROOT / "README.md"]
    while left:
        page = left.pop().resolve()
        page = page / "README.md" if page.is_dir() else page
        if page.suffix != ".md" or page in seen:
            continue
        seen.add(page)
        left += [page.parent / target for target in re.findall(r"\]\(([^)#:]+)", page.read_text(encoding="utf-8"))]
    assert {page for page in PAGES if page.suffix == ".md"} <= seen


def test_the_generated_pages_are_what_the_code_says() -> None:
    made = runpy.run_path(str(DOCS / "generate.py"))
    assert made["STATES"].read_text(encoding="utf-8") == made["states_page"](), "run `make docs`"
    assert made["SETTINGS"].read_text(encoding="utf-8") == made["settings_page"](), "run `make docs`"


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
    folders = [
        ROOT / name
        for name in ("", "reelq", "reelq/store", "reelq/store/submission", "reelq/nemo", "reelq/manifest", "worker")
    ]
    assert len(named) > 30
    assert [name for name in named if not any((folder / name).is_file() for folder in folders)] == []
