"""pyftpdlib as a program of its own: PORT FIRST-LAST FOLDER [CHAIN KEY]. With a certificate TLS is demanded."""

from __future__ import annotations

import sys

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler, TLS_FTPHandler
from pyftpdlib.servers import FTPServer


def main(port: str, passive: str, folder: str, chain: str | None = None, key: str | None = None) -> None:
    """Serve until the process is ended."""
    authorizer = DummyAuthorizer()
    authorizer.add_user("storm", "secret", folder, perm="elradfmw")
    handler = FTPHandler if chain is None else TLS_FTPHandler
    handler.authorizer = authorizer
    first, last = passive.split("-")
    handler.passive_ports = range(int(first), int(last) + 1)
    if chain is not None:
        handler.certfile, handler.keyfile = chain, key
        handler.tls_control_required = handler.tls_data_required = True
    FTPServer(("127.0.0.1", int(port)), handler, backlog=1024).serve_forever()


main(*sys.argv[1:])
