"""An FTP server with one fault, run as a command of its own: what no real server does on purpose.

``python faulty_server.py ADDRESS PORT FAULT [NUMBER]``; the fault is one of FAULTS, which say what NUMBER is.
"""

from __future__ import annotations

import contextlib
import re
import socket
import sys
import threading
import time
from pathlib import Path

FAULTS = {
    "none": "serves well",
    "leak": "never closes a control connection, and has room for NUMBER of them",
    "stall": "sends half of each file and then nothing",
    "slow": "waits NUMBER ms before each file, as a slow disk does",
    "busy": "burns NUMBER ms of CPU for each file",
    "deaf": "stops listening after NUMBER sessions",
    "shy": "stops listening for 600 ms when NUMBER sessions have begun within a second, so that connects are refused",
    "reset": "answers with RST beyond NUMBER sessions at one time",
    "port-20": "connects from port 20 without SO_REUSEADDR in active mode",
    "port-20-again": "connects from port 20 with SO_REUSEADDR in active mode",
    "stranger": "refuses each password",
    "absent": "has no file",
}
FILE = bytes(1024)
LINGER_RST = b"\x01\x00\x00\x00\x00\x00\x00\x00"


class Server:
    """The listener, and what all sessions share."""

    def __init__(self, address: str, port: int, fault: str, number: int) -> None:
        self.at, self.fault, self.number = (address, port), fault, number
        self.lock = threading.Lock()
        self.open = self.begun = 0
        self.kept: list[socket.socket] = []
        self.listener = self.listen()

    def listen(self) -> socket.socket:
        return socket.create_server(self.at, backlog=1024)

    def serve(self) -> None:
        recent: list[float] = []
        while True:
            connection, _ = self.listener.accept()
            self.begun += 1
            threading.Thread(target=self.session, args=(connection,), daemon=True).start()
            now = time.monotonic()
            recent = [at for at in recent if now - at < 1.0] + [now]
            if self.fault == "shy" and len(recent) >= self.number:
                self.take_the_rest()
                self.listener.close()
                time.sleep(0.6)
                recent, self.listener = [], self.listen()
            if self.fault == "deaf" and self.begun >= self.number:
                self.listener.close()
                threading.Event().wait()

    def take_the_rest(self) -> None:
        """Serve whoever has been connected already, so that few are reset when the listener goes."""
        self.listener.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                connection, _ = self.listener.accept()
                connection.setblocking(True)
                threading.Thread(target=self.session, args=(connection,), daemon=True).start()

    def session(self, connection: socket.socket) -> None:
        with self.lock:
            self.open += 1
            full = self.open > self.number
        try:
            if self.fault == "reset" and full:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RST)
            elif self.fault == "leak" and full:
                connection.sendall(b"421 Too many connections\r\n")
            else:
                with contextlib.suppress(OSError):
                    Session(self, connection).run()
                if self.fault == "leak":
                    self.kept.append(connection)
                    return
            connection.close()
        finally:
            if self.fault != "leak" or full:
                with self.lock:
                    self.open -= 1


class Session:
    """One control connection."""

    def __init__(self, server: Server, connection: socket.socket) -> None:
        self.server, self.connection = server, connection
        self.passive: socket.socket | None = None
        self.active: tuple[str, int] | None = None

    def say(self, line: str) -> None:
        self.connection.sendall(line.encode() + b"\r\n")

    def run(self) -> None:
        self.say("220 ready")
        with self.connection.makefile("rb") as lines:
            for raw in lines:
                verb, _, rest = raw.decode().strip().partition(" ")
                if verb.upper() == "QUIT":
                    self.say("221 bye")
                    return
                self.answer(verb.upper(), rest)

    def answer(self, verb: str, rest: str) -> None:
        host = self.connection.getsockname()[0]
        match verb:
            case "USER":
                self.say("331 any password")
            case "PASS":
                self.say("530 Login incorrect." if self.server.fault == "stranger" else "230 in")
            case "TYPE" | "NOOP" | "OPTS":
                self.say("200 well")
            case "EPSV":
                if self.passive is not None:
                    self.passive.close()
                self.passive = socket.create_server((host, 0))
                self.say(f"229 Entering Extended Passive Mode (|||{self.passive.getsockname()[1]}|)")
            case "PORT":
                numbers = [int(number) for number in re.findall(r"\d+", rest)]
                self.active = (".".join(map(str, numbers[:4])), numbers[4] * 256 + numbers[5])
                self.say("200 PORT command successful")
            case "RETR":
                self.send_file(host)
            case _:
                self.say("502 not here")

    def send_file(self, host: str) -> None:
        server = self.server
        if server.fault == "absent":
            self.say("550 No such file.")
            return
        try:
            data = self.connect(host)
        except OSError as error:
            self.say(f"425 Can't build data connection: {error.strerror}.")
            return
        self.say("150 here it comes")
        with data:
            if server.fault == "stall":
                data.sendall(FILE[:512])
                threading.Event().wait()
            if server.fault == "slow":
                time.sleep(server.number / 1000)
            until = time.thread_time() + server.number / 1000
            while server.fault == "busy" and time.thread_time() < until:
                pass
            data.sendall(FILE)
        self.say("226 done")

    def connect(self, host: str) -> socket.socket:
        if self.active is None:
            assert self.passive is not None
            with self.passive as listener:
                self.passive = None
                return listener.accept()[0]
        data = socket.socket()
        try:
            if self.server.fault == "port-20-again":
                data.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self.server.fault.startswith("port-20"):
                data.bind((host, 20))
            data.connect(self.active)
        except OSError:
            data.close()
            raise
        return data


def command(fault: str, number: int = 0) -> list[str]:
    """Return `target.server.command` of a lab for this server."""
    return [sys.executable, str(Path(__file__).resolve()), "{address}", "{port}", fault, str(number)]


if __name__ == "__main__":
    address, port, fault = sys.argv[1:4]
    assert fault in FAULTS, fault
    Server(address, int(port), fault, int(sys.argv[4]) if len(sys.argv) > 4 else 0).serve()
