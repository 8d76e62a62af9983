"""A draft in words: the timeline line, the fingerprint, and what changed."""

import copy
import json
from functools import reduce
from operator import getitem
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelq.nemo.timeline import changes, fingerprint, has_segments, timeline

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=2) | st.sampled_from(["t", "sg", "tt", "d", "m", "x"]), inner, max_size=3)
    ),
    max_leaves=5,
)
SEGMENT = st.fixed_dictionaries(
    {},
    optional={
        "d": st.integers(-5, 20_000) | JSON,
        "m": st.dictionaries(st.sampled_from(["name", "title", "volume", "updatedAt"]), JSON) | JSON,
        "fx": JSON,
        "updatedAt": JSON,
    },
)
TRACK = st.fixed_dictionaries(
    {}, optional={"tt": st.sampled_from([0, 1, 7, 9]) | JSON, "sg": st.lists(SEGMENT, max_size=3), "m": JSON}
)
DRAFT = st.fixed_dictionaries({"t": st.lists(TRACK, max_size=3)}, optional={"fps": JSON, "updated_at": JSON}) | JSON


def segment(name: str, duration: object = 10_000, **about: object) -> dict[str, Any]:
    return {"d": duration, "m": {"name": name, **about}}


def track(kind: object, *segments: object, **more: object) -> dict[str, Any]:
    return {"tt": kind, "sg": list(segments), **more}


def draft(*tracks: object, **more: object) -> dict[str, Any]:
    return {"t": list(tracks), **more}


CITY = track(0, segment("city timelapse"))
LOFI = track(1, segment("Lo-fi", volume=0.35))
TITLE = track(7, {"d": 3000, "m": {"title": "Urban Dreams"}})


@pytest.mark.parametrize("empty", [None, {}, [], 7, "draft", {"t": None}, {"t": {}}, {"t": []}, {"t": "tracks"}])
def test_what_has_no_tracks_is_an_empty_timeline(empty: object) -> None:
    assert timeline(empty) == "Timeline: empty"
    assert not has_segments(empty)


@pytest.mark.parametrize(
    ("tracks", "line"),
    [
        # As the service documents it.
        (
            [CITY, LOFI, TITLE],
            '(3 tracks): 1. Video: city timelapse (0-10s) 2. BGM: Lo-fi (0-10s, 35%) 3. Title: "Urban Dreams" (0-3s)',
        ),
        ([CITY], "(1 track): 1. Video: city timelapse (0-10s)"),
        ([track(0)], "(1 track): 1. Video: empty"),
        ([None], "(1 track): 1. Other: empty"),
        ([track(0, segment("a", 1500), segment("b", 2000))], "(1 track): 1. Video: a (0-1.5s), b (1.5-3.5s)"),
        (
            [track(0, *(segment("x", 1000) for _ in range(11)))],
            "(1 track): 1. Video: x (0-1s), x (1-2s), x (2-3s), x (3-4s), x (4-5s), x (5-6s) … and 5 more",
        ),
        ([track(0, {"d": 500})], "(1 track): 1. Video: untitled (0-0.5s)"),
        ([track(0, {"d": 500}, m={"name": "of the track"})], "(1 track): 1. Video: of the track (0-0.5s)"),
        ([track(3, segment("sparkle"))], "(1 track): 1. Other: sparkle (0-10s)"),
        ([track("0", segment("x"))], "(1 track): 1. Other: x (0-10s)"),
        ([track(0.0, segment("x"))], "(1 track): 1. Video: x (0-10s)"),
        *(([track(0, segment("x", odd))], "(1 track): 1. Video: x (0-0s)") for odd in (-5, 10**30, float("nan"), True)),
        ([track(7, segment('say "hi"\n now'))], "(1 track): 1. Title: \"say 'hi' now\" (0-10s)"),
        ([track(0, segment("\x1b[2Jx"))], "(1 track): 1. Video: [2Jx (0-10s)"),
        ([track(0, segment("x" * 80))], f"(1 track): 1. Video: {'x' * 59}… (0-10s)"),
        *(
            ([track(1, segment("m", volume=volume))], f"(1 track): 1. BGM: m (0-10s, {told}%)")
            for volume, told in {"20%": 20, "0.5": 50, 35: 35, 1: 100, 0: 0}.items()
        ),
        ([track(1, segment("m", volume="loud"))], "(1 track): 1. BGM: m (0-10s)"),
    ],
)
def test_a_timeline_and_its_odd_tracks_read_sensibly(tracks: list[object], line: str) -> None:
    assert timeline(draft(*tracks)) == f"Timeline {line}"


