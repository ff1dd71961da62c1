"""The conformance suite of the OCI distribution specification, as far as it is about reading, against an agent."""

import os
import shutil
import subprocess
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed.agents import Agent
from testbed.registry import Registry
from tests.clients.conftest import need
from tests.clients.halves import halves

pytestmark = [pytest.mark.clients, pytest.mark.timeout(420)]

_SUITE = "github.com/opencontainers/distribution-spec/conformance"
_MODULE = Path(__file__).with_name("conformance")
"""Names the version of the suite, and what it is made of, by hash."""
_BUILD_S = 300
"""How long building may take, s. With nothing in Go's cache it takes a minute on two cores."""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """The suite as a program."""
    if shutil.which("go") is None:
        pytest.skip("not installed: go, which builds the suite")
    module, program = tmp_path / "module", tmp_path / "suite"
    shutil.copytree(_MODULE, module)
    environment = os.environ | {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly"}
    ready = subprocess.run(["go", "mod", "download"], cwd=module, env=environment, capture_output=True, check=False)
    if ready.returncode:
        pytest.skip(f"what the suite is made of cannot be had: {ready.stderr.decode().strip()[-500:]}")
    build = ["go", "test", "-c", "-vet=off", "-ldflags=-w", "-o", str(program), _SUITE]
    subprocess.run(build, cwd=module, env=environment, timeout=_BUILD_S, check=True)
    return program


def test_the_suite_of_the_specification_is_content_with_what_it_reads(
    suite: Path,
    tmp_path: Path,
    loopback: Callable[[], str],
    start_registry: Callable[..., Registry],
    start_agent: Callable[..., Agent],
) -> None:
    """What the suite pulls, and the tags and referrers that it looks for, it has put into the registry before."""
    need("docker-registry", "skopeo")
    registry = start_registry()
    agent = start_agent("a", loopback(), "--upstream", f"docker.io=http://{registry.address}")
    told = {
        "OCI_NAMESPACE": "library/app",
        "OCI_TEST_PULL": "1",
        "OCI_TEST_CONTENT_DISCOVERY": "1",
        "OCI_REPORT_DIR": str(tmp_path),
    }

    with halves(registry.address, agent.address) as url:
        environment = os.environ | told | {"OCI_ROOT_URL": url}
        done = subprocess.run([suite], cwd=tmp_path, env=environment, capture_output=True, timeout=60, check=False)

    assert done.returncode == 0, done.stdout.decode()[-6000:]
    results = ET.parse(tmp_path / "junit.xml").getroot().iter("testcase")
    statuses = Counter(
        (workflow, case.get("status"))
        for case in results
        for workflow in (" Pull ", " Content Discovery ")
        if workflow in f" {case.get('name')} "
    )
    assert statuses[" Pull ", "passed"] >= 20, statuses
    assert statuses[" Content Discovery ", "passed"] >= 12, statuses
