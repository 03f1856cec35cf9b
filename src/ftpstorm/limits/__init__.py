"""The theory: what bounds the path between an FTP client and a server, as equations with units and sources. Pure."""
