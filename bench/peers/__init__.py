"""Other FTP clients on the same jobs, each as fast as its public interface allows and with nothing recorded.

They run in an environment of their own (bench/requirements.txt). What they say on the wire beyond the C client's
commands is their nature and stands in each module's docstring.
"""
