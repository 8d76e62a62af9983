"""The words of a job's life fit together."""

import pytest

from reelq.job import FINAL, PIPELINE, ROUTES, TRANSITIONS, Route, Stage, Status, stage_after


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


def test_every_status_says_what_may_follow_and_a_final_one_is_left_only_to_be_queued_again() -> None:
    assert set(TRANSITIONS) == set(Status)
    assert all(TRANSITIONS[status] == {Status.QUEUED} for status in FINAL)


def test_every_status_can_reach_every_final_one() -> None:
    for status in Status:
        seen = {status}
        while more := {after for before in seen for after in TRANSITIONS[before]} - seen:
            seen |= more
        assert seen >= FINAL, status
