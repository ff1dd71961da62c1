"""Who has a port is named, by what the kernel says."""

import os
import socket

from mirror.doctor.holders import holder_of


def test_the_process_that_listens_is_named_over_tcp_and_over_udp() -> None:
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        ports = tcp.getsockname()[1], udp.getsockname()[1]
        holders = holder_of(ports[0], "tcp"), holder_of(ports[1], "udp")
    assert [it and it.pid for it in holders] == [os.getpid(), os.getpid()]
    assert f"process {os.getpid()} (" in str(holders[0])
    assert holder_of(ports[0], "tcp") is None
