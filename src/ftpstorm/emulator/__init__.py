"""The embedded FTP server: built on aioftp.Server, with the faults of the old stories and a pool that it publishes."""
