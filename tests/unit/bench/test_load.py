"""The clients that put load on servers: when one gets nothing, the bench ends and says whose fault it is."""

from pathlib import Path

import pytest

from bench.load import Download, download
from bench.report import BenchError
from testbed.network import free_address
from testbed.servers import Server


def test_a_server_that_refuses_is_named(tmp_path: Path) -> None:
    nobody = free_address()
    server = Server("nginx", ["true"], nobody, tmp_path / "log")
    with pytest.raises(BenchError, match=rf"nginx at {nobody}, 3 clients: .*refused"):
        download(server, "/blob", 10, Download("3 clients", 3, 30))
