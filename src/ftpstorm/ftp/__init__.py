"""Sans-IO codecs of RFC 959 and RFC 2428: bytes in, values out. No sockets, no clocks, bounded memory."""
