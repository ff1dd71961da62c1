"""`skvaller demo`, as somebody runs it who has just cloned the project."""

import itertools
import os
import signal
import subprocess
from collections.abc import Callable
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


BALLAST_FILES = 20_000
"""So many files take so long to be removed that the moment is seen."""


ballasts: set[Path] = set()
"""Those that were put somewhere."""


def is_going(folder: Path) -> bool:
    """Whether the demo removes its folder; at first, something is put there that makes it take longer."""
    for inner in folder.iterdir():
        if (ballast := inner / "ballast") in ballasts:
            try:
                return len(os.listdir(ballast)) < BALLAST_FILES
            except FileNotFoundError:
                return True
        ballast.mkdir()
        for number in range(BALLAST_FILES):
            (ballast / str(number)).touch()
        ballasts.add(ballast)
    return False


MOMENTS: dict[str, Callable[[Path], bool]] = {
    "its folder is there": lambda folder: any(folder.iterdir()),
    "it makes the image": lambda folder: any(folder.glob("*/layer-2")),
    "it starts the second agent": lambda folder: len(agents_below(folder)) == 2,
    "an agent has fetched something": lambda folder: any(folder.glob("*/node2/cache/blobs/sha256/*/*")),
    "the newcomer has fetched something": lambda folder: any(folder.glob("*/node3/cache/blobs/sha256/*/*")),
    "its folder goes": is_going,
}


@pytest.mark.parametrize(("moment", "number"), list(zip(MOMENTS, itertools.cycle([signal.SIGINT, signal.SIGTERM]))))
def test_a_signal_at_any_moment_leaves_nothing_either(tmp_path: Path, moment: str, number: signal.Signals) -> None:
    command = skvaller("demo", "--nodes", "2", "--size", "64MiB", TMPDIR=str(tmp_path))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as demo:
        try:
            wait_until(lambda: MOMENTS[moment](tmp_path), moment, 60)
            demo.send_signal(number)
            output, complaint = demo.communicate(timeout=60)
        finally:
            demo.kill()

    assert demo.returncode in (128 + number, -number), output.decode()
    assert complaint == b""
    assert not agents_below(tmp_path)
    assert not list(tmp_path.iterdir())
