"""`reelq keys`: creates, lists and revokes the keys to this deployment's REST service."""

from datetime import datetime
from typing import Any, Final

import click

from reelq.cli.backends.local import Deployment, open_deployment
from reelq.cli.views.lines import print_json
from reelq.cli.views.text import aligned, safe_line
from reelq.errors import UnknownName
from reelq.store import api_keys
from reelq.store.api_keys import Key
from reelq.store.db.client_models import Scope

_HEADINGS: Final = ("key", "owner", "may", "begins", "made", "last used", "")
_SHORTEST_PART: Final = 3
_LONGEST_NAME: Final = 100


@click.group("keys")
def command() -> None:
    """Make, list and revoke the keys of those who ask the REST service of this deployment.

    \b
    Example: reelq keys create --owner ann
    """


@command.command("create")
@click.option("--owner", required=True, metavar="NAME", help="Whose it is; each owner sees its own batches alone.")
@click.option(
    "--scope",
    default=str(Scope.SUBMIT),
    show_default=True,
    type=click.Choice([*map(str, Scope)]),
    help="read: look; submit: also hand in and act; admin: also webhooks. metrics: figures for Prometheus alone.",
)
def create(owner: str, scope: str) -> None:
    """Make a key, and show it: once, on standard output. Only its hash is kept.

    \b
    Example: REELQ_API_KEY=$(reelq keys create --owner ann)
    """
    name = _valid_owner(owner)
    with open_deployment() as local:
        key, secret = api_keys.create(local.store, name, Scope(scope))
    click.echo(f"{key.id}: {safe_line(name)} may {key.scope}. The key is shown this once:", err=True)
    click.echo(secret)
    click.echo(f"Whoever has it sets it as REELQ_API_KEY. `reelq keys revoke {key.id}` ends it.", err=True)


def _valid_owner(name: str) -> str:
    if not (name.strip() == name and name.isprintable() and 0 < len(name) <= _LONGEST_NAME):
        raise click.BadParameter(
            f"a name of at most {_LONGEST_NAME} characters, without blanks around it", param_hint="--owner"
        )
    return name


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="JSON, for programs: an object a line.")
def list_(as_json: bool) -> None:
    """List every key that was made: whose it is, what it allows, how it begins, when it was used last.

    \b
    Example: reelq keys list
    """
    with open_deployment() as local:
        found = api_keys.all_keys(local.store)
    if as_json:
        for key in found:
            print_json(_as_data(key))
    elif found:
        click.echo("\n".join(aligned([_HEADINGS, *map(_cells, found)], indent="")))
    else:
        click.echo("There is no key yet: `reelq keys create --owner NAME` makes one.", err=True)


@command.command("revoke")
@click.argument("key", metavar="ID")
def revoke(key: str) -> None:
    """Let a key open nothing from now on. ID is that of `reelq keys list`, or how it begins.

    \b
    Example: reelq keys revoke key_01k9z3
    Exit code: 0 if it opens nothing any more, 2 if there is none of that name.
    """
    with open_deployment() as local:
        found = _find_key(local, key)
        revoked = api_keys.revoke(local.store, found.id)
    description = f"{found.id} of {safe_line(found.owner)}"
    click.echo(f"{description} is revoked." if revoked else f"{description} was revoked before: nothing to do.")


def _find_key(local: Deployment, word: str) -> Key:
    known = api_keys.all_keys(local.store)
    found = [key for key in known if key.id == word] or [key for key in known if _has_id_prefix(key, word)]
    if len(found) == 1:
        return found[0]
    if found:
        raise UnknownName(f"{len(found)} keys begin with {word!r}", f"They are: {', '.join(key.id for key in found)}")
    raise UnknownName(f"No key has the id {word!r}", "`reelq keys list` shows them.")


def _has_id_prefix(key: Key, word: str) -> bool:
    """Match by id, not by secret: nobody should type a secret where others can see it."""
    return len(word.removeprefix("key_")) >= _SHORTEST_PART and key.id.startswith((word, f"key_{word}"))


def _cells(key: Key) -> tuple[str, ...]:
    revoked = f"revoked {_format_time(key.revoked_at)}" if key.revoked_at else ""
    used = _format_time(key.used_at) or "never"
    return (key.id, safe_line(key.owner), str(key.scope), f"{key.hint}…", _format_time(key.created_at), used, revoked)


def _format_time(at: datetime | None) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M}" if at else ""


def _as_data(key: Key) -> dict[str, Any]:
    data = {"key": key.id, "owner": key.owner, "scope": str(key.scope), "begins": key.hint}
    times = {"created_at": key.created_at, "used_at": key.used_at, "revoked_at": key.revoked_at}
    return data | {name: at.isoformat() if at else None for name, at in times.items()}
