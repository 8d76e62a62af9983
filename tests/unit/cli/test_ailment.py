"""A run whose rows stand still because nothing can be written down says so, once, and when they go on."""

from dataclasses import dataclass
from typing import Any, cast

import pytest

from reelq.cli.seeing_through import Ailment


@dataclass
class _Store:
    words: str = ""

    def ails(self, _: float) -> str:
        return self.words


def test_it_is_told_once_and_so_is_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    store = _Store()
    ailment = Ailment(cast("Any", store))
    told = []
    for words in ("", "disk is full", "disk is full", "", ""):
        store.words = words
        ailment()
        told.append(capsys.readouterr().err)
    assert [bool(each) for each in told] == [False, True, False, True, False]
    assert "disk is full" in told[1]
    assert "again" in told[3]
