"""aioftp's own server as a program: ``python -m ftpstorm.lab.servers.aioftp_server ORDER``, ORDER as python_servers
writes it.

Unlike the emulator this is aioftp.Server as it comes, with its one passive port for each control connection. `settings`
are arguments of its constructor, such as ``idle_timeout: "30"``; values are read as JSON where they are JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aioftp

from ftpstorm.lab.servers.settings import read_value


async def main(order: Mapping[str, Any]) -> None:
    """Serve until the process is ended."""
    user = aioftp.User(base_path=Path(order["root"]))
    ports = None if order["passive"] is None else range(order["passive"][0], order["passive"][1] + 1)
    settings = {name: read_value(text) for name, text in order["settings"].items()}
    try:
        server = aioftp.Server([user], data_ports=ports, maximum_connections=order["max_clients"], **settings)
    except TypeError as error:
        sys.exit(f"target.server.settings: aioftp.Server does not take them: {error}")
    extra = {} if order["backlog"] is None else {"backlog": order["backlog"]}
    await server.start(order["address"], order["port"], **extra)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
