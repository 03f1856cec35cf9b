"""What the options of `lab shell`, `run` and `up` become, before anything is built."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftpstorm.conduct.lab_shell import LabOptions, plan_order
from ftpstorm.errors import UsageError
from ftpstorm.scenario.lab import Lab
from support.short_run import write_scenario


def test_a_topology_alone_is_a_lab_without_a_server() -> None:
    order = plan_order(LabOptions(topology="routed"))
    assert Lab.model_validate(order["lab"]).topology == "routed"
    assert (order["server"], order["emulator"], order["host"]) == (None, None, "client-0")


def test_a_server_by_name_offers_files(tmp_path: Path) -> None:
    order = plan_order(LabOptions(topology="pair", server="vsftpd"))
    assert order["server"]["name"] == "vsftpd"
    assert "small.bin" in order["files"]


def test_a_scenario_gives_lab_emulator_and_files(tmp_path: Path) -> None:
    path = write_scenario(tmp_path, lab={"topology": "pair", "clients": 2}, files={"small.bin": "3B"})
    order = plan_order(LabOptions(str(path), overrides=["lab.clients=3"]))
    assert Lab.model_validate(order["lab"]).clients == 3
    assert order["files"] == {"small.bin": 3}
    assert "emulator" in order["emulator"]


def test_a_scenario_without_a_lab_gets_a_pair(tmp_path: Path) -> None:
    order = plan_order(LabOptions(str(write_scenario(tmp_path))))
    assert Lab.model_validate(order["lab"]).topology == "pair"


def test_a_sysctl_goes_to_the_host_that_it_names_else_to_client_and_server() -> None:
    options = LabOptions(topology="pair", sysctls=["tcp_tw_reuse=0", "client.somaxconn=5", "net.core.somaxconn=6"])
    with pytest.raises(UsageError, match="same setting"):
        plan_order(options)
    options = LabOptions(topology="pair", sysctls=["net.ipv4.tcp_tw_reuse=0", "server.somaxconn=5"])
    sysctls = Lab.model_validate(plan_order(options)["lab"]).sysctls
    assert sysctls.client == {"net.ipv4.tcp_tw_reuse": "0"}
    assert sysctls.server == {"net.ipv4.tcp_tw_reuse": "0", "somaxconn": "5"}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (LabOptions(), "--topology"),
        (
            LabOptions(topology="star"),
            "--topology star: there is none of this name; topologies: loopback, pair",
        ),
        (LabOptions(topology="pair", server="iis"), "--server iis: there is none of this name; servers: "),
        (LabOptions(topology="pair", server="vsftp"), "did you mean 'vsftpd'? servers: "),
        (LabOptions(topology="pair", sysctls=["tcp_tw_reuse"]), "--sysctl tcp_tw_reuse"),
        (LabOptions(topology="pair", sysctls=["kernel.panic=1"]), "net.*"),
        (LabOptions(topology="pair", sysctls=["router.tcp_tw_reuse=1"]), "routed"),
        (LabOptions(topology="pair", overrides=["a=b"]), "--set"),
        (LabOptions("try-later-425", topology="pair"), "--topology"),
        (LabOptions("try-later-425", server="vsftpd"), "--server"),
    ],
)
def test_options_that_cannot_be_are_refused_by_name(options: LabOptions, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan_order(options)
    assert told in str(caught.value)


def test_a_target_out_of_the_labs_reach_is_refused(tmp_path: Path) -> None:
    path = write_scenario(tmp_path, target={"host": "files.example"})
    with pytest.raises(UsageError, match=r"files\.example"):
        plan_order(LabOptions(str(path)))
