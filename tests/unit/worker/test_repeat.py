"""A duty is done again and again: at its usual distance, or sooner where it asks for that and was quick itself."""

import threading

import pytest

from worker import repeat


class Over(threading.Event):
    """The end of all rounds, and their clock: time passes where a duty takes some, or where somebody waits."""

    passed = worked = 0.0

    def wait(self, timeout: float | None = None) -> bool:
        self.passed += timeout or 0
        return self.is_set()

    def monotonic(self) -> float:
        return self.passed

    def thread_time(self) -> float:
        return self.worked


def distances(
    monkeypatch: pytest.MonkeyPatch, every: float, wish: float | None, takes: float = 0, works: float = 0
) -> set[float]:
    """The seconds from the beginning of one round to that of the next."""
    over = Over()
    began: list[float] = []

    def act() -> float | None:
        began.append(over.passed)
        if len(began) == 4:
            over.set()
        over.passed += takes + works
        over.worked += works
        if len(began) == 2:
            raise RuntimeError("a round that fails")
        return wish

    monkeypatch.setattr(repeat, "time", over)
    repeat.repeat("test", act, every, over).join(60)
    assert len(began) == 4
    # The round that failed has no wish: it is followed by one at the usual distance.
    assert began[2] - began[1] == pytest.approx(max(every, takes + works + 0.02))
    return {round(began[1] - began[0], 6), round(began[3] - began[2], 6)}


@pytest.mark.parametrize(
    ("every", "wish", "takes", "works", "distance"),
    [
        pytest.param(0.3, None, 0, 0, 0.3, id="at the usual distance"),
        pytest.param(0.3, 0.1, 0, 0, 0.1, id="as soon as it asks"),
        pytest.param(0.3, 9.0, 0, 0, 0.3, id="no later than usual"),
        pytest.param(0.3, 0.0, 0, 0, 0.02, id="after a pause at least"),
        pytest.param(0.3, -1.0, 0, 0, 0.02, id="after a pause, whatever it asks"),
        pytest.param(2.0, None, 0.5, 0, 2.0, id="its own time is part of the distance"),
        pytest.param(2.0, None, 3.0, 0, 3.02, id="a round longer than the distance"),
        pytest.param(2.0, 0.0, 0.2, 0, 0.4, id="a rest as long as the round"),
        pytest.param(2.0, 0.0, 0, 0.04, 0.44, id="ten times the processor's time"),
        pytest.param(0.3, 0.0, 0, 0.1, 0.3, id="no rest longer than usual"),
    ],
)
def test_a_round_follows_the_last_one_as_soon_as_its_wish_and_its_rest_allow(
    monkeypatch: pytest.MonkeyPatch, every: float, wish: float | None, takes: float, works: float, distance: float
) -> None:
    assert distances(monkeypatch, every, wish, takes, works) == {distance}
