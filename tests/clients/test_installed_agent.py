"""The agent as its unit runs it: no root, with the two rights of root that the unit leaves it."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from mirror.installation.unit import Service
from testbed.agents import MODULE, Agent, Endpoints
from testbed.containerd import Containerd
from testbed.images import Image
from testbed.network import get
from testbed.processes import remove_folder

pytestmark = pytest.mark.clients

NOBODY = 65534


def as_the_unit_does(service: Service) -> Sequence[str]:
    """What the unit's user and capabilities come to, by setpriv."""
    rights = ",".join(["-all", *(f"+{right.removeprefix('CAP_').lower()}" for right in service.capabilities)])
    sets = [f"--{kind}={rights}" for kind in ("inh-caps", "ambient-caps", "bounding-set")]
    return ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs", *sets)


def test_two_rights_of_root_are_enough_to_share_what_containerd_holds(
    start_containerd: Callable[..., Containerd],
    make_image: Callable[..., Image],
    loopback: Callable[[], str],
    tmp_path: Path,
) -> None:
    containerd, image = start_containerd(), make_image("docker.io/library/made:1", [300_000])
    containerd.import_image(image)
    os.chmod(containerd.socket, 0o600)
    folder = tmp_path / "agent"
    folder.mkdir()
    os.chown(folder, NOBODY, NOBODY)
    service = Service(sys.executable, shares_containerd=True)
    agent = Agent(
        folder, "a", Endpoints.at(loopback()), ("--containerd", str(containerd.socket)),
        program=[*as_the_unit_does(service), *MODULE],
    )  # fmt: skip
    try:
        agent.start()
        (layer,) = image.layers
        sent = get(f"{agent.url}/v2/library/made/blobs/{layer}?ns=docker.io")
        assert sent == image.read(layer)
        assert {path.stat().st_uid for path in folder.rglob("*") if path != agent.folder / "agent.log"} == {NOBODY}
    finally:
        agent.kill()
        remove_folder(folder)
