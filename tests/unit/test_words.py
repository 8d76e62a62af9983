"""The words that all of it shares: its errors, those of a job's life, and the service's, which stay behind its door."""

import ast
import re
from typing import Any

import pytest

from reelq import errors
from reelq.errors import Fault, ManifestError, ReelqError
from reelq.job import FINAL, PIPELINE, ROUTES, TRANSITIONS, Route, Stage, Status, stage_after
from tests.compose import ROOT

THEIRS = {
    "reelq/nemo/timeline.py": {"sg", "tt"},
    "reelq/nemo/wire.py": {"sessionId", "completed", "outputUrl"},
    "reelq/nemo/stream.py": {"functionCall", "errorCode"},
}


def every(kind: type[ReelqError] = ReelqError) -> list[type[ReelqError]]:
    return [kind, *(each for child in kind.__subclasses__() for each in every(child))]


def test_the_tree_of_errors_is_drawn_in_the_order_of_the_code() -> None:
    lines = (re.match(r"([│├└─ ]*)(\w+)", line) for line in (errors.__doc__ or "").splitlines())
    drawn = [(len(found[1]) // 4, found[2]) for found in lines if found and found[2] in vars(errors)]
    root = len(ReelqError.__mro__)
    assert drawn == [(len(kind.__mro__) - root, kind.__name__) for kind in every()]


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


def test_the_pipeline_is_the_six_words_in_their_order() -> None:
    assert [str(stage) for stage in PIPELINE] == ["upload", "edit", "verify", "render", "poll", "download"]
    assert all(stage.name.lower() == stage.value for stage in Stage)
    assert {stage for stages in ROUTES.values() for stage in stages} == set(Stage)


@pytest.mark.parametrize("route", Route)
def test_following_a_route_passes_all_its_stages_in_the_order_of_the_pipeline_and_ends(route: Route) -> None:
    stage: Stage | None = ROUTES[route][0]
    passed = []
    while stage:
        passed.append(stage)
        stage = stage_after(route, stage)
    assert tuple(passed) == ROUTES[route]
    assert passed == sorted(set(passed), key=PIPELINE.index)


def test_every_status_says_what_may_follow_and_reaches_every_final_one_which_is_left_only_to_be_queued_again() -> None:
    assert set(TRANSITIONS) == set(Status)
    assert all(TRANSITIONS[status] == {Status.QUEUED} for status in FINAL)
    for status in Status:
        seen = {status}
        while more := {after for before in seen for after in TRANSITIONS[before]} - seen:
            seen |= more
        assert seen >= FINAL, status


def test_a_word_of_the_service_occurs_in_one_module() -> None:
    words = set().union(*THEIRS.values())
    quoted = re.compile(rf"['\"]({'|'.join(words)})['\"]")  # whatever else holds such a string need not be parsed
    said: dict[str, set[Any]] = {}
    for path in (path for folder in ("reelq", "worker", "api") for path in (ROOT / folder).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        nodes = ast.walk(ast.parse(text)) if quoted.search(text) else ()
        if found := {node.value for node in nodes if isinstance(node, ast.Constant)} & words:
            said[str(path.relative_to(ROOT))] = found
    assert said == THEIRS
