"""pyftpdlib as a program: ``python -m ftpstorm.lab.servers.pyftpdlib_server ORDER``, ORDER as python_servers writes it.

`settings` are attributes of its handler or of its server, such as ``timeout: "30"``; values are read as JSON where they
are JSON. With a certificate TLS is demanded on control and data; pyftpdlib cannot demand that sessions are resumed.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

from ftpstorm.lab.servers.settings import read_value


def main(order: Mapping[str, Any]) -> NoReturn:
    """Serve until the process is ended."""
    authorizers, handlers, servers = (
        importlib.import_module(f"pyftpdlib.{name}") for name in ("authorizers", "handlers", "servers")
    )
    authorizer = authorizers.DummyAuthorizer()
    authorizer.add_user(order["user"], order["password"], order["root"], perm="elradfmw")
    handler: Any = handlers.FTPHandler if order["certificate"] is None else handlers.TLS_FTPHandler
    handler.authorizer = authorizer
    if order["passive"] is not None:
        first, last = order["passive"]
        handler.passive_ports = range(first, last + 1)
    if order["certificate"] is not None:
        handler.certfile = handler.keyfile = order["certificate"]
        handler.tls_control_required = handler.tls_data_required = True
    extra = {} if order["backlog"] is None else {"backlog": order["backlog"]}
    server = servers.FTPServer((order["address"], order["port"]), handler, **extra)
    if order["max_clients"] is not None:
        server.max_cons = order["max_clients"]
    for name, text in order["settings"].items():
        owner = server if hasattr(server, name) else handler
        if not hasattr(owner, name):
            sys.exit(f"target.server.settings: pyftpdlib has no setting {name!r}, neither FTPHandler nor FTPServer")
        setattr(owner, name, read_value(text))
    server.serve_forever(handle_exit=False)
    sys.exit(0)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
