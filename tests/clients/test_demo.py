"""`skvaller demo`, as somebody runs it who has just cloned the project."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from testbed.agents import skvaller
from testbed.processes import wait_until

pytestmark = pytest.mark.timeout(120)


def agents_below(folder: Path) -> list[str]:
    """The agents on this machine whose data is in a folder."""
    commands = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            commands.append(process.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return [command for command in commands if " agent " in command and str(folder) in command]


@pytest.fixture
def demo(tmp_path: Path) -> list[str]:
    """The command, with a folder of its own for temporary folders."""
    return skvaller("demo", "--size", "8MiB", TMPDIR=str(tmp_path), COLUMNS="80")


def test_every_byte_leaves_upstream_once_for_all_and_nothing_is_left(demo: list[str], tmp_path: Path) -> None:
    ended = subprocess.run(demo, capture_output=True, text=True, timeout=100, check=False)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stderr == ""
    assert "1.000 x" in ended.stdout
    assert " MB" not in ended.stdout
    assert "bytes of" not in ended.stdout
    assert all(len(line) <= 80 for line in ended.stdout.splitlines())
    rows = [line.split() for line in ended.stdout.splitlines()]
    pulls = [(row[0], row[1]) for row in rows if row and row[0] in ("1", "2")]
    assert pulls == [("1", "node1"), ("1", "node2"), ("1", "node3"), ("2", "node2"), ("2", "node3"), ("2", "node4")]
    assert not agents_below(tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_interrupt_leaves_nothing_either(demo: list[str], tmp_path: Path) -> None:
    running = subprocess.Popen(demo, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        wait_until(lambda: len(agents_below(tmp_path)) > 1, "the demo to start agents")
        os.kill(running.pid, signal.SIGINT)
        output, _ = running.communicate(timeout=60)
    finally:
        running.kill()
        running.wait()

    assert running.returncode == 130, output.decode()
    assert not agents_below(tmp_path)
    assert not list(tmp_path.iterdir())
