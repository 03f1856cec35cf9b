"""Predictions for labs and the servers that they start: counts that follow from habits, and honesty about the rest."""

from __future__ import annotations

from typing import Any

import pytest

from ftpstorm.plan.plan import HostFacts, Plan
from ftpstorm.records.schema import SESSIONS
from ftpstorm.scenario.schema import Scenario
from ftpstorm.simulate.events import Simulation
from ftpstorm.simulate.predict import Prediction, predict
from ftpstorm.vocabulary import Cause, Outcome

OUTCOME, EXECUTED = ([column.name for column in SESSIONS.columns].index(name) for name in ("outcome", "operations"))
EMULATOR: dict[str, Any] = {"emulator": {}}
STEADY = {"executor": "constant-arrival-rate", "rate": "10/s", "duration": "10s"}
STAY = ["login", {"think": "8s"}, "quit"]
RETR = ["login", {"retr": "small.bin"}, "quit"]
STOR = ["login", {"stor": "1KiB"}, "quit"]
CLIENT_FIRST = ["login"]
"""No QUIT: the server hears of the end by the client's FIN."""


def burst(sessions: int) -> dict[str, Any]:
    return {"executor": "burst", "sessions": sessions}


def lab_run(
    target: dict[str, Any],
    lab: dict[str, Any] | None = None,
    *,
    steps: list[Any] | None = None,
    load: dict[str, Any] | None = None,
    client: dict[str, Any] | None = None,
) -> Plan:
    scenario = {
        "version": 1,
        "name": "lab",
        "target": target,
        "lab": {"topology": "pair", **(lab or {})},
        "client": client or {},
        "flows": {"flow": {"steps": steps or RETR}},
        "files": {"small.bin": "1KiB"},
        "load": {"only": {**(load or STEADY), "flow": "flow"}},
    }
    return Plan(run_id="run", scenario=Scenario.model_validate(scenario), host=HostFacts(kernel="6.18.0"))


def server(name: str, **options: Any) -> dict[str, Any]:
    return {"server": {"name": name, **options}}


def left_open(prediction: Prediction) -> set[str]:
    return {item.quantity for item in prediction.not_predicted}


TWENTY = {"sysctls": {"server": {"ip_local_port_range": "40000 40019"}}}


def test_ports_that_the_servers_kernel_chooses_go_to_its_time_wait() -> None:
    """Twenty ports of the server's ephemeral range: twenty downloads, then 425 until a TIME_WAIT has run."""
    found = predict(lab_run(server("inetutils-ftpd"), TWENTY))
    assert found.expected.failures == {"passive-exhausted": 80}
    assert found.expected.exhausted is Cause.SERVER_PASSIVE_POOL
    assert found.expected.first_failure_s == pytest.approx(2.0, abs=0.01)
    assert found.expected.recovery_s == pytest.approx(61 - 8, abs=1.5)
    assert found.ceiling_per_s == pytest.approx(20 / 61, rel=0.001)
    assert found.estimator.pool_size == 20


def test_uploads_leave_the_servers_ports_alone() -> None:
    found = predict(lab_run(server("inetutils-ftpd"), TWENTY, steps=STOR)).expected
    assert found.failures == {}
    assert found.peaks.client_time_wait == 100
    assert found.peaks.passive_pool_taken == 1


def test_a_servers_time_wait_may_be_shortened() -> None:
    lab = {**TWENTY, "time_wait": {"server": "1s"}}
    found = predict(lab_run(server("inetutils-ftpd"), lab, load={**STEADY, "rate": "40/s", "duration": "20s"}))
    assert found.expected.sustained is not None
    assert found.expected.sustained.rate_per_s == pytest.approx(20, rel=0.03)


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("vsftpd", Cause.SERVER_PASSIVE_POOL),
        ("proftpd", Cause.SERVER_PASSIVE_POOL_ESCAPED),
        ("pyftpdlib", Cause.SERVER_PASSIVE_POOL_ESCAPED),
        ("pure-ftpd", Cause.SERVER_CONNECTION_CAP),
    ],
)
def test_each_server_runs_out_in_its_own_way_and_service_times_decide_how_often(name: str, cause: Cause) -> None:
    steps = ["login", {"retr": "small.bin"}, {"think": "5s"}, "quit"]
    found = predict(lab_run(server(name, passive_ports=20), steps=steps, load=burst(30)))
    assert found.expected.exhausted is cause
    assert found.expected.failures is None
    assert "expected.failures" in left_open(found)


