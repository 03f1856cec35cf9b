"""Where metrics are published: loopback unless told otherwise."""

from __future__ import annotations

import pytest

from ftpstorm.conduct.metrics import listen, parse_address, url_of
from ftpstorm.errors import UsageError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9464", ("127.0.0.1", 9464)),
        (":9464", ("127.0.0.1", 9464)),
        ("0.0.0.0:9464", ("0.0.0.0", 9464)),
        ("[::1]:0", ("::1", 0)),
        ("[::]:9464", ("::", 9464)),
    ],
)
def test_an_address_is_read(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "host:9464", "127.0.0.1", "1.2.3.4:70000", "127.0.0.1:-1", "::1"])
def test_what_is_no_address_is_told_what_to_write(text: str) -> None:
    with pytest.raises(UsageError, match=r"127\.0\.0\.1:9464"):
        parse_address(text)


def test_port_0_is_any_free_one_and_the_url_names_it() -> None:
    with listen("0") as sock:
        assert url_of(sock) == f"http://127.0.0.1:{sock.getsockname()[1]}/metrics"


def test_an_address_of_another_host_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r"192\.0\.2\.1:9464"):
        listen("192.0.2.1:9464")
