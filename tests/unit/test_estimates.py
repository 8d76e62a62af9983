"""What a manifest would cost: highest cost seen, else the usual ones; and nothing for what is free."""

from pathlib import Path

import pytest

from reelq import manifest, skills
from reelq.store.estimates import estimate, estimate_rows


@pytest.mark.parametrize(
    ("sends", "generations", "highest", "cost"), [(8, 0, 0, 400), (8, 3, 0, 550), (8, 3, 70, 560), (0, 0, 70, 0)]
)
def test_a_send_costs_the_most_that_one_has_cost_yet_or_what_is_usual(
    sends: int, generations: int, highest: int, cost: int
) -> None:
    reckoned = estimate(sends, generations, highest=highest)
    assert (reckoned.sends, reckoned.credits, reckoned.seen) == (sends, cost, highest > 0)


def test_only_rows_that_go_to_the_agent_cost_anything(tmp_path: Path) -> None:
    (tmp_path / "beach.mp4").write_bytes(b"x")
    rows = ["beach.mp4,Cut the pauses", ",Make a clip of a city at night", "beach.mp4,export", ",credits", "beach.mp4,"]
    (tmp_path / "jobs.csv").write_text("\n".join(["file,instruction", *rows]))
    checked = manifest.check_file(tmp_path / "jobs.csv", skills=skills.load(), default_skill=manifest.DEFAULT_SKILL)
    assert not checked.faults
    reckoned = estimate_rows(checked.rows)
    assert (reckoned.sends, reckoned.credits) == (2, 150)
