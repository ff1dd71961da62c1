"""What an agent that nobody asks for anything has loaded, and what it keeps of memory that it gave back."""

import os
import subprocess
import sys

import pytest

UNNEEDED = (
    *("grpc", "google.protobuf", "yaml", "tomlkit", "rich", "jinja2", "markdown_it", "pygments", "libp2p", "trio"),
    *("mirror.archives", "mirror.demo", "mirror.doctor.checks", "mirror.installation", "mirror.runtimes.known"),
    *("mirror.runtimes.k3s", "mirror.runtimes.podman", "uvicorn.lifespan.on", "websockets", "sqlite3", "unittest"),
)
"""Modules that took memory in an agent, or would, and that it needs for nothing while it waits."""
MODULES_MAX = 960
"""How many modules it may load, with those of Python itself; it had 913 when this was written, and 974 before."""
LOADED = """
import sys
import mirror.cli.agent, mirror.agent, mirror.doctor.last_words, mirror.logs, mirror.malloc
import mirror.stores.containerd, mirror.runtimes.repair, uvloop
print(*sys.modules)
"""
FREED = """
import threading
from mirror.malloc import MAPPED_BYTES, give_back, keep_little

def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))

assert keep_little()
before = resident()

def work():
    kept = [bytearray(MAPPED_BYTES + 1) for _ in range(100)]
    small = [bytearray(100_000) for _ in range(100)]
    del kept, small

threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
give_back()
print(resident() - before)
"""


def run(program: str) -> str:
    """Run it as an agent runs: Python's development mode has another way to ask for memory."""
    plainly = {name: value for name, value in os.environ.items() if name not in ("PYTHONDEVMODE", "PYTHONMALLOC")}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=plainly).stdout


def test_an_agent_loads_nothing_that_it_needs_for_other_commands_alone() -> None:
    pytest.importorskip("h2", reason="the extra containerd is not installed")
    loaded = set(run(LOADED).split())
    assert not loaded.intersection(UNNEEDED), "load it where it is used, or name here why every agent needs it"
    assert len(loaded) <= MODULES_MAX, "each module takes some 50 KiB of every node"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts as Linux does")
def test_what_threads_gave_back_is_the_kernels_again() -> None:
    """By itself glibc keeps some MiB of each thread's heap, and now and then some in the midst of a common one."""
    assert int(run(FREED)) < 1024
