"""Real FTP servers in the lab: found, configured, started in their namespace, and ended with all that they started.

`start_server` is the whole interface, whichever server it is. Which settings a server has stands in
`ftpstorm.scenario.target`; who uses it, and what for, is left to others.
"""

from ftpstorm.lab.servers.programs import find_program as find_program
from ftpstorm.lab.servers.programs import why_missing as why_missing
from ftpstorm.lab.servers.running import RunningServer as RunningServer
from ftpstorm.lab.servers.starting import start_server as start_server
