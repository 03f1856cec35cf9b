"""The lab of one run: network, server, the folder they live in, and who of the run's processes is where.

It tells children their place (workers on client hosts, emulator on the server's, sampler and time-wait process hold a
descriptor of each) and the manifest what there was. How hosts are made is `ftpstorm.lab.topology`, how servers are
started `ftpstorm.lab.servers`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ftpstorm.emulator.listeners import CONTROL_PORT
from ftpstorm.errors import EnvironmentUnavailableError, UsageError
from ftpstorm.lab import kernel
from ftpstorm.lab.addresses import client_addresses
from ftpstorm.lab.hosts import Host
from ftpstorm.lab.topology import Network, build
from ftpstorm.plan.plan import HostFacts, Plan
from ftpstorm.sampler.hostfacts import read_host_facts
from ftpstorm.scenario.client import LAB_ADDRESSES
from ftpstorm.scenario.lab import Lab
from ftpstorm.scenario.schema import Scenario
from ftpstorm.units import NS_PER_S

if TYPE_CHECKING:
    from ftpstorm.lab.servers import RunningServer

MOUNT_POINTS: Final = ("/run", "/mnt", "/media", "/srv")
"""Where the lab's files may be mounted over what the machine has there, for the run's processes alone."""
NETWORK_LOG: Final = "network.log"
SERVER_LOG: Final = "server.log"


class Laboratory:
    """A lab that is up. `server` is None until `start_server`, and stays so where the target is the emulator."""

    def __init__(self, scenario: Scenario, lab: Lab, network: Network) -> None:
        self.lab = lab
        self.network = network
        self.server: RunningServer | None = None
        self._scenario = scenario
        self._stack = ExitStack()

    # --- places -----------------------------------------------------------------------------------------------------

    @property
    def together(self) -> bool:
        """Client and server share one network namespace."""
        return self.lab.topology == "loopback"

    def client_of(self, worker: int) -> Host:
        """Return the client host that worker number `worker` runs on."""
        return self.network.clients[worker % len(self.network.clients)]

    @property
    def control_port(self) -> int:
        """The server's control port."""
        return control_port(self._scenario)

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Addresses and port that the load goes to."""
        return tuple((address, self.control_port) for address in self.network.server.addresses)

    @property
    def listen_on(self) -> str:
        """Address for the emulator to listen on: its only one, or any."""
        if len(self.network.server.addresses) == 1:
            return self.network.server.addresses[0]
        return "::" if self.lab.ipv6 else "0.0.0.0"

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Descriptors of all namespaces, each once."""
        return tuple(dict.fromkeys(host.netns for host in self.network.hosts))

    def server_facts(self) -> HostFacts:
        """Return what the server's host says of itself."""
        with self.network.server.entered():
            return read_host_facts()

    # --- what children are told -------------------------------------------------------------------------------------

    def watched_hosts(self, target: Mapping[str, Any], port_range: tuple[int, int] | None) -> list[dict[str, Any]]:
        """Return `hosts` of the sampler's hello: every namespace once, the clients first.

        `target` is the manifest's description of it, `port_range` the load's own ephemeral range.
        """
        first, last = target.get("passive_range") or (0, -1)
        ports = {
            "server_ports": sorted({port for _, port in target["addresses"]}),
            "passive_ports": target.get("passive_ports") or list(range(first, last + 1)),
        }
        if self.together:
            return [
                {"name": "host", "side": "host", "netns": self.network.server.netns, "port_range": port_range} | ports
            ]
        one = len(self.network.clients) == 1
        return [
            {
                "name": "client" if one and host in self.network.clients else host.name,
                "side": str(host.side),
                "netns": host.netns,
                "port_range": port_range if host in self.network.clients else None,
            }
            | ports
            for host in self.network.hosts
        ]

    def reaped_hosts(self) -> list[dict[str, Any]]:
        """Return `hosts` of the time-wait process's hello; empty where every host keeps the kernel's TIME_WAIT."""
        lengths = self.lab.time_wait
        wanted = [] if self.together else [(host, lengths.client) for host in self.network.clients]
        return [
            {"name": host.name, "netns": host.netns, "time_wait_ns": length}
            for host, length in (*wanted, (self.network.server, lengths.server))
            if length is not None
        ]

    def worker_plan(self, plan: Plan) -> dict[str, Any]:
        """Return the plan as workers get it: with the user, the passive range and the TLS of the server that runs."""
        server = self.server
        if server is None:
            return plan.to_json()
        fields: dict[str, Any] = {"user": server.user}
        if server.passive_range is not None:
            fields["passive_ports"] = "{}-{}".format(*server.passive_range)
        target = plan.scenario.target
        if target.server is not None and target.server.tls != "none":
            tls = {"mode": target.server.tls, "ca_file": str(server.ca_file)}
            tls["server_name"] = target.tls.server_name or server.addresses[0][0]
            fields["tls"] = target.tls.model_copy(update=tls)
        scenario = plan.scenario.model_copy(update={"target": target.model_copy(update=fields)})
        return plan.model_copy(update={"scenario": scenario}).to_json()

    # --- the server -------------------------------------------------------------------------------------------------

    def start_server(self, logs: Path) -> None:
        """Start the scenario's real server, if it names one; `logs` takes its output.

        Raises EnvironmentUnavailableError where it cannot be had or does not greet.
        """
        (logs / NETWORK_LOG).write_text(self.network.log, encoding="utf-8")
        wanted = self._scenario.target.server
        if wanted is None:
            return
        from ftpstorm.lab.servers import start_server

        first, *more = self.network.server.addresses
        variable = self._scenario.target.password_env
        secrets = () if variable is None else (variable,)
        server = start_server(
            wanted,
            self.network.server,
            first,
            mount_folder(logs),
            self._scenario.files,
            logs / SERVER_LOG,
            more_addresses=more,
            secrets=secrets,
        )
        self._stack.callback(server.stop)
        self.server = server

    def close(self) -> None:
        """Stop the server; the network is closed by whoever built it. Closing twice is allowed."""
        self._stack.close()

    # --- what there was ---------------------------------------------------------------------------------------------

    def describe_target(self) -> dict[str, Any]:
        """Return the manifest's description of the real server. It must be running."""
        server = self.server
        assert server is not None
        return {
            "kind": "server",
            "name": server.name,
            "version": server.version,
            "addresses": [list(address) for address in self.addresses],
            "passive_ports": None,
            "passive_range": list(server.passive_range) if server.passive_range is not None else None,
            "user": server.user,
        }

    def describe(self) -> dict[str, Any]:
        """Return the manifest's `lab`."""
        server = self._scenario.target.server
        lengths = {host["netns"]: host["time_wait_ns"] / NS_PER_S for host in self.reaped_hosts()}
        return {
            "topology": self.lab.topology,
            "hosts": [
                {
                    "name": host.name,
                    "side": str(host.side),
                    "addresses": list(host.addresses),
                    "settings": dict(self.network.settings.get(host.name, {})),
                    "time_wait_s": lengths.get(host.netns),
                }
                for host in self.network.hosts
            ],
            "server": None
            if server is None
            else server.model_dump(mode="json", exclude_defaults=True)
            | {"version": self.server.version if self.server is not None else None},
        }


