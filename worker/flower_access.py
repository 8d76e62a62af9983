"""Access control for Flower, which shows every row: either this machine only, or anyone with the password."""

from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Final

DEFAULT_ADDRESS: Final = "127.0.0.1"
"""The address that Flower listens on by default."""
ADVICE: Final = "Set FLOWER_BASIC_AUTH=NAME:PASSWORD, or leave FLOWER_ADDRESS unset to restrict Flower to this machine"


def refusal(environment: Mapping[str, str]) -> str:
    """Return why Flower refuses to start with these environment variables, or an empty string if it starts."""
    passwords = non_empty(environment.get("FLOWER_BASIC_AUTH", "").split(","))
    other_guard = environment.get("FLOWER_AUTH") or environment.get("FLOWER_UNIX_SOCKET")
    return access_problem(address(environment), passwords, guarded_otherwise=bool(other_guard))


def address(environment: Mapping[str, str]) -> str:
    """Return the address that Flower listens on."""
    return environment.get("FLOWER_ADDRESS") or DEFAULT_ADDRESS


def has_password(environment: Mapping[str, str]) -> bool:
    """Whether Flower asks for a password or a login."""
    return bool(non_empty(environment.get("FLOWER_BASIC_AUTH", "").split(",")) or environment.get("FLOWER_AUTH"))


def non_empty(passwords: Sequence[str]) -> list[str]:
    """Strip the passwords and drop empty ones: an empty variable counts as not set."""
    return [password.strip() for password in passwords if password.strip()]


def access_problem(address: str, passwords: Sequence[str], *, guarded_otherwise: bool) -> str:
    """Return why Flower may not listen on this address with these passwords. The message does not contain them."""
    if not all(map(_is_valid, passwords)):
        return "FLOWER_BASIC_AUTH must be NAME:PASSWORD in plain ASCII; separate several with commas"
    if is_loopback(address) or passwords or guarded_otherwise:
        return ""
    return f"without a password, anyone who reaches {address} could see every row"


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach the address."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def _is_valid(password: str) -> bool:
    name, _, secret = password.partition(":")
    return bool(name and secret) and password.isascii()
