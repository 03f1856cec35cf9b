"""Habits of servers as data."""

from __future__ import annotations

from typing import get_args

import pytest

from ftpstorm.limits.passive import PassiveHabit
from ftpstorm.limits.servers import SERVERS, AtFull, habits_of
from ftpstorm.scenario.target import ServerName
from ftpstorm.vocabulary import FailureClass


def test_every_server_of_a_scenario_has_habits() -> None:
    assert set(SERVERS) == set(get_args(ServerName))


@pytest.mark.parametrize(
    ("name", "habit"),
    [
        ("vsftpd", PassiveHabit.REUSEADDR_RANGE),
        ("proftpd", PassiveHabit.REUSEADDR_RANGE),
        ("inetutils-ftpd", PassiveHabit.KERNEL),
        ("aioftp", PassiveHabit.SESSION),
    ],
)
def test_habits_are_those_of_the_equations(name: str, habit: PassiveHabit) -> None:
    assert habits_of(name).habit is habit


def test_a_server_that_escapes_has_no_answer_and_one_that_refuses_has() -> None:
    for habits in SERVERS.values():
        assert (habits.full is None) == (habits.at_full is AtFull.ESCAPES), habits.name


def test_proftpd_is_busy_at_login_and_silent_beyond_its_instances() -> None:
    proftpd = habits_of("proftpd")
    assert proftpd.cap is not None
    assert proftpd.instances is not None
    assert proftpd.cap.failure is FailureClass.BUSY_AT_LOGIN
    assert proftpd.instances.failure is FailureClass.GREETING_EOF


def test_pure_ftpd_admits_half_as_many_users_as_it_has_ports() -> None:
    pure = habits_of("pure-ftpd")
    assert pure.users_max(50, 20) == 10
    assert pure.users_max(None, 20) == 10
    assert pure.users_max(5, 20) == 5
    assert pure.users_max(50, None) == 50
    assert pure.listen_backlog(users=10) == 4


def test_the_backlog_is_cut_to_somaxconn() -> None:
    assert habits_of("vsftpd").listen_backlog() == 32
    assert habits_of("vsftpd").listen_backlog(16) == 16


def test_a_server_without_a_cap_has_no_bound() -> None:
    assert habits_of("inetutils-ftpd").users_max(5, 20) is None


def test_an_unknown_server_is_told_the_known_ones() -> None:
    with pytest.raises(ValueError, match="vsftpd"):
        habits_of("wu-ftpd")