@contextmanager
def open_laboratory(scenario: Scenario, workers: int) -> Iterator[Laboratory | None]:
    """Build the scenario's lab around this process, which must have private namespaces; None where it wants none.

    Raises UsageError where there are too few `workers` for the client hosts, EnvironmentUnavailableError where the
    machine cannot have such a lab.
    """
    lab = scenario.lab
    if lab is None:
        yield None
        return
    check_workers(scenario, workers)
    with build(lab, control_port=control_port(scenario)) as network:
        laboratory = Laboratory(scenario, lab, network)
        try:
            yield laboratory
        finally:
            laboratory.close()


def control_port(scenario: Scenario) -> int:
    """Return the control port of the scenario's server in a lab, where no other server is in the way."""
    server = scenario.target.server
    return CONTROL_PORT if server is None else server.port


def check_workers(scenario: Scenario, workers: int) -> None:
    """Raise UsageError where the client hosts of a lab would not get a worker each, or not their share of sessions."""
    clients = scenario.lab.clients if scenario.lab is not None else 1
    if workers < clients:
        raise UsageError(
            f"lab.clients: {clients} client hosts need a worker each, and there are {workers}: use --workers {clients}"
        )
    if LAB_ADDRESSES in scenario.client.source_addresses and workers % clients:
        raise UsageError(
            f"--workers {workers}: with client.source_addresses: [{LAB_ADDRESSES}] each of the {clients} client hosts "
            f"must have as many workers as the others: use a multiple of {clients}"
        )


def with_lab_sources(scenario: Scenario) -> Scenario:
    """Return the scenario with the addresses that `source_addresses: [lab]` stands for: all of all client hosts.

    They are dealt out host by host in turn, as workers are: session number k, source k modulo their number and worker k
    modulo the workers then lie on one host.
    """
    lab = scenario.lab
    if lab is None or LAB_ADDRESSES not in scenario.client.source_addresses:
        return scenario
    hosts = [client_addresses(lab, number) for number in range(lab.clients)]
    addresses = tuple(address for turn in zip(*hosts, strict=True) for address in turn)
    client = scenario.client.model_copy(update={"source_addresses": addresses})
    return scenario.model_copy(update={"client": client})


def mount_folder(*needed: Path) -> Path:
    """Mount an empty folder in memory that the kernel takes away with this mount namespace; return it.

    It hides a folder of the machine from the run's own processes, one that holds nothing of theirs: neither the
    interpreter nor the working directory nor `needed`. Raises EnvironmentUnavailableError where it cannot be mounted.
    """
    prefixes = (Path(sys.prefix), Path(sys.base_prefix))
    ours = [path.resolve() for path in (*prefixes, Path.cwd(), Path(__file__), *needed)]
    free = [
        point
        for point in map(Path, MOUNT_POINTS)
        if point.is_dir() and not any(path.is_relative_to(point.resolve()) for path in ours)
    ]
    if not free:
        raise EnvironmentUnavailableError(
            f"lab: none of {', '.join(MOUNT_POINTS)} is free for the server's files: one must exist and hold neither "
            "the results nor ftpstorm itself"
        )
    try:
        kernel.mount("ftpstorm", str(free[0]), "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV)
    except OSError as error:
        raise EnvironmentUnavailableError(f"lab: no folder in memory at {free[0]}: {error.strerror}") from None
    return free[0]
