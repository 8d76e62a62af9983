"""Going outward: every spelling of an address within is refused, and what was judged is what is connected to."""

import socket
from ipaddress import ip_address, ip_network
from typing import Any

import httpx
import pytest

from reelq import egress
from reelq.egress import EgressClient, Guard
from reelq.errors import AddressRefused

WITHIN = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.8", "192.0.2.1", "198.18.0.1", "192.88.99.1",
    "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "2001:db8::1", "3fff::1",
    "5f00::1", "2001::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe", "64:ff9b:1::7f00:1", "2002:7f00:1::", "2002:a00:1::1",
]  # fmt: skip


PUBLIC = [
    "8.8.8.8", "93.184.215.14", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "172.32.0.1", "100.128.0.1",
]  # fmt: skip


def test_an_address_within_may_not_be_reached_and_a_public_one_may() -> None:
    assert [number for number in WITHIN if egress.is_allowed(ip_address(number))] == []
    assert [number for number in PUBLIC if not egress.is_allowed(ip_address(number))] == []


def test_a_network_of_ones_own_may_be_allowed_and_no_other_with_it() -> None:
    allowed = (ip_network("10.1.0.0/16"), ip_network("fd12::/16"))
    assert all(egress.is_allowed(ip_address(one), allowed) for one in ("10.1.2.3", "fd12::7", "::ffff:10.1.2.3"))
    assert not any(egress.is_allowed(ip_address(one), allowed) for one in ("10.2.0.1", "fd13::7", "127.0.0.1"))


NO_ADDRESSES = [
    "file:///etc/passwd", "ftp://example.com/", "gopher://example.com/", "//example.com/", "example.com",
    "http:///path", "http://", "", "http://ann@example.com/", "http://ann:secret@example.com/",
    "http://example.com:0/", "http://example.com:65536/", "http://exa\nmple.com/", "http://\ud800.example/",
    "http://example.com/" + "x" * 2000,
]  # fmt: skip
SPELLINGS = [
    "http://127.0.0.1/", "http://127.1/", "http://127.0.1/", "http://2130706433/", "http://0x7f000001/",
    "http://0x7f.0x0.0x0.0x1/", "http://0177.0.0.01/", "http://017700000001/", "http://0/", "http://127.0.0.1./",
    "http://169.254.169.254/latest/meta-data/", "http://2852039166/", "http://0xa9fea9fe/", "http://0251.0376.0251.0376/",
    "http://[::1]/", "http://[::]/", "http://[0:0:0:0:0:0:0:1]/", "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/",
    "http://[64:ff9b::127.0.0.1]/", "http://[2002:7f00:1::]/", "http://[fe80::1]/", "http://[fd00:ec2::254]/",
    "http://localhost/", "http://LOCALHOST./", "http://a.localhost:8000/", "http://127。0。0。1/", "https://10.0.0.1/",
]  # fmt: skip


@pytest.mark.parametrize("url", NO_ADDRESSES + SPELLINGS)
def test_what_is_no_address_for_others_or_one_within_is_refused_however_it_is_spelt(url: str) -> None:
    with pytest.raises(AddressRefused):
        egress.check(url)


@pytest.mark.parametrize("url", [url for url in SPELLINGS if "localhost" not in url.lower()])
def test_no_connection_is_made_to_an_address_within_however_it_was_spelt(url: str) -> None:
    try:
        host = httpx.URL(url).raw_host.decode()
    except httpx.InvalidURL:
        return  # such an address gets no further than this
    with pytest.raises(AddressRefused):
        Guard(seconds=1).connect_tcp(host.rstrip("."), 80)


def test_an_address_of_everybodys_is_none_of_this() -> None:
    for host in ("example.com/hook", "example.com:8080", "8.8.8.8", "xn--bcher-kva.example"):
        egress.check(f"https://{host}")
        egress.check(f"http://{host}")


def test_a_name_that_nobody_knows_is_no_answer() -> None:
    def unknown(*_: object, **__: object) -> list[tuple[Any, ...]]:
        raise socket.gaierror("no such name")

    with pytest.raises(httpx.ConnectError, match="no such name"):
        EgressClient(resolve=unknown).post("https://hooks.example/", b"{}", {})
