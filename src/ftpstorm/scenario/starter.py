"""The file that `ftpstorm init` writes: a scenario that runs as it is and explains itself."""

from __future__ import annotations

import re
from typing import Final

from ftpstorm.errors import UsageError

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")

_TEXT: Final = """\
# What it shows   Replace this with one sentence: what a reader learns from a run.
# Expect          What the summary says when it works.
# How long        10 s, and a few seconds for the report
# Privileges      none
#
# Check it with   ftpstorm validate {name}.yaml
# Run it with     ftpstorm run {name}.yaml
version: 1
name: {name}
description: Five downloads a second from the embedded server.

target:
  emulator:                       # the embedded FTP server; nothing else has to run
    passive_ports: 100            # size of its pool of data ports
    hold: {{for: 1s, after: any-close}}   # how long a used port stays taken; TIME_WAIT is 60s to 240s
  # A server of your own instead (anything but this host also needs --allow-target and a `guard:`):
  # host: 127.0.0.1
  # port: 21
  # user: anonymous
  # password_env: FTP_PASSWORD    # the variable that holds it; a scenario never holds a password

flows:
  download:                       # what one session does
    steps:
      - login
      - retr: small.bin           # long form: retr: {{file: small.bin, mode: pasv, close: {{first: natural}}}}
      - think: 100ms
      - repeat:
          times: 2
          steps:
            - list
      - quit
    on_failure: continue          # or end-session, or {{retry: {{on: [425, 421], times: 3, wait: 2s..30s}}}}

files:
  small.bin: 4KiB                 # what the embedded server offers

load:
  steady:
    executor: constant-arrival-rate   # or burst, constant-sessions, shared-iterations
    rate: 5/s                     # sessions started; a rate, a size and a duration always have a unit
    duration: 10s
    max_sessions: 50              # an arrival beyond is counted as dropped, never delayed
    flow: download

expect:                           # what makes the run a success; exit code 99 where it does not hold
  cause: none
  failures: {{any: "count==0"}}

thresholds:
  "data_connect{{load:steady}}": "p(99)<100ms"

variants:
  crowded:                        # ftpstorm run {name}.yaml --variant crowded
    description: Three data ports, so most transfers find none free
    set: {{target.emulator.passive_ports: 3}}
    expect: {{cause: server-passive-pool, failures: {{passive-exhausted: "count>0"}}}}
"""


def starter_scenario(name: str) -> str:
    """Return the YAML text of a commented scenario called `name`, which validates as it is.

    Raises UsageError for a name that is not lower-case letters, digits and hyphens, at most 64.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no scenario name; use lower-case letters, digits and hyphens, at most 64")
    return _TEXT.format(name=name)