def test_a_count_that_no_service_time_changes_is_foretold() -> None:
    steps = ["login", {"retr": "small.bin"}, {"think": "5s"}, "quit"]
    found = predict(lab_run(server("aioftp", passive_ports=20), steps=steps, load=burst(30))).expected
    assert found.exhausted is Cause.SERVER_PASSIVE_POOL
    # each session keeps its port for five seconds; the others pause, and QUIT finds their connection gone
    assert found.failures == {"passive-exhausted": 10, "control-lost": 10}
    assert found.sessions.succeeded == 20


@pytest.mark.parametrize(
    ("target", "failures"),
    [
        (server("proftpd", max_clients=5), {"busy-at-login": 25}),
        (server("proftpd", max_instances=5), {"greeting-eof": 25}),
        (server("vsftpd", max_clients=5), {"busy-at-greeting": 25}),
        (server("inetutils-ftpd"), {}),
    ],
)
def test_sessions_beyond_a_servers_most_meet_its_own_refusal(target: dict[str, Any], failures: dict[str, int]) -> None:
    found = predict(lab_run(target, steps=STAY, load=burst(30))).expected
    assert found.failures == failures
    assert found.exhausted is (Cause.SERVER_CONNECTION_CAP if failures else Cause.NONE)


def test_of_a_command_of_ones_own_nothing_is_known() -> None:
    found = predict(lab_run({"server": {"command": ["./server"]}}))
    assert found.expected.failures is None
    assert any("`command`" in item.why for item in found.not_predicted)


def test_a_client_that_closes_first_has_so_many_ports_each_time_wait() -> None:
    lab = {"sysctls": {"client": {"ip_local_port_range": "40000 40199"}}, "time_wait": "3s"}
    load = {**STEADY, "rate": "97/s", "duration": "20s"}
    found = predict(lab_run(EMULATOR, lab, steps=CLIENT_FIRST, load=load)).expected
    assert found.exhausted is Cause.CLIENT_EPHEMERAL_PORTS
    assert found.first_failure_s == pytest.approx(200 / 97, abs=0.011)
    assert found.peaks.client_time_wait == 200
    assert found.recovery_s == pytest.approx(3, abs=0.05)
    succeeded = found.sessions.succeeded
    assert succeeded is not None
    assert succeeded == pytest.approx(200 * 20 / 3, rel=0.08)


def test_addresses_of_both_sides_multiply_a_clients_ports() -> None:
    lab = {"sysctls": {"client": {"ip_local_port_range": "40000 40019"}}, "clients": 2, "server_addresses": 3}
    load = {**STEADY, "rate": "100/s", "duration": "5s"}
    found = predict(lab_run(EMULATOR, lab, steps=CLIENT_FIRST, load=load)).expected
    assert found.sessions.succeeded == 20 * 2 * 3


def test_each_passive_port_has_the_clients_ports_once_so_an_upload_may_find_none_while_others_would() -> None:
    """Four local ports and ten passive ports, taken over after half a second. A passive port comes round each 10/113 s,
    so a local port that is free again waits for the sixth time that its destination does: 0.531 s."""
    settings = {"ip_local_port_range": "40000 40003", "tcp_tw_reuse": 1, "tcp_tw_reuse_delay": 500}
    load = {**STEADY, "rate": "113/s", "duration": "20s"}
    target = {"emulator": {"passive_ports": 10}}
    found = predict(lab_run(target, {"sysctls": {"client": settings}}, steps=STOR, load=load)).expected
    assert found.sustained is not None
    assert found.sustained.rate_per_s == pytest.approx(4 * 10 / (6 * 10 / 113), rel=0.01)  # bound: 80


def test_connections_to_different_destinations_share_ports_so_no_more_are_in_use_than_there_are() -> None:
    lab = {"sysctls": {"client": {"ip_local_port_range": "40000 40019"}}, "server_addresses": 3}
    found = predict(lab_run(EMULATOR, lab, steps=CLIENT_FIRST, load={**STEADY, "rate": "100/s"})).expected
    assert found.sessions.succeeded == 60
    assert found.peaks.client_ephemeral_in_use == 20
    assert found.peaks.client_time_wait == 60


def test_who_keeps_the_time_wait_of_a_client_that_closes_after_221_is_a_race() -> None:
    steps = ["login", {"quit": {"close": {"first": "client"}}}]
    lab = {"sysctls": {"client": {"ip_local_port_range": "40000 40019"}}}
    found = predict(lab_run(EMULATOR, lab, steps=steps, load={**STEADY, "rate": "50/s"}))
    assert found.expected.failures is None
    assert found.expected.peaks.client_time_wait is None
    assert {"expected.sessions.succeeded", "expected.peaks.server_time_wait"} <= left_open(found)


