"""Each check judges what it sees, says unknown where it sees nothing, and never leaves a warning without a remedy."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from ftpstorm.conduct import checkup
from ftpstorm.conduct.checkup import Check
from ftpstorm.conduct.doctor import verdict
from ftpstorm.conduct.lab_checkup import check_links, check_namespaces, check_time_wait
from ftpstorm.errors import ExitCode

Proc = Callable[..., Path]


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    """Give ``proc(name=text)``: a /proc with these files; ``__`` in a name stands for a slash."""

    def make(**files: str) -> Path:
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")
        return tmp_path

    return make


IPV4 = "sys__net__ipv4__"


@pytest.mark.parametrize(
    ("check", "files", "status", "told"),
    [
        (checkup.check_time_wait_reuse, {IPV4 + "tcp_tw_reuse": "2"}, "warn", "loopback trap"),
        (checkup.check_time_wait_reuse, {IPV4 + "tcp_tw_reuse": "1"}, "warn", "everywhere"),
        (checkup.check_time_wait_reuse, {IPV4 + "tcp_tw_reuse": "0"}, "ok", "to the end"),
        (checkup.check_time_wait_reuse, {}, "unknown", "cannot be read"),
        (checkup.check_timestamps, {IPV4 + "tcp_timestamps": "0"}, "warn", "off"),
        (checkup.check_timestamps, {IPV4 + "tcp_timestamps": "1"}, "ok", "on"),
        (checkup.check_timestamps, {}, "unknown", "cannot be read"),
        (checkup.check_port_range, {IPV4 + "ip_local_port_range": "32768\t60999"}, "ok", "28232 ports"),
        (checkup.check_port_range, {IPV4 + "ip_local_port_range": "40000\t40199"}, "warn", "200 ports"),
        (checkup.check_port_range, {}, "unknown", "cannot be read"),
        (checkup.check_backlog, {"sys__net__core__somaxconn": "128"}, "warn", "128"),
        (checkup.check_backlog, {"sys__net__core__somaxconn": "4096"}, "ok", "4096"),
        (checkup.check_backlog, {}, "unknown", "cannot be read"),
        (checkup.check_time_wait_buckets, {}, "unknown", "cannot be read"),
        (checkup.check_conntrack, {}, "ok", "not loaded"),
        (checkup.check_memory, {"meminfo": "MemTotal: 9 kB\nMemAvailable: 1000 kB"}, "warn", "KiB"),
        (checkup.check_memory, {"meminfo": "MemAvailable: 4000000 kB"}, "ok", "available"),
        (checkup.check_memory, {}, "unknown", "says nothing"),
    ],
)
def test_a_check_judges_what_it_sees(
    proc: Proc, check: Callable[[Path], Check], files: dict[str, str], status: str, told: str
) -> None:
    found = check(proc(**files))
    assert found.status == status
    assert told in found.seen
    assert (found.mend is not None) == (status == "warn")


def test_reserved_ports_are_taken_off_the_ephemeral_range(proc: Proc) -> None:
    found = checkup.check_port_range(
        proc(**{IPV4 + "ip_local_port_range": "32768 60999", IPV4 + "ip_local_reserved_ports": "40000-40231"})
    )
    assert "28000 ports, 232 of them reserved" in found.seen


def test_fewer_time_wait_buckets_than_ports_hide_exhaustion(proc: Proc) -> None:
    files = {IPV4 + "ip_local_port_range": "32768 60999", IPV4 + "tcp_max_tw_buckets": "4096"}
    found = checkup.check_time_wait_buckets(proc(**files))
    assert found.status == "warn"
    assert "4096, fewer than the 28232" in found.seen


@pytest.mark.parametrize(("used", "status"), [("10", "ok"), ("200000", "warn")])
def test_a_conntrack_table_that_fills_is_warned_about(proc: Proc, used: str, status: str) -> None:
    folder = "sys__net__netfilter__nf_conntrack_"
    assert checkup.check_conntrack(proc(**{folder + "max": "262144", folder + "count": used})).status == status


@pytest.mark.parametrize(
    ("hard", "status"), [(100, "fail"), (1024, "warn"), (20_000, "ok"), (resource.RLIM_INFINITY, "ok")]
)
def test_open_files_are_judged_by_the_hard_limit(monkeypatch: pytest.MonkeyPatch, hard: int, status: str) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (64, hard))
    assert checkup.check_files().status == status


def test_stolen_time_is_told_from_busy_time(proc: Proc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup.os, "getloadavg", lambda: (0.1, 0.1, 0.1))
    monkeypatch.setattr(checkup.os, "sched_getaffinity", lambda pid: {0, 1})
    assert checkup.check_cores(proc(stat="cpu 900 0 0 5000 0 0 0 100")).status == "warn"
    assert checkup.check_cores(proc(stat="cpu 999 0 0 5000 0 0 0 1")).status == "ok"
    assert "steal unknown" in checkup.check_cores(proc(stat="cpu nonsense")).seen


def test_a_core_that_others_use_is_warned_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup.os, "getloadavg", lambda: (9.0, 0.1, 0.1))
    monkeypatch.setattr(checkup.os, "sched_getaffinity", lambda pid: {0, 1})
    assert "others use this machine" in (checkup.check_cores().mend or "")


def test_a_program_that_is_missing_names_its_package() -> None:
    found, missing = checkup.find_programs({"sh": "dash", "no-such-program": "some-package"}, "why")
    assert found.status == "ok"
    assert (missing.status, missing.mend) == ("warn", "apt-get install some-package")


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "sysctl kernel.apparmor_restrict_unprivileged_userns=0"),
        ("user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=15000"),
    ],
)
def test_refused_namespaces_name_the_setting_to_blame(tmp_path: Path, setting: str, value: str, told: str) -> None:
    (tmp_path / setting).parent.mkdir(parents=True)
    (tmp_path / setting).write_text(value)
    found = check_namespaces("no private namespace here: unshare failed with EPERM", tmp_path)
    assert found.status == "warn"
    assert told in (found.mend or "")
    assert "seccomp" not in (found.mend or "")


def test_a_proc_that_cannot_be_mounted_is_a_containers_doing(tmp_path: Path) -> None:
    found = check_namespaces("no private namespace here: mounting a private /proc failed with EPERM", tmp_path)
    assert "systempaths=unconfined" in (found.mend or "")


def test_where_no_setting_is_to_blame_a_filter_is(tmp_path: Path) -> None:
    assert "seccomp" in (check_namespaces("unshare failed with EPERM", tmp_path).mend or "")
    assert check_namespaces(None).status == "ok"


def test_what_a_kernel_lacks_for_links_and_time_wait_is_a_warning() -> None:
    netem, rate = check_links({"delay": "this kernel lacks sch_netem", "rate": None})
    assert (netem.status, rate.status) == ("warn", "ok")
    assert "modprobe sch_netem" in (netem.mend or "")
    assert check_time_wait("refused").status == "warn"
    assert "CONFIG_INET_DIAG_DESTROY" in (check_time_wait("refused").mend or "")
    assert "security profile" in (check_time_wait("EPERM: it takes CAP_NET_ADMIN").mend or "")
    assert check_time_wait(None).status == "ok"


def test_only_a_failed_check_keeps_load_from_being_made() -> None:
    def check(status: checkup.Status) -> Check:
        return Check("name", status, "seen", "why")

    assert verdict([check("ok"), check("warn"), check("unknown")]) is ExitCode.PASS
    assert verdict([check("ok"), check("fail")]) is ExitCode.ENVIRONMENT
