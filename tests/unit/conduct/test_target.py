from __future__ import annotations

from collections.abc import Sequence

import pytest

from ftpstorm.conduct.target import check_target, is_loopback, parse_target_url
from ftpstorm.errors import EnvironmentUnavailableError, TargetRefusedError, UsageError
from ftpstorm.scenario.schema import Scenario
from support.short_run import scenario_of

GUARD = {"max_sessions": 10, "max_rate": "100/s", "stop_after": "30s"}


def scenario(host: str, *, guarded: bool = True) -> Scenario:
    return Scenario.model_validate(scenario_of(target={"host": host, "port": 2121}, guard=GUARD if guarded else None))


def resolver(*addresses: str):  # type: ignore[no-untyped-def]
    def resolve(host: str, port: int) -> Sequence[str]:
        return addresses

    return resolve


def test_a_url_is_taken_apart() -> None:
    url = parse_target_url("ftp://some%40one@files.example:2121/pub/a%20b.bin")
    assert (url.host, url.port, url.user, url.path) == ("files.example", 2121, "some@one", "pub/a b.bin")


def test_a_url_without_port_means_21() -> None:
    assert parse_target_url("ftp://files.example").port == 21


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError) as caught:
        parse_target_url("ftp://me:hunter2@files.example/")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("text", ["http://files.example/", "ftp:///pub", "ftp://host:99999/", "files.example"])
def test_what_is_no_ftp_url_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="ftp://user@host:port"):
        parse_target_url(text)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_known_in_every_spelling(address: str) -> None:
    assert is_loopback(address)


@pytest.mark.parametrize("address", ["0.0.0.0", "128.0.0.1", "10.0.0.1", "::", "::ffff:10.0.0.1", "fe80::1"])
def test_anything_else_is_not_loopback(address: str) -> None:
    assert not is_loopback(address)


def test_loopback_needs_neither_permission_nor_guard() -> None:
    assert check_target(scenario("localhost", guarded=False), (), resolver("127.0.0.1")) == (("127.0.0.1", 2121),)


def test_the_emulator_has_no_address_to_check() -> None:
    assert check_target(Scenario.model_validate(scenario_of()), (), resolver("10.0.0.1")) == ()


def test_another_address_is_refused_without_permission() -> None:
    with pytest.raises(TargetRefusedError, match="--allow-target"):
        check_target(scenario("files.example"), (), resolver("10.0.0.1"))


@pytest.mark.parametrize("allowed", ["10.0.0.1", "10.0.0.0/8", "files.example", "FILES.example"])
def test_permission_names_the_host_its_address_or_its_network(allowed: str) -> None:
    assert check_target(scenario("files.example"), [allowed], resolver("10.0.0.1")) == (("10.0.0.1", 2121),)


def test_every_resolved_address_is_checked() -> None:
    with pytest.raises(TargetRefusedError, match=r"192\.0\.2\.9"):
        check_target(scenario("files.example"), ["10.0.0.0/8"], resolver("10.0.0.1", "192.0.2.9"))


def test_a_name_that_also_resolves_to_loopback_is_still_refused() -> None:
    with pytest.raises(TargetRefusedError):
        check_target(scenario("files.example"), (), resolver("127.0.0.1", "10.0.0.1"))


def test_permission_without_guard_is_not_enough() -> None:
    with pytest.raises(TargetRefusedError, match="guard"):
        check_target(scenario("files.example", guarded=False), ["10.0.0.1"], resolver("10.0.0.1"))


def test_a_network_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="no network"):
        check_target(scenario("files.example"), ["10.0.0.0/99"], resolver("10.0.0.1"))


def test_ipv4_is_preferred_where_a_name_has_both() -> None:
    assert check_target(scenario("localhost"), (), resolver("::1", "127.0.0.1")) == (("127.0.0.1", 2121),)


def test_a_name_that_does_not_resolve_is_said_so() -> None:
    def resolve(host: str, port: int) -> Sequence[str]:
        raise OSError(-2, "Name or service not known")

    with pytest.raises(EnvironmentUnavailableError, match="does not resolve"):
        check_target(scenario("nowhere.example"), (), resolve)
