"""The pages tell what is there: commands, options and variables are compared, and every command line is parsed."""

import re
import runpy
import shlex
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from itertools import takewhile
from pathlib import Path

import click

from reelq.cli import COMMANDS
from reelq.settings import MEANINGS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
COMMAND_LINE = DOCS / "cli.md"
PAGES = [*(ROOT / name for name in ("README.md", "CHANGELOG.md", "samples/after-the-demo.txt")), *DOCS.rglob("*.md")]
_FENCED = re.compile(r"^ *```\w*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")
_HEADING = re.compile(r"^### `reelq ([a-z ]+)`$", re.MULTILINE)
_OPTIONS = re.compile(r"^\| (`-.*?) \|", re.MULTILINE)
_VARIABLE = re.compile(r"\b(?:REELQ|NEMO|SKILL)_[A-Z_]+[A-Z]\b")
_OF_THE_TESTS = {"REELQ_PROVE"}


@cache
def commands() -> dict[str, click.Command]:
    """Every command by its words."""
    top = {name: import_module(f"reelq.cli.{name}").command for name in COMMANDS}
    groups = {name: command for name, command in top.items() if isinstance(command, click.Group)}
    below = {f"{name} {word}": found for name, made in groups.items() for word, found in made.commands.items()}
    return top | below


def sections() -> dict[str, str]:
    """What docs/cli.md says below the heading of each command."""
    _, *parts = _HEADING.split(COMMAND_LINE.read_text(encoding="utf-8"))
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
    assert set(_VARIABLE.findall((DOCS / "settings.md").read_text(encoding="utf-8"))) == MEANINGS.keys()
    for page in PAGES:
        named = set(_VARIABLE.findall(page.read_text(encoding="utf-8")))
        assert named <= MEANINGS.keys() | _OF_THE_TESTS, page


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
