from __future__ import annotations

import pytest

from ftpstorm.conduct.probe import ASKS_MAX, Found, PassiveFound, estimate_range, parse_place, probe_server, product_of
from ftpstorm.errors import TargetRefusedError, UsageError


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("files.example", ("files.example", 21, None)),
        ("files.example:2121", ("files.example", 2121, None)),
        ("::1", ("::1", 21, None)),
        ("[::1]:2121", ("::1", 2121, None)),
        ("ftp://me@files.example:2121/", ("files.example", 2121, "me")),
    ],
)
def test_a_place_is_host_port_or_url(text: str, place: tuple[str, int, str | None]) -> None:
    assert parse_place(text) == place


@pytest.mark.parametrize("text", ["", "http://x/", "host:99999", "ftp://me:secret@host/"])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_place(text)
    assert "secret" not in str(caught.value)


def test_the_worked_example_of_the_range_estimate() -> None:
    assert estimate_range([10005, 10001, 10011, 10001]) == (9996, 10016)


@pytest.mark.parametrize("ports", [[], [5], [5, 5, 5], [5, 9]])
def test_too_few_ports_suggest_no_range(ports: list[int]) -> None:
    assert estimate_range(ports) == (None, None)


def test_a_range_ends_where_ports_end() -> None:
    assert estimate_range([1, 30_000, 65_535]) == (1, 65_535)


@pytest.mark.parametrize(
    ("ports", "told"),
    [
        ([7, 7, 7], "always the same"),
        ([10_000, 10_001, 10_002], "in turn"),
        ([10_009, 10_001, 10_017], "at random"),
        ([10_009], "1 replies"),
    ],
)
def test_the_order_of_ports_is_put_into_words(ports: list[int], told: str) -> None:
    assert told in PassiveFound(ports=ports).describe()


def test_a_product_is_known_by_its_words() -> None:
    assert product_of(Found("h", 21, "h", greeting="220 (vsFTPd 3.0.3)")) == "vsftpd"
    assert product_of(Found("h", 21, "h", greeting="220 Microsoft FTP Service")) == "Microsoft IIS"
    assert product_of(Found("h", 21, "h", greeting="220 ready")) is None


def test_nothing_outside_loopback_is_asked_without_leave() -> None:
    with pytest.raises(TargetRefusedError, match="--allow-target"):
        probe_server("files.example", resolver=lambda host, port: ["192.0.2.1"])


@pytest.mark.parametrize("asks", [0, ASKS_MAX + 1])
def test_the_number_of_asks_is_bounded(asks: int) -> None:
    with pytest.raises(UsageError, match="--asks"):
        probe_server("127.0.0.1", asks=asks)
