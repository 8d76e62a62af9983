"""Broken manifests, each beside what is said of it; and the page for users, which has to know every fault."""

import re
from pathlib import Path

import pytest

from reelq import skills
from reelq.manifest import checks
from reelq.manifest.checks import Checked
from reelq.manifest.columns import COLUMNS
from tests.compose import ROOT
from tests.unit.shelf import SKILLS

HERE = Path(__file__).parent / "broken_manifests"
BROKEN = sorted(path for path in HERE.iterdir() if path.is_file() and path.suffix != ".expected")
PAGE = (ROOT / "docs" / "manifest.md").read_text(encoding="utf-8")

# These need more than a small file to show them: test_manifest.py makes what they need.
SHOWN_ELSEWHERE = {"this file is over 500 MB", "this is not a regular file", "this skill's profile is broken"}


def check(path: Path) -> Checked:
    return checks.check_file(path, skills=SKILLS)


def told(checked: Checked) -> list[str]:
    return [f"fault: {fault}" for fault in checked.faults] + [f"warning: {fault}" for fault in checked.warnings]


def documented(section: str) -> list[list[str]]:
    """The cells of the table in one section of the page, without its head."""
    text = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.name)
def test_a_broken_manifest_is_told_what_is_wrong_with_it_sorted_by_line_and_row(path: Path) -> None:
    expected = path.with_name(f"{path.name}.expected").read_text(encoding="utf-8")
    checked = check(path)
    assert told(checked) == expected.splitlines()
    for findings in (checked.faults, checked.warnings):
        assert [fault.line for fault in findings] == sorted(fault.line for fault in findings)
        assert len(set(findings)) == len(findings)
    assert {row.number for row in checked.rows}.isdisjoint(fault.row for fault in checked.faults)


def test_the_page_lists_every_fault_and_every_warning_and_no_other() -> None:
    checked = [check(path) for path in BROKEN]
    faults = {fault.message for each in checked for fault in each.faults}
    warnings = {fault.message for each in checked for fault in each.warnings}
    assert {cells[0] for cells in documented("Faults")} == faults | SHOWN_ELSEWHERE
    assert {cells[0] for cells in documented("Warnings")} == warnings


def test_the_page_lists_every_column_in_order_with_its_chinese_name() -> None:
    listed = [(cells[0].strip("`"), cells[1]) for cells in documented("Columns")]
    assert listed == [*COLUMNS.items(), ("any other", "")]


def test_the_profile_on_the_page_is_a_sound_one(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "SKILL.md").write_text(example, encoding="utf-8")
    skill = skills.load([tmp_path])["product-shots"]
    assert (skill.version, skill.references, skill.clip_seconds, skill.prefers) == ("1.0", "photo", 20, ("mp4", "mov"))


def test_the_example_on_the_page_is_a_sound_manifest(tmp_path: Path) -> None:
    (example,) = re.findall(r"```csv\n(.*?)```", PAGE, re.DOTALL)
    for name in ("beach.mp4", "talk.mp4", "face.jpg", "raw.mov"):
        (tmp_path / name).write_bytes(b"anything")
    (tmp_path / "jobs.csv").write_text(example, encoding="utf-8")
    assert told(check(tmp_path / "jobs.csv")) == []
