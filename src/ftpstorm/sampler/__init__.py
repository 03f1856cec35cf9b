"""What the kernel and the processes did while the load ran: counters, sockets, ports, CPU, each at its own pace.

The sampler is one process of its own, so that it takes no turn on a loop that makes load. It reads and writes down;
it knows nothing of the theory, and it decides nothing about the run.
"""
