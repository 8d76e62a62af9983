"""No token survives redaction, whatever it stands in."""

import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelq.nemo.safe_text import REMOVED, redact

TOKENS = st.text("abcXYZ019_-.", min_size=8, max_size=40).map("nmv_usr_{}x".format)


@given(st.text(), TOKENS, st.text())
def test_a_token_is_removed_from_any_text_and_redacting_twice_changes_nothing_more(
    before: str, token: str, after: str
) -> None:
    told = redact(f"{before} {token} {after}")
    assert token not in told
    assert redact(told) == told


@given(st.text("abc019+/=", min_size=6, max_size=60), st.integers(0, 2))
def test_a_token_of_any_shape_is_removed_by_its_name(value: str, times: int) -> None:
    text: object = {"data": {"token": f"q{value}q"}, "n": 1}
    for _ in range(times + 1):
        text = json.dumps(text)
    assert f"q{value}q" not in redact(str(text))


@pytest.mark.parametrize(
    "text",
    [
        *("Authorization: Bearer s3cr3t-thing", '"claim_token": "s3cr3t-thing"', "api_key=s3cr3t-thing"),
        *(f'"{name}": "s3cr3t"' for name in ("accessToken", "access_token", "X-Api-Key", "apiKey", "claimToken")),
    ],
)
def test_a_secret_goes_in_each_form_it_comes_in_and_by_any_spelling_of_its_name(text: str) -> None:
    assert "s3cr3t" not in redact(text)


def test_words_about_tokens_are_kept() -> None:
    assert redact("token expired or invalid") == "token expired or invalid"
    assert REMOVED in redact("token: abcdef")


@pytest.mark.parametrize("secret", ["s3cr3t/of+mine", "nmv_usr_s3cr3t/of+mine"])
@pytest.mark.parametrize("form", ["{}", "x {} y", '"{}"', "token={}"])
def test_a_secret_goes_as_json_and_addresses_write_it_too(secret: str, form: str) -> None:
    for written in (secret, secret.replace("/", "\\/"), quote(secret, safe="")):
        told = redact(form.format(written), secret)
        assert "s3cr3t" not in told
        assert "mine" not in told
    assert "tail" not in redact(r'{"x": "nmv_usr_abc\/tail"}')