def test_each_destination_has_all_ports_of_a_router() -> None:
    lab = {"topology": "routed", "nat": {"ports": "50000-50019"}, "server_addresses": 2}
    found = predict(lab_run(EMULATOR, lab, steps=STAY, load=burst(60))).expected
    assert found.failures == {"control-connect-timeout": 20}


def test_tcp_max_tw_buckets_hides_that_ports_run_out() -> None:
    settings = {"ip_local_port_range": "40000 40199", "tcp_max_tw_buckets": 50}
    load = {**STEADY, "rate": "97/s", "duration": "20s"}
    found = predict(lab_run(EMULATOR, {"sysctls": {"client": settings}}, steps=CLIENT_FIRST, load=load)).expected
    assert found.failures == {}
    assert found.peaks.client_time_wait == 50


def test_a_router_translates_so_many_connections_and_drops_the_next_syns() -> None:
    lab = {"topology": "routed", "nat": {"ports": "50000-50049"}}
    found = predict(lab_run(EMULATOR, lab, steps=STAY, load=burst(80)))
    assert found.expected.failures == {"control-connect-timeout": 30}
    assert found.expected.exhausted is found.binding is Cause.NAT_POOL
    assert found.expected.first_failure_s == 5.0


def test_a_syn_that_is_sent_again_may_find_a_translated_port() -> None:
    settings = {"client": {"tcp_timestamps": 0}}
    lab = {"topology": "routed", "nat": {"ports": "50000-50049"}, "sysctls": settings}
    found = predict(lab_run(EMULATOR, lab, steps=["login", {"think": "2s"}, "quit"], load=burst(80)))
    assert found.expected.failures == {}


def test_a_translated_port_that_comes_again_within_the_servers_time_wait_is_left_to_the_run() -> None:
    lab = {"topology": "routed", "nat": {"ports": "50000-50049"}}
    opened = left_open(predict(lab_run(EMULATOR, lab)))
    assert {"expected.failures", "expected.peaks.server_time_wait"} <= set(opened)
    kept = {**lab, "sysctls": {"client": {"tcp_timestamps": 0}}}
    assert "expected.failures" not in left_open(predict(lab_run(EMULATOR, kept)))


@pytest.mark.parametrize(
    ("firewall", "failures"),
    [
        ({"allow": [21], "refuse": "reject"}, {"data-connect-refused": 100}),
        ({"allow": [21], "refuse": "admin-prohibited"}, {"unreachable": 100}),
        ({"allow": [21, "10000-10019"]}, {}),
        ({"allow": [21], "helper": True}, {}),
    ],
)
def test_a_filter_refuses_data_connections_that_nobody_told_it_of(
    firewall: dict[str, Any], failures: dict[str, int]
) -> None:
    target = server("vsftpd", passive_ports="10000-10019")
    found = predict(lab_run(target, {"topology": "routed", "firewall": firewall})).expected
    assert found.failures == failures
    assert found.exhausted is (Cause.FIREWALL_NO_HELPER if failures else Cause.NONE)


def test_a_filter_that_drops_leaves_the_client_waiting_for_its_timeout() -> None:
    lab = {"topology": "routed", "firewall": {"allow": [21]}}
    found = predict(lab_run(server("vsftpd", passive_ports=20), lab, load=burst(5))).expected
    assert found.failures == {"data-connect-timeout": 5}
    assert found.first_failure_s == pytest.approx(5, abs=0.01)


def test_a_helper_reads_nothing_through_tls() -> None:
    lab = {"topology": "routed", "firewall": {"allow": [21], "helper": True, "refuse": "reject"}}
    found = predict(lab_run(server("vsftpd", passive_ports=20, tls="explicit"), lab))
    assert found.expected.failures == {"data-connect-refused": 100}
    assert {"inputs.C", "inputs.L"} <= left_open(found)


def test_a_filter_counts_the_connections_of_each_address() -> None:
    lab = {"topology": "routed", "firewall": {"allow": ["10000-20000"], "connection_limit": 5}, "clients": 2}
    found = predict(lab_run(EMULATOR, lab, steps=STAY, load=burst(20)))
    assert found.expected.failures == {"control-connect-refused": 10}
    assert found.expected.exhausted is found.binding is Cause.PER_ADDRESS_LIMIT


DISTANT = {"link": {"delay": "20ms"}}


