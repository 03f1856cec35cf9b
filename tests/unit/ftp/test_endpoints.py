"""Addresses in replies to PASV and EPSV, and in PORT and EPRT."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpstorm.ftp.endpoints import EndpointError, format_eprt, format_port, parse_epsv, parse_pasv


@pytest.mark.parametrize(
    "raw",
    [
        b"227 Entering Passive Mode (10,0,0,7,39,16).",
        b"227 Entering Passive Mode 10,0,0,7,39,16",
        b"227 =10,0,0,7,39,16",
        b"227 listen socket created (10,0,0,7,39,16)",
    ],
)
def test_pasv_is_read_with_and_without_parentheses(raw: bytes) -> None:
    assert parse_pasv(raw) == ("10.0.0.7", 10_000)


@given(st.lists(st.integers(0, 255), min_size=4, max_size=4), st.integers(1, 65_535))
def test_every_pasv_address_comes_back(octets: list[int], port: int) -> None:
    numbers = ",".join(map(str, [*octets, port >> 8, port & 255]))
    assert parse_pasv(f"227 ok ({numbers})".encode()) == (".".join(map(str, octets)), port)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"227 nothing here", "no h1"),
        (b"227 (10,0,0,999,39,16)", "above 255"),
        (b"227 (10,0,0,7,0,0)", "port 0"),
        (b"227 (10,0,0,7,39)", "no h1"),
    ],
)
def test_a_useless_pasv_says_what_is_wrong(raw: bytes, says: str) -> None:
    with pytest.raises(EndpointError, match=says):
        parse_pasv(raw)


@given(st.integers(1, 65_535), st.sampled_from("|!#~"))
def test_every_epsv_port_comes_back(port: int, mark: str) -> None:
    assert parse_epsv(f"229 Entering ({mark * 3}{port}{mark})".encode()) == port


@pytest.mark.parametrize("raw", [b"229 ok", b"229 (|||0|)", b"229 (|||65536|)", b"229 (||21|)", b"229 (|||x|)"])
def test_a_useless_epsv_is_refused(raw: bytes) -> None:
    with pytest.raises(EndpointError):
        parse_epsv(raw)


def test_port_and_eprt_name_what_pasv_and_epsv_would() -> None:
    assert format_port("192.0.2.7", 40_001) == "192,0,2,7,156,65"
    assert parse_pasv(f"227 ({format_port('192.0.2.7', 40_001)})".encode()) == ("192.0.2.7", 40_001)
    assert format_eprt("192.0.2.7", 40_001) == "|1|192.0.2.7|40001|"
    assert format_eprt("2001:db8::7", 40_001) == "|2|2001:db8::7|40001|"
    with pytest.raises(ValueError, match="IPv4"):
        format_port("2001:db8::7", 1)
