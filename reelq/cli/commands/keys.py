"""`reelq keys`: creates, lists and revokes the keys to this deployment's REST service."""

from typing import Any, Final

import click

from reelq.cli.backends.local import Deployment, open_deployment
from reelq.cli.views.text import aligned, format_time, print_json, safe_line
from reelq.errors import UnknownName
from reelq.store import api_keys
from reelq.store.db.client_models import ApiKey, Scope

_HEADINGS: Final = ("key", "owner", "scope", "prefix", "created", "last used", "")
_SHORTEST_PART: Final = 3
_LONGEST_NAME: Final = 100


@click.group("keys")
def command() -> None:
    """Create, list and revoke API keys of this deployment's REST service.

    \b
    Example: reelq keys create --owner ann
    """


@command.command("create")
@click.option("--owner", required=True, metavar="NAME", help="Owner of the key; owners see only their own batches.")
@click.option(
    "--scope",
    default=str(Scope.SUBMIT),
    show_default=True,
    type=click.Choice([*map(str, Scope)]),
    help="read: view; submit: also submit and control batches; admin: also webhooks; metrics: only Prometheus metrics.",
)
def create(owner: str, scope: str) -> None:
    """Create an API key and print it once, on standard output. Only its hash is stored.

    \b
    Example: REELQ_API_KEY=$(reelq keys create --owner ann)
    """
    if not (owner.strip() == owner and owner.isprintable() and 0 < len(owner) <= _LONGEST_NAME):
        message = f"must be 1 to {_LONGEST_NAME} printable characters, without leading or trailing spaces"
        raise click.BadParameter(message, param_hint="--owner")
    with open_deployment() as local:
        key, secret = api_keys.create(local.store, owner, Scope(scope))
    click.echo(f"Created {key.id} for {safe_line(owner)} ({key.scope}). The key is shown only once:", err=True)
    click.echo(secret)
    click.echo(f"Set it as REELQ_API_KEY. Revoke it with `reelq keys revoke {key.id}`.", err=True)


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON Lines: one object per key.")
def list_(as_json: bool) -> None:
    """List all API keys, with owner, scope, prefix and last use.

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
        click.echo("There are no API keys yet. Create one with `reelq keys create --owner NAME`.", err=True)


@command.command("revoke")
@click.argument("key", metavar="ID")
def revoke(key: str) -> None:
    """Revoke an API key. ID is its id from `reelq keys list`, or the start of it.

    \b
    Example: reelq keys revoke key_01k9z3
    Exit code: 0 if the key is revoked, 2 if there is no such key.
    """
    with open_deployment() as local:
        found = _find_key(local, key)
        revoked = api_keys.revoke(local.store, found.id)
    description = f"{found.id} of {safe_line(found.owner)}"
    click.echo(f"{description} is revoked." if revoked else f"{description} was already revoked.")


def _find_key(local: Deployment, word: str) -> ApiKey:
    known = api_keys.all_keys(local.store)
    # Match by id, not by secret: nobody should type a secret where others can see it.
    is_long_enough = len(word.removeprefix("key_")) >= _SHORTEST_PART
    begin_alike = [key for key in known if is_long_enough and key.id.startswith((word, f"key_{word}"))]
    found = [key for key in known if key.id == word] or begin_alike
    if len(found) == 1:
        return found[0]
    if found:
        raise UnknownName(f"{len(found)} keys begin with {word!r}", f"They are: {', '.join(key.id for key in found)}")
    raise UnknownName(f"No key has the id {word!r}", "Run `reelq keys list` to see all keys.")


def _cells(key: ApiKey) -> tuple[str, ...]:
    revoked = f"revoked {format_time(key.revoked_at)}" if key.revoked_at else ""
    used = format_time(key.used_at) if key.used_at else "never"
    return (key.id, safe_line(key.owner), str(key.scope), f"{key.hint}…", format_time(key.created_at), used, revoked)


def _as_data(key: ApiKey) -> dict[str, Any]:
    data = {"key": key.id, "owner": key.owner, "scope": str(key.scope), "begins": key.hint}
    times = {"created_at": key.created_at, "used_at": key.used_at, "revoked_at": key.revoked_at}
    return data | {name: at.isoformat() if at else None for name, at in times.items()}
