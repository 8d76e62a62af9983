"""Who may look at Flower."""

import pytest

from worker import flower_access


@pytest.mark.parametrize("address", ["", "127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_this_machine_alone_needs_no_password(address: str) -> None:
    assert flower_access.refusal({"FLOWER_ADDRESS": address}) == ""
    assert not flower_access.has_password({"FLOWER_ADDRESS": address})


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "10.1.2.3", "flower.example", "127.example"])
@pytest.mark.parametrize("password", ["", " ", ",", " , "])
def test_others_do(address: str, password: str) -> None:
    told = {"FLOWER_ADDRESS": address, "FLOWER_BASIC_AUTH": password}
    assert address in flower_access.refusal(told)
    assert flower_access.refusal({**told, "FLOWER_BASIC_AUTH": "ann:hush, bob:hash"}) == ""
    assert flower_access.has_password({"FLOWER_BASIC_AUTH": "ann:hush"})
    assert not flower_access.has_password(told)


@pytest.mark.parametrize("password", ["hush", "ann:", ":hush", "ann:hüsh", "ann:hu,sh"])
def test_a_password_that_nobody_could_give_is_refused_without_repeating_it(password: str) -> None:
    for address in ("127.0.0.1", "0.0.0.0"):
        refusal = flower_access.refusal({"FLOWER_ADDRESS": address, "FLOWER_BASIC_AUTH": password})
        assert "NAME:PASSWORD" in refusal
        assert password not in refusal


def test_a_guard_of_another_kind_will_do() -> None:
    for name in ("FLOWER_AUTH", "FLOWER_UNIX_SOCKET"):
        assert flower_access.refusal({"FLOWER_ADDRESS": "0.0.0.0", name: "something"}) == ""
