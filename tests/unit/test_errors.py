"""The tree of errors is the one that the module's docstring draws."""

import re

import pytest

from reelq import errors
from reelq.errors import Fault, ManifestError, ReelqError


def _drawn() -> list[tuple[int, str]]:
    lines = (re.match(r"([│├└─ ]*)(\w+)", line) for line in (errors.__doc__ or "").splitlines())
    return [(len(found[1]) // 4, found[2]) for found in lines if found and found[2] in vars(errors)]


def _real(kind: type[ReelqError], depth: int = 0) -> list[tuple[int, str]]:
    below = [line for child in kind.__subclasses__() for line in _real(child, depth + 1)]
    return [(depth, kind.__name__), *below]


def test_the_tree_is_drawn_in_the_order_of_the_code() -> None:
    assert _drawn() == _real(ReelqError)


def every(kind: type[ReelqError] = ReelqError) -> list[type[ReelqError]]:
    return [kind, *(each for child in kind.__subclasses__() for each in every(child))]


def test_every_code_is_the_name_in_snake_case_and_belongs_to_one_error() -> None:
    codes = [kind.code for kind in every()]
    assert len(codes) == len(set(codes))
    assert errors.StreamCut.code == "stream_cut"
    assert errors.ReelqError.code == "reelq_error"


@pytest.mark.parametrize("kind", every(errors.RemoteError))
def test_a_remote_error_says_what_happened_even_when_nobody_gave_it_words(kind: type[errors.RemoteError]) -> None:
    assert len(str(kind())) > 10
    assert not str(kind()).endswith(".")
    assert len(kind("no", raw="x" * 10_000_000).raw) == 2000


def test_a_manifest_error_names_its_first_fault_and_counts_the_rest() -> None:
    faults = [Fault(2, "file", "not there", "beach.mp4", "Did you mean beech.mp4?"), Fault(3, "", "empty")]
    assert str(ManifestError(faults)) == (
        "line 2, file: not there (found 'beach.mp4'). Did you mean beech.mp4? (and 1 more)"
    )