@pytest.mark.parametrize(
    ("cookies", "abort", "linear", "link", "cause", "failed"),
    [
        (1, 0, 4, DISTANT, Cause.BACKLOG_GHOST, 200 - 27),
        (1, 1, 4, DISTANT, Cause.BACKLOG_GHOST, 200 - 27),
        (0, 0, 4, DISTANT, Cause.SLOW_ACCEPT, 92),
        (0, 0, 0, DISTANT, Cause.SLOW_ACCEPT, 200 - 3 * 26),
        (0, 1, 4, DISTANT, Cause.RESET_AFTER_ACCEPT, 93),
        (0, 1, 0, DISTANT, Cause.RESET_AFTER_ACCEPT, 127),
        (1, 0, 4, {}, Cause.BACKLOG_GHOST, 200 - 27 - 26),
        (0, 0, 4, {}, Cause.SLOW_ACCEPT, 93),
        (0, 0, 0, {}, Cause.SLOW_ACCEPT, 200 - 27 - 2 * 26),
    ],
)
def test_what_a_full_accept_queue_does_is_for_the_sysctls_of_both_ends_to_say(
    cookies: int, abort: int, linear: int, link: dict[str, Any], cause: Cause, failed: int
) -> None:
    """Two hundred at once, backlog 25. One is accepted, 26 wait. With cookies the others are ghosts at once where their
    handshakes overlap, else when their SYNs come again; without, 26 more get in at each repetition: within the five
    seconds that a client waits after 1 and 3 s, and with tcp_syn_linear_timeouts (Linux 6.5) each second, as far as the
    20 a second that are accepted make room."""
    server = {"tcp_syncookies": cookies, "tcp_abort_on_overflow": abort}
    lab = {"sysctls": {"server": server, "client": {"tcp_syn_linear_timeouts": linear}}, **link}
    found = predict(lab_run({"emulator": {"backlog": 25, "accept_rate": "20/s"}}, lab, load=burst(200))).expected
    assert found.exhausted is cause
    assert found.sessions.failed == failed


def test_somaxconn_cuts_the_backlog() -> None:
    lab = {"sysctls": {"server": {"somaxconn": 9}}, **DISTANT}
    found = predict(lab_run({"emulator": {"backlog": 25, "accept_rate": "20/s"}}, lab, load=burst(100))).expected
    assert found.failures == {"greeting-silent": 100 - 11}


@pytest.mark.parametrize(("driver", "known"), [("storm", True), ("aioftp", False)])
def test_on_a_wire_without_delay_the_class_of_a_reset_is_a_race_for_asyncio_alone(driver: str, known: bool) -> None:
    lab = {"sysctls": {"server": {"tcp_syncookies": 0, "tcp_abort_on_overflow": 1}}}
    target = {"emulator": {"backlog": 25, "accept_rate": "20/s"}}
    near = predict(lab_run(target, lab, load=burst(100), client={"driver": driver})).expected.failures
    assert (near is not None) == known
    assert near is None or near["greeting-reset"] > 0
    foretold = predict(lab_run(target, lab | DISTANT, load=burst(100), client={"driver": driver})).expected.failures
    assert foretold is not None
    assert foretold["greeting-reset"] == 13


def test_how_many_of_a_huge_burst_are_reset_depends_on_how_their_repeated_syns_are_grouped() -> None:
    sysctls = {"server": {"tcp_syncookies": 0, "tcp_abort_on_overflow": 1}}
    target = {"emulator": {"backlog": 25, "accept_rate": "20/s"}}
    counts = {"expected.sessions.succeeded", "expected.sessions.failed", "expected.transfers.succeeded"}
    assert not counts & left_open(predict(lab_run(target, {"sysctls": sysctls}, load=burst(666))))  # 640 come again
    huge = predict(lab_run(target, {"sysctls": sysctls}, load=burst(667)))
    assert counts <= left_open(huge)
    why = next(item.why for item in huge.not_predicted if item.quantity == "expected.sessions.succeeded")
    assert why.startswith("641 clients send their SYN again")
    for kernel in ({"tcp_syncookies": 1, "tcp_abort_on_overflow": 1}, {"tcp_syncookies": 0}):
        assert not counts & left_open(predict(lab_run(target, {"sysctls": {"server": kernel}}, load=burst(667))))


def test_a_range_for_active_mode_is_used_up_by_uploads() -> None:
    client = {"mode": "active", "active_ports": "45000-45019"}
    found = predict(lab_run(server("vsftpd"), steps=STOR, client=client)).expected
    assert found.failures == {"local-ports-exhausted": 80}
    assert found.exhausted is Cause.ACTIVE_PORT_REUSED


def test_downloads_in_active_mode_depend_on_the_servers_own_port() -> None:
    client = {"mode": "active", "active_ports": "45000-45019"}
    assert "expected.failures" in left_open(predict(lab_run(server("vsftpd"), client=client)))


