"""What ``ftpstorm sample`` says to a person when it ends."""

from pathlib import Path

from ftpstorm.conduct.standalone import describe_sampling


def test_only_the_counters_that_moved_are_named() -> None:
    counts = {
        "ticks": 1200,
        "dumps": 4,
        "samples": 4321,
        "counters_start": {"Tcp.ActiveOpens": 10, "TcpExt.TW": 7},
        "counters_end": {"Tcp.ActiveOpens": 1510, "TcpExt.TW": 7, "TcpExt.PAWSActive": 3},
    }
    assert describe_sampling(counts, Path("watched")).splitlines() == [
        "4,321 samples of 1,200 ticks and 4 dumps in watched",
        "counters that moved: Tcp.ActiveOpens +1,500",
    ]


def test_a_quiet_kernel_is_said_to_be_quiet() -> None:
    counts = {
        "ticks": 1,
        "dumps": 1,
        "samples": 9,
        "counters_start": {"TcpExt.TW": 7},
        "counters_end": {"TcpExt.TW": 7},
    }
    assert describe_sampling(counts, Path("watched")).endswith("counters that moved: none")
