"""`reelq keys`: made once and shown once, listed without the secret, revoked by a name that cannot be mistaken."""

import json
from pathlib import Path

from sqlalchemy import URL

from reelq.store import apikeys
from reelq.store.session import Store
from tests.acceptance.running import User


def in_use(folder: Path, secret: str) -> apikeys.Holder | None:
    """Whom the service would take its bearer for."""
    store = Store(URL.create("sqlite", database=str(folder / "data" / "reelq.db")))
    found = apikeys.holder_of(store, secret)
    store.close()
    return found


def test_a_key_is_shown_alone_on_standard_output_and_works_until_it_is_revoked(tmp_path: Path) -> None:
    user = User(tmp_path)
    assert "reelq keys create" in user.calls("keys", "list").stderr
    made = user.calls("keys", "create", "--owner", "ann", "--scope", "read")
    assert made.returncode == 0
    secret = made.stdout.strip()
    assert made.stdout == f"{secret}\n"
    assert secret not in made.stderr
    holder = in_use(tmp_path, secret)
    assert holder is not None
    assert (holder.owner, holder.scope) == ("ann", "read")

    listed = user.calls("keys", "list").stdout
    assert secret[:8] in listed
    assert secret not in listed
    told = json.loads(user.calls("keys", "list", "--json").stdout)
    assert (told["key"], told["owner"], told["scope"], told["revoked_at"]) == (holder.key_id, "ann", "read", None)
    assert told["used_at"] is not None

    revoked = user.calls("keys", "revoke", holder.key_id[4:14])
    assert (revoked.returncode, revoked.stdout) == (0, f"{holder.key_id} of ann is revoked.\n")
    assert in_use(tmp_path, secret) is None
    assert "was revoked before" in user.calls("keys", "revoke", holder.key_id).stdout
    assert "revoked 2" in user.calls("keys", "list").stdout


def test_what_names_no_key_two_keys_or_no_owner_is_refused(tmp_path: Path) -> None:
    user = User(tmp_path)
    secrets = [user.calls("keys", "create", "--owner", "ann").stdout.strip() for _ in range(2)]
    ids = [json.loads(line)["key"] for line in user.calls("keys", "list", "--json").stdout.splitlines()]
    for words, said in (
        (["revoke", "key_nothing"], "No key has the id 'key_nothing'"),
        (["revoke", ids[0][:8]], "2 keys begin with"),
        (["create"], "--owner"),
        (["create", "--owner", " ann"], "without blanks"),
        (["create", "--owner", "a\nb"], "a name of at most"),
        (["create", "--owner", "ann", "--scope", "all"], "'read', 'submit', 'admin'"),
    ):
        done = user.calls("keys", *words)
        assert (done.returncode, done.stdout, said in done.stderr) == (2, "", True), done.stderr
    assert all(in_use(tmp_path, secret) for secret in secrets)
