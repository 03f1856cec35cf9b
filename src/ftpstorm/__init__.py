"""ftpstorm: an FTP load generator and port-exhaustion reproducer that names what ran out."""

__version__ = "0.1.0"
