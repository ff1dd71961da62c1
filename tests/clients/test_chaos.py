"""A short chaos over a small cluster: no client sees a wrong byte, nor an error that what was done does not excuse."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.processes import clean_environment
from tests.clients.conftest import need

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]

_RUN = f"import sys; sys.path.append({str(Path(__file__).parents[2])!r}); from bench.__main__ import main; main()"
"""Runs the bench of the checkout with the packages that are installed."""
_CHAOS = ("lab", "chaos", "--nodes", "3", "--minutes", "0.3", "--seed", "11", "--key")
"""About 30 faults and 700 questions. Longer ones find more: CONTRIBUTING.md says when to run one."""


def test_a_cluster_to_which_everything_happens_serves_nothing_wrong(tmp_path: Path) -> None:
    need("ip", "tc", "nft", "docker-registry", "skopeo", "setpriv", "containerd")
    figures = tmp_path / "figures.json"
    command = [sys.executable, "-c", _RUN, *_CHAOS, "--json", str(figures), "--keep-logs", str(tmp_path / "logs")]

    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, timeout=280, check=False)

    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    found = json.loads(figures.read_text())
    assert found["defects"] == []
    assert sum(found["faults"].values()) > 15, "hardly anything was done"
    assert sum(found["reads"].values()) > 200, "hardly anything was asked"
