"""Who may look at Flower: this machine alone, or whoever knows the password. It shows every row."""

from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Final

HERE: Final = "127.0.0.1"
"""Where Flower listens if nothing is said."""
MEND: Final = (
    "Set FLOWER_BASIC_AUTH=NAME:PASSWORD, or leave FLOWER_ADDRESS unset: then this machine alone can look at Flower"
)


def refusal(environment: Mapping[str, str]) -> str:
    """Why Flower does not start in this environment; empty where it does."""
    passwords = named(environment.get("FLOWER_BASIC_AUTH", "").split(","))
    otherwise = environment.get("FLOWER_AUTH") or environment.get("FLOWER_UNIX_SOCKET")
    return fault(address(environment), passwords, guarded_otherwise=bool(otherwise))


def address(environment: Mapping[str, str]) -> str:
    """Where it listens."""
    return environment.get("FLOWER_ADDRESS") or HERE


def has_password(environment: Mapping[str, str]) -> bool:
    """Whether it asks its visitors who they are."""
    return bool(named(environment.get("FLOWER_BASIC_AUTH", "").split(",")) or environment.get("FLOWER_AUTH"))


def named(passwords: Sequence[str]) -> list[str]:
    """Without empty ones: a variable that holds nothing is not set."""
    return [each.strip() for each in passwords if each.strip()]


def fault(address: str, passwords: Sequence[str], *, guarded_otherwise: bool) -> str:
    """Why it may not listen at this address with these passwords; the words do not repeat them."""
    if not all(map(_is_fit, passwords)):
        return "FLOWER_BASIC_AUTH has to be NAME:PASSWORD, in plain ASCII; commas separate several"
    if is_here(address) or passwords or guarded_otherwise:
        return ""
    return f"without a password, whoever reaches {address} would see every row"


def is_here(address: str) -> bool:
    """Whether nobody but this machine reaches that address."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def _is_fit(password: str) -> bool:
    name, _, word = password.partition(":")
    return bool(name and word) and password.isascii()
