"""A certificate for one server and one run, made by the openssl program. It signs itself: its own authority."""

from __future__ import annotations

import ipaddress
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ftpstorm.errors import EnvironmentUnavailableError

DAYS: Final = 7
MADE_WITHIN_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM files."""

    certificate: Path
    """The certificate: what the server shows, and what clients must trust."""
    pair: Path
    """Key and certificate in one file that its owner alone may read."""


def make_certificate(folder: Path, names: Sequence[str]) -> Certificate:
    """Write a key and a certificate for `names`, addresses or host names, into `folder`.

    Raises EnvironmentUnavailableError where openssl is missing or does not do it.
    """
    made = Certificate(folder / "certificate.pem", folder / "pair.pem")
    key = folder / "key.pem"
    alternatives = ",".join(f"{'IP' if _is_address(name) else 'DNS'}:{name}" for name in names)
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", str(DAYS)]
    command += ["-subj", "/CN=FTP server of a lab", "-addext", f"subjectAltName={alternatives}"]
    command += ["-addext", "keyUsage=critical,digitalSignature,keyEncipherment,keyCertSign"]
    command += ["-keyout", str(key), "-out", str(made.certificate)]
    try:
        subprocess.run(command, capture_output=True, text=True, timeout=MADE_WITHIN_S, check=True)
    except FileNotFoundError:
        raise EnvironmentUnavailableError(
            "target.server.tls: the program openssl, which makes the certificate, is not on this system; "
            "`apt-get install openssl`"
        ) from None
    except subprocess.CalledProcessError as error:
        raise EnvironmentUnavailableError(
            f"target.server.tls: openssl made no certificate: {error.stderr.strip()[-500:]}"
        ) from None
    made.pair.touch(mode=0o600)
    made.pair.write_text(key.read_text(encoding="ascii") + made.certificate.read_text(encoding="ascii"))
    return made


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