def test_a_link_adds_its_round_trips() -> None:
    near, far = (predict(lab_run(EMULATOR, lab)).inputs["L"].value for lab in ({}, {"link": {"delay": "20ms"}}))
    assert near is not None
    assert far is not None
    # connect, greeting, three replies of the login, EPSV, connect, first byte, quit
    assert far - near == pytest.approx(9 * 0.040, abs=0.001)


PAUSE: list[Any] = ["login", "pasv-only", {"think": "1s"}, "noop", "quit"]


@pytest.mark.parametrize(
    ("steps", "executed"), [(PAUSE, {"vsftpd": 4, "aioftp": 4, "inetutils-ftpd": 5}),
                            ([*PAUSE[:2], "noop", "quit"], {"vsftpd": 2, "aioftp": 2, "inetutils-ftpd": 4})]
)  # fmt: skip
def test_a_session_notices_after_a_pause_that_a_refusal_ended_its_connection(
    steps: list[Any], executed: dict[str, int]
) -> None:
    """vsftpd's 500 OOPS and aioftp's 421: the pause is waited through, then a command fails; inetutils' 425 is none."""
    for name in ("vsftpd", "aioftp", "inetutils-ftpd"):
        lab = {"sysctls": {"server": {"ip_local_port_range": "40000 40000"}}}
        target = server(name, **({} if name == "inetutils-ftpd" else {"passive_ports": 1}))
        plan = lab_run(target, lab, steps=steps, load=burst(2))
        rows = [row for table, row in Simulation(plan).rows() if table is SESSIONS]
        assert sorted(row[OUTCOME] for row in rows) == [Outcome.SUCCEEDED, Outcome.FAILED]
        assert next(row[EXECUTED] for row in rows if row[OUTCOME] == Outcome.FAILED) == executed[name]


def test_a_closed_load_of_refused_sessions_goes_at_the_pace_of_their_pauses() -> None:
    """Twenty slots on ten ports for 8 s, 2 s each: some 80 sessions, and not as many as the server can refuse."""
    steps = ["login", "pasv-only", {"think": "2s"}, "quit"]
    load = {"executor": "constant-sessions", "sessions": 20, "duration": "8s"}
    rows = list(Simulation(lab_run(server("vsftpd", passive_ports=10), steps=steps, load=load)).rows())
    outcomes = [row[OUTCOME] for table, row in rows if table is SESSIONS]
    assert len(outcomes) == 80
    assert outcomes.count(Outcome.FAILED) >= 40


def test_a_retry_finds_the_connection_gone_after_its_wait() -> None:
    retry = {"retry": {"on": ["any"], "times": 3, "wait": "300ms"}}
    plan = lab_run(server("aioftp", passive_ports=1), steps=["login", {"retr": "small.bin"}, {"think": "1s"}, "quit"],
                   load=burst(2))  # fmt: skip
    document = plan.scenario.model_dump(mode="json", by_alias=True)
    document["flows"]["flow"]["on_failure"] = retry
    found = predict(Plan(run_id="run", scenario=Scenario.model_validate(document), host=plan.host)).expected
    assert found.failures == {"passive-exhausted": 1, "control-lost": 1}


def test_the_places_of_a_server_are_free_when_it_has_closed_not_when_the_client_notices() -> None:
    """One user at a time: the second comes while the first pauses on a connection that the server has closed."""
    steps = ["login", "pasv-only", {"think": "1s"}, "quit"]
    lab = {"sysctls": {"server": {"ip_local_port_range": "40000 40000"}}}
    target = server("aioftp", passive_ports=1, max_clients=2)
    plan = lab_run(target, lab, steps=steps, load={"executor": "burst", "sessions": 3, "over": "300ms"})
    found = predict(plan).expected.failures
    assert found is not None
    assert "busy-at-greeting" not in found


def test_a_rate_that_only_service_times_bound_is_left_open() -> None:
    load = {"executor": "constant-sessions", "sessions": 30, "duration": "5s"}
    found = predict(lab_run(server("proftpd", passive_ports=1), load=load))
    assert found.expected.exhausted is Cause.SERVER_PASSIVE_POOL_ESCAPED
    assert "expected.sustained" in left_open(found)
    assert found.expected.sustained is None


def test_the_emulators_delay_comes_before_each_answer() -> None:
    far_away = {"emulator": {**EMULATOR["emulator"], "delay": "20ms"}}
    near, far = (predict(lab_run(target, {})).inputs["L"].value for target in (EMULATOR, far_away))
    assert near is not None
    assert far is not None
    # greeting, three replies of the login, EPSV, first byte, quit
    assert far - near == pytest.approx(7 * 0.020, abs=0.001)