def test_only_a_track_with_something_on_it_can_be_exported() -> None:
    assert has_segments(draft(track(0), LOFI))
    assert not has_segments(draft(track(0), track(1, m={"name": "x"})))


def test_the_fingerprint_looks_past_key_order_number_form_and_bookkeeping() -> None:
    plain = draft(track(0, {"d": 10_000, "m": {"name": "a"}}))
    same = {"updated_at": 5, "t": [{"sg": [{"m": {"name": "a"}, "timestamp": 7, "d": 10_000.0}], "tt": 0}]}
    assert fingerprint(plain) == fingerprint(same)
    assert fingerprint(None) == fingerprint({}) == fingerprint({"updatedAt": "now"})


def test_the_fingerprint_sees_all_content() -> None:
    for other in (
        draft(track(0, segment("a", updatedAt=5))),
        draft(track(0, segment("a") | {"fx": None})),
        draft(track(0, segment("a")), fps=30),
        draft(track(0, segment("a", 10_000.5))),
        draft(track(False, segment("a"))),
        draft(track("0", segment("a"))),
    ):
        assert fingerprint(other) != fingerprint(draft(track(0, segment("a")))), other


BEACH = draft(track(0, segment("beach")), track(1, segment("Lo-fi", volume=0.35)), track(7, segment("A", 3000)))


def altered(*path: Any) -> dict[str, Any]:
    """The draft with what lies at the end of the path, where the last is the new value."""
    other: Any = copy.deepcopy(BEACH)
    *way, last, value = path
    reduce(getitem, way, other)[last] = value
    return dict(other)


@pytest.mark.parametrize(
    ("after", "told"),
    [
        (draft(*BEACH["t"], TITLE), ("title added: 'Urban Dreams' (0-3s)",)),
        (draft(BEACH["t"][0], BEACH["t"][2]), ("BGM removed: Lo-fi",)),
        (altered("t", 0, "sg", 0, "d", 6000), ("video shortened: beach (0-10s) → (0-6s)",)),
        (altered("t", 0, "sg", 0, "d", 12_500), ("video lengthened: beach (0-10s) → (0-12.5s)",)),
        (altered("t", 1, "sg", 0, "m", "volume", "20%"), ("BGM volume changed: Lo-fi 35% → 20%",)),
        (altered("t", 2, "sg", 0, "m", "name", "B"), ("title changed: 'A' → 'B'",)),
        (altered("t", 0, "sg", 0, "filter", "teal"), ("look changed: beach",)),
        (altered("t", 0, "m", {"blur": 1}), ("look changed: beach",)),
        (draft(*reversed(BEACH["t"])), ("order changed",)),
        (altered("fps", 60), ("other details changed",)),
        (altered("updated_at", 60), ()),
        (None, ("video removed: beach", "BGM removed: Lo-fi", "title removed: 'A'")),
    ],
)
def test_a_change_is_told_in_words(after: object, told: tuple[str, ...]) -> None:
    assert changes(BEACH, after) == told


def test_swapped_segments_are_a_change_of_order_and_many_changes_end_in_a_count() -> None:
    one, two = segment("a"), segment("b")
    assert changes(draft(track(0, one, two)), draft(track(0, two, one))) == ("order changed",)
    told = changes(None, draft(*(track(0, segment(f"clip {n}")) for n in range(20))))
    assert (len(told), told[-1]) == (13, "… and 8 more")


@given(DRAFT, DRAFT)
def test_words_are_told_exactly_where_fingerprints_differ(before: object, after: object) -> None:
    assert bool(changes(before, after)) == (fingerprint(before) != fingerprint(after))
    assert changes(before, copy.deepcopy(before)) == ()


@given(DRAFT)
def test_any_json_is_read_without_a_fault_on_one_line_and_its_fingerprint_survives_json(given_draft: object) -> None:
    line = timeline(given_draft)
    assert line.startswith("Timeline")
    assert len(line.splitlines()) == 1
    assert has_segments(given_draft) in {True, False}
    assert fingerprint(json.loads(json.dumps(given_draft))) == fingerprint(given_draft)


def test_nesting_without_end_is_no_fault() -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    assert timeline({"t": [track(0, {"m": deep})]}) == "Timeline (1 track): 1. Video: untitled (0-0s)"
    assert changes(None, {"t": deep}) == ("other details changed",)
