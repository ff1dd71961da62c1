"""The protocol without I/O: no sockets, clocks or unseeded randomness.

The owner of a `Node` feeds it datagrams and time, and sends what it asks for. A run is a function of its inputs.
"""
