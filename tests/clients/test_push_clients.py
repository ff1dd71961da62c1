"""Programs that people push with, against agents without any registry; and the specification's suite for that."""

import json
import os
import subprocess
import xml.etree.ElementTree as ET
from base64 import b64encode
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.error import HTTPError

import pytest

from testbed.agents import Agent, skvaller
from testbed.errors import RunError
from testbed.images import Image
from testbed.network import Network
from testbed.processes import missing, run, wait_until
from tests.clients.conftest import need
from tests.clients.pulling import Client
from tests.clients.test_conformance import suite  # noqa: F401 - a fixture

pytestmark = [pytest.mark.clients, pytest.mark.timeout(420)]

SKOPEO = ("skopeo", "--insecure-policy", "copy", "--quiet", "--preserve-digests")


def test_skopeo_and_podman_push_to_one_agent_and_what_they_pushed_is_pulled_from_another(
    tmp_path: Path,
    loopback: Callable[[], str],
    make_image: Callable[..., Image],
    start_agent: Callable[..., Agent],
) -> None:
    need("skopeo")
    image = make_image("docker.io/lab/app:v1", [10_000, 3_000_000], compress=True)
    a = start_agent("a", loopback(), "--offline", "all", "--push", "local")
    b = start_agent("b", loopback(), "--offline", "all", "--join", a.gossip)

    run([*SKOPEO, "--dest-tls-verify=false", f"oci:{image.layout}", f"docker://{a.address}/lab/app:v1"])
    wait_until(lambda: _has_tag(b, "lab/app", "v1"), "b to know the tag")
    assert Client(b).pull("lab/app:v1") == image.manifest

    back = tmp_path / "back"
    run([*SKOPEO, "--src-tls-verify=false", f"docker://{b.address}/lab/app:v1", f"oci:{back}:v1"])
    assert json.loads((back / "index.json").read_text())["manifests"][0]["digest"] == image.manifest

    if not missing("podman"):
        with TemporaryDirectory(prefix="pod-", ignore_cleanup_errors=True) as folder:  # podman wants a short path
            podman = ["podman", "--root", f"{folder}/root", "--runroot", f"{folder}/run", "--storage-driver=vfs"]
            run([*podman, "pull", "--quiet", f"oci:{image.layout}"])
            name = run([*podman, "images", "--quiet"]).split()[0]
            run([*podman, "push", "--quiet", "--tls-verify=false", name, f"{a.address}/lab/pod:v1"])
        wait_until(lambda: _has_tag(b, "lab/pod", "v1"), "b to know what podman pushed")

    run(["skopeo", "delete", "--tls-verify=false", f"docker://{a.address}/lab/app:v1"])
    wait_until(lambda: not _has_tag(b, "lab/app", "v1"), "b to know that the tag is gone")


def _has_tag(agent: Agent, repository: str, tag: str) -> bool:
    with suppress(HTTPError):
        return tag in json.loads(agent.get(f"/v2/{repository}/tags/list"))["tags"]
    return False


def test_skopeo_pushes_from_another_machine_with_a_password_that_a_key_made(
    tmp_path: Path, make_image: Callable[..., Image], start_agent: Callable[..., Agent]
) -> None:
    need("skopeo", "ip", "setpriv")
    image = make_image("docker.io/lab/app:v1", [10_000])
    key = tmp_path / "key"
    key.touch(0o600)
    key.write_bytes(b64encode(bytes(range(32))) + b"\n")
    with ExitStack() as stack:
        network = Network(stack)
        node, elsewhere = network.host("node"), network.host("elsewhere")
        flags = ["--offline", "all", "--push", "key", "--key-file", str(key)]
        agent = start_agent("a", node.address, *flags, netns=node.netns)
        password = run(skvaller("token", "--key-file", str(key), "--for", "10m")).strip()
        push = [*SKOPEO, "--dest-tls-verify=false", f"oci:{image.layout}", f"docker://{agent.address}/lab/app:v1"]
        with pytest.raises(RunError, match="was not made with a key of this cluster"):
            run([*push, "--dest-creds", "x:wrong"], netns=elsewhere.netns)
        with pytest.raises(RunError, match=r"log in to push|authentication required|unauthorized"):
            run(push, netns=elsewhere.netns)
        run([*push, "--dest-creds", f"x:{password}"], netns=elsewhere.netns)
        assert Client(agent).pull("lab/app:v1") == image.manifest


def test_the_suite_of_the_specification_is_content_with_what_is_pushed_and_deleted(
    suite: Path,  # noqa: F811
    tmp_path: Path,
    loopback: Callable[[], str],
    start_agent: Callable[..., Agent],
) -> None:
    agent = start_agent("a", loopback(), "--offline", "all", "--push", "local")
    told = {
        "OCI_ROOT_URL": agent.url,
        "OCI_NAMESPACE": "library/app",
        "OCI_CROSSMOUNT_NAMESPACE": "library/other",
        "OCI_REPORT_DIR": str(tmp_path),
        **{f"OCI_TEST_{workflow}": "1" for workflow in ("PULL", "PUSH", "CONTENT_DISCOVERY", "CONTENT_MANAGEMENT")},
    }

    done = subprocess.run([suite], cwd=tmp_path, env=os.environ | told, capture_output=True, timeout=60, check=False)

    assert done.returncode == 0, done.stdout.decode()[-6000:]
    results = ET.parse(tmp_path / "junit.xml").getroot().iter("testcase")
    statuses = Counter(case.get("status") for case in results)
    assert statuses["passed"] >= 74, statuses
