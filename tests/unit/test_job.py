"""The words of a job's life fit together."""

from itertools import pairwise

import pytest

from reelq.job import FINAL, PIPELINE, ROUTES, TRANSITIONS, Route, Stage, Status, stage_after


def test_the_pipeline_is_the_six_words_in_their_order() -> None:
    assert [str(stage) for stage in PIPELINE] == ["upload", "edit", "verify", "render", "poll", "download"]


def test_every_stage_is_the_word_that_names_it() -> None:
    assert all(stage.name.lower() == stage.value for stage in Stage)


@pytest.mark.parametrize("route", Route)
def test_every_route_keeps_the_order_of_the_pipeline(route: Route) -> None:
    places = [PIPELINE.index(stage) for stage in ROUTES[route]]
    assert places
    assert all(before < after for before, after in pairwise(places))


def test_every_stage_is_on_some_route() -> None:
    assert {stage for stages in ROUTES.values() for stage in stages} == set(Stage)


@pytest.mark.parametrize("route", Route)
def test_following_a_route_passes_all_its_stages_and_ends(route: Route) -> None:
    stage: Stage | None = ROUTES[route][0]
    passed = []
    while stage:
        passed.append(stage)
        stage = stage_after(route, stage)
    assert tuple(passed) == ROUTES[route]


def test_every_status_says_what_may_follow() -> None:
    assert set(TRANSITIONS) == set(Status)


def test_a_final_status_is_left_only_to_be_queued_again() -> None:
    assert all(TRANSITIONS[status] == {Status.QUEUED} for status in FINAL)


def test_every_status_that_is_not_final_can_reach_a_final_one() -> None:
    def reached(status: Status) -> set[Status]:
        seen = {status}
        while more := {after for before in seen for after in TRANSITIONS[before]} - seen:
            seen |= more
        return seen

    assert all(reached(status) >= FINAL for status in Status)
