"""Benchmarks of the engine against C yardsticks and other FTP clients: `python -m bench.run`, or `make bench`."""
