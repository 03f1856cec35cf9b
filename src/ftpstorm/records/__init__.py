"""The one format of results/: written as spools by the processes that measure, read back as tables by the report."""
