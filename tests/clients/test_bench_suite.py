"""The smallest suite of benches: every mode that is there works, its page is made, and Ctrl-C leaves nothing."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from bench.page.results import read_folder
from bench.suite.steps import Rivals, plan
from testbed.network import PREFIX
from testbed.processes import clean_environment, wait_until
from tests.clients.conftest import need

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]

_ROOT = Path(__file__).parents[2]
_NEEDED = ("ip", "tc", "nft", "docker-registry", "setpriv")


@pytest.fixture
def environment(tmp_path: Path) -> Mapping[str, str]:
    """Finds the benches of the checkout, and the packages that are installed, not those of the checkout."""
    path = tmp_path / "path"
    path.mkdir()
    for package in ("bench", "testbed"):
        (path / package).symlink_to(_ROOT / package)
    return {
        **clean_environment(),
        "PYTHONPATH": os.pathsep.join(filter(None, (f"{path}", os.environ.get("PYTHONPATH")))),
    }


def suite(folder: Path) -> list[str]:
    return [sys.executable, "-m", "bench", "all", "--smoke", "--folder", f"{folder}"]


def test_the_smallest_suite_ends_well_and_makes_its_page(tmp_path: Path, environment: Mapping[str, str]) -> None:
    need(*_NEEDED)
    folder = tmp_path / "results"

    done = subprocess.run(suite(folder), env=environment, capture_output=True, text=True, timeout=280, check=False)

    logs = "\n".join(path.read_text() for path in sorted(folder.glob("*.log")))
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{logs}"
    results = read_folder(folder)
    assert set(results) == {step.name for step in plan("smoke", Rivals())}
    for name, result in results.items():
        wanted = {word for before, word in zip(result.command, result.command[1:], strict=False) if before == "--mode"}
        assert {run.mode for run in result.runs} == wanted, f"{name} has not measured what was asked for"
        assert all(run.figures.get("client_errors", 0) == 0 for run in result.runs)
    page = (folder / "report.html").read_text()
    assert all(name in page for name in results)
    assert "<svg" in page

    again = subprocess.run(suite(folder), env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert f"0 of {len(results)} steps to run" in again.stdout


def test_ctrl_c_leaves_nothing(tmp_path: Path, environment: Mapping[str, str]) -> None:
    need(*_NEEDED)
    folder = tmp_path / "results"
    process = subprocess.Popen(suite(folder), env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    step = 0

    def has_namespaces() -> bool:
        nonlocal step
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        step = int(children[0]) if children else 0
        return bool(step and namespaces(step))

    try:
        wait_until(has_namespaces, "a step to make its network", 60)
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 1
    finally:
        process.kill()
        process.communicate()
    assert namespaces(step) == []
    assert not Path(f"/proc/{step}").exists()
    assert [path.name for path in folder.iterdir() if path.suffix in (".part", ".json")] == []


def namespaces(step: int) -> list[str]:
    """Those that a step has made."""
    return [path.name for path in Path("/run/netns").glob(f"{PREFIX}{step}-*")]
