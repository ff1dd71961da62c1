"""Addresses that are taken are named before an agent is installed that could not start."""

import os
import socket

from mirror.config import load
from mirror.installation.ports import taken


def test_each_setting_whose_address_is_taken_is_named_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        ports = {"peer": tcp.getsockname()[1], "gossip": udp.getsockname()[1]}
        flags = {name: f"127.0.0.1:{port}" for name, port in ports.items()} | {"listen": ["unix:/run/x.sock"]}
        problems = taken(load(flags, {}, None))
    assert [problem.partition(":")[0] for problem in problems] == ["peer", "gossip"]
    assert all("give --" in problem and f"process {os.getpid()} " in problem for problem in problems)
