"""A real Kubernetes for tests: `./dev kubernetes` runs them, for they take longer than the others together may.

They are skipped where its programs or the agent's image are not named.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from testbed.errors import RunError
from testbed.kubernetes.cluster import Cluster
from testbed.kubernetes.families import IPV4, Family
from testbed.kubernetes.programs import VARIABLE, Programs
from testbed.kubernetes.release import Release

IMAGE = "SKVALLER_TEST_IMAGE"
"""Names the archive with the agent's image."""

MEGABYTE = 1_000_000

_figures: list[str] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what was measured."""
    if _figures:
        terminalreporter.section("figures")
        for line in _figures:
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def figure() -> Callable[[str], None]:
    """Keep a line with a measurement, which is shown at the end."""
    return _figures.append


@pytest.fixture(scope="session")
def programs() -> Programs:
    """The programs of a Kubernetes."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    try:
        return Programs.find()
    except RunError as error:
        if VARIABLE in os.environ:
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def image() -> Path:
    """The archive with the agent's image."""
    if IMAGE not in os.environ:
        pytest.skip(f"{IMAGE} names no archive; `./dev image` makes one")
    # It is loaded from other folders than this one.
    path = Path(os.environ[IMAGE]).resolve()
    assert path.is_file(), f"{IMAGE}={path} is no file; `./dev image` makes one"
    return path


@contextmanager
def a_cluster(programs: Programs, families: Sequence[Family] = (IPV4,)) -> Iterator[Cluster]:
    """A Kubernetes without nodes yet, which exists inside of `with`."""
    folder = Path(tempfile.mkdtemp(prefix="skvaller-k-"))  # a short path, because of Unix sockets
    try:
        with ExitStack() as stack:
            yield Cluster(folder, programs, stack, families)
    finally:
        if not os.environ.get("KEEP"):
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def cluster(programs: Programs) -> Iterator[Cluster]:
    """A Kubernetes without nodes yet."""
    with a_cluster(programs) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def release(cluster: Cluster, image: Path) -> Release:
    """The chart, which is not installed yet."""
    return Release(cluster, image)


def files_below(folder: Path) -> dict[str, str]:
    """What a folder has: the digest of each file."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }
