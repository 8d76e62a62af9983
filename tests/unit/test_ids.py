"""Ids sort by the time of their making, are never met twice, and can be read aloud."""

import time

import pytest

from reelq.store.ids import Kind, new_id


@pytest.mark.parametrize("kind", ["bat", "job", "acc", "key", "hook", "ast"])
def test_an_id_names_its_table_and_fits_its_column(kind: Kind) -> None:
    made = new_id(kind)
    word, _, rest = made.partition("_")
    assert word == kind
    assert len(rest) == 22
    assert len(made) <= 40


def test_a_later_id_sorts_after_an_earlier_one_also_when_a_digit_of_the_time_turns_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns = [32**power + step for power in range(2, 10) for step in (-1, 0, 1, 2)]
    made = []
    for milliseconds in turns:
        monkeypatch.setattr(time, "time_ns", lambda moment=milliseconds: moment * 1_000_000)
        made.append(new_id("job"))
    assert made == sorted(made)
    assert len({len(each) for each in made}) == 1


def test_ids_of_one_millisecond_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_800_000_000_000_000_000)
    made = {new_id("job") for _ in range(2_000)}
    assert len(made) == 2_000
    assert len({each[:14] for each in made}) == 1


def test_an_id_holds_no_letter_that_can_be_misread() -> None:
    assert not set("".join(new_id("job").removeprefix("job_") for _ in range(500))) & set(
        "ilouABCDEFGHIJKLMNOPQRSTUVWXYZ"
    )
