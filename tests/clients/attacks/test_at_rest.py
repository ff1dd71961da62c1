"""Rot and meddling at rest: bytes on a node's disk change after they were checked.

What must hold: no client gets a wrong byte, whatever happened to the file; the node notices by itself, drops what is
wrong, brings it anew unseen by the client, and nothing that is right is lost.
"""

import os
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from testbed.agents import Agent
from testbed.containerd import Containerd
from testbed.images import Image
from testbed.processes import remove_folder, wait_until
from tests.clients.attacks.attackers import (
    MEBIBYTE,
    ask_locally,
    is_right,
    is_wrong,
    manifest_path,
    pull_blob,
    request,
    until_right,
)
from tests.clients.attacks.conftest import Site

pytestmark = [pytest.mark.clients, pytest.mark.timeout(120)]

SIZE = 3 * MEBIBYTE


@pytest.fixture(scope="module")
def agent(site: Site) -> Agent:
    return site.agent("a")


@pytest.fixture
def image(site: Site, agent: Agent) -> Image:
    """One that the agent has pulled."""
    image = site.image("rest", SIZE)
    for digest in (image.config, *image.layers):
        assert is_right(pull_blob(agent, digest), digest)
    wait_until(lambda: agent.has_cached(image.layers[0]), "the layer to be in the cache")
    return image


def cached(agent: Agent, digest: str) -> Path:
    """The file of a blob in the agent's cache."""
    name = digest.removeprefix("sha256:")
    return agent.folder / "cache/blobs/sha256" / name[:2] / name


def rot(path: Path, *, place: int = SIZE // 2) -> None:
    """Change one bit on the disk, much as a bad disk does: mtime stays, and the page cache forgets the file.

    ctime changes, which no program can prevent. Rot that leaves it as it is happens in the unit tests of the checker.
    """
    status = path.stat()
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    path.chmod(status.st_mode & 0o777)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def overwrite(path: Path) -> None:
    """Change a byte as a person with an editor does."""
    content = bytearray(path.read_bytes())
    content[SIZE // 2] ^= 255
    path.write_bytes(content)


def truncate(path: Path) -> None:
    os.truncate(path, SIZE // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def replace(path: Path) -> None:
    """Put another file of the same length in its place."""
    other = path.with_name("other")
    other.write_bytes(os.urandom(path.stat().st_size))
    other.replace(path)


def link(path: Path) -> None:
    """Put a link to another file of the same length in its place."""
    secret = path.parents[4] / "secret"
    secret.write_bytes(os.urandom(path.stat().st_size))
    path.unlink()
    path.symlink_to(secret)


FAULTS = [rot, overwrite, truncate, empty, replace, link]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_client_gets_right_bytes_from_a_file_that_changed(
    fault: Callable[[Path], None], agent: Agent, image: Image
) -> None:
    """Rot wants to reach this node's own client: it gets the right bytes at once, and the file is right again."""
    layer = image.layers[0]
    fault(cached(agent, layer))
    got = pull_blob(agent, layer)
    assert not is_wrong(got, image.read(layer)), "wrong bytes"
    assert is_right(got, layer), f"cut short after {len(got.body)} bytes"
    wait_until(lambda: _is_whole(cached(agent, layer), image.read(layer)), "the file to be right again")
    assert is_right(pull_blob(agent, layer), layer)


def _is_whole(path: Path, expected: bytes) -> bool:
    return path.is_file() and not path.is_symlink() and path.read_bytes() == expected


@pytest.mark.parametrize("fault", [rot, overwrite])
def test_a_ranged_reader_never_gets_wrong_bytes(fault: Callable[[Path], None], agent: Agent, image: Image) -> None:
    """Rot wants to reach a client that reads by range: the range that has it, and those beside it."""
    layer, place = image.layers[0], SIZE // 2
    fault(cached(agent, layer))
    for start, stop in ((place - 10, place + 10), (place, place), (0, 99), (place + 1, SIZE)):
        got = pull_blob(agent, layer, wanted=f"bytes={start}-{stop}")
        assert not is_wrong(got, image.read(layer)[start : stop + 1])
        assert got.complete
        assert got.status == 206


def test_what_rots_while_upstream_is_away_is_never_given_out(site: Site, agent: Agent, image: Image) -> None:
    """Rot with nobody to repair it: a short answer or an error, and the right bytes once upstream is back."""
    layer = image.layers[0]
    rot(cached(agent, layer))
    site.upstream.stop()
    try:
        for _ in range(2):
            assert not is_wrong(pull_blob(agent, layer), image.read(layer))
    finally:
        site.upstream.start()
    until_right(agent, layer)


def test_what_rots_while_the_agent_is_away_is_found(site: Site, agent: Agent, image: Image) -> None:
    """Rot between two runs of the agent, of a blob that it has checked in the run before."""
    layer = image.layers[0]
    agent.kill()
    rot(cached(agent, layer))
    agent.start()
    got = pull_blob(agent, layer)
    assert not is_wrong(got, image.read(layer))
    until_right(agent, layer)


def test_every_file_beside_the_blobs_may_rot(site: Site, agent: Agent, image: Image) -> None:
    """Rot in what the node remembers beside content: tags, records, journals. It starts, and says nothing wrong."""
    assert ask_locally(agent, request(manifest_path("rest"))).body
    meant = ask_locally(agent, request(manifest_path("rest"))).headers["docker-content-digest"]
    agent.stop()
    for path in sorted(agent.folder.rglob("*")):
        if path.is_file() and path.suffix != ".log" and path.stat().st_size:
            rot(path, place=path.stat().st_size // 3)
    site.upstream.stop()
    try:
        agent.start()
        for what in ("rest", image.manifest):
            got = ask_locally(agent, request(manifest_path(what)))
            if got.status == 200:
                assert got.headers["docker-content-digest"] == meant, "another image under the same tag"
                assert got.body == image.read(image.manifest)
        for digest in (image.config, *image.layers):
            assert not is_wrong(pull_blob(agent, digest), image.read(digest))
    finally:
        site.upstream.start()
    for digest in (image.config, *image.layers):
        until_right(agent, digest)
    assert "Traceback" not in agent.output


def test_a_cache_folder_that_somebody_removes_while_the_agent_runs_is_made_anew(agent: Agent, image: Image) -> None:
    for _ in range(2):
        remove_folder(agent.folder / "cache")
        until_right(agent, image.layers[0])
        wait_until(lambda: agent.has_cached(image.layers[0]), "the layer to be in the cache")
        assert ask_locally(agent, request("/readyz")).body == b"ready\n"
    assert "made anew" in agent.output


def test_links_in_the_data_folder_lead_nowhere_else(site: Site, image: Image) -> None:
    """Somebody who may write to the folder while the agent is down wants it to write, or delete, elsewhere."""
    victim = site.folder / "precious"
    victim.mkdir(exist_ok=True)
    (victim / "file").write_bytes(b"precious")
    agent = site.agent("linked")
    agent.stop()
    name = image.layers[0].removeprefix("sha256:")
    spool = agent.folder / "cache/spool"
    spool.mkdir(parents=True, exist_ok=True)
    for suffix in ("", ".pieces", ".part", ".data"):
        (spool / f"{name}{suffix}").unlink(missing_ok=True)
        (spool / f"{name}{suffix}").symlink_to(victim / "file")
    place = agent.folder / "cache/blobs/sha256" / name[:2]
    place.mkdir(parents=True, exist_ok=True)
    os.link(victim / "file", place / name)
    agent.start()
    until_right(agent, image.layers[0])
    assert (victim / "file").read_bytes() == b"precious"
    agent.stop()


def test_a_holder_that_rots_heals_itself(site: Site, agent: Agent, image: Image) -> None:
    """A member pulls from a node whose file has rotted: it gets the right image, and the node repairs its copy."""
    layer = image.layers[0]
    member = site.agent("member", "--home", "never", join=[agent])
    member.until_found(layer, agent.name)
    rot(cached(agent, layer))
    until_right(member, layer)
    wait_until(
        lambda: not cached(agent, layer).exists() or cached(agent, layer).read_bytes() == image.read(layer),
        "the holder to drop its copy, or to repair it",
        40,
    )
    assert is_right(pull_blob(agent, layer), layer)
    tries = count()

    def is_asked_again() -> bool:
        """Whether the honest holder is taken for one: it broke off a moment ago, and is left alone for as long."""
        layer = site.image(f"after-{next(tries)}", SIZE).layers[0]
        assert is_right(pull_blob(agent, layer), layer)
        member.until_found(layer, agent.name)
        return is_right(pull_blob(member, layer), layer) and "upstream" not in member.sources(layer)

    wait_until(is_asked_again, "the member to ask the holder again")
    member.stop()


def test_what_rots_in_containerd_is_not_served(site: Site) -> None:
    """Rot in containerd's own store, with a runtime's usual check at its pull long past."""
    image = site.unpublished("in-containerd", SIZE)
    host = site.host("with-containerd")
    short = Path("/tmp") / f"attack-{os.getpid()}"
    containerd = site.stack.enter_context(Containerd(short, host.netns))
    site.stack.callback(remove_folder, short)
    containerd.import_image(image, namespace="default")
    agent = site.agent("with-containerd", "--containerd", str(containerd.socket), "--containerd-namespace", "default")
    layer = image.layers[0]
    wait_until(lambda: agent.holders(layer) == {agent.name}, "the agent to see what containerd has")
    rot(containerd.blob_path(layer))
    assert not is_wrong(pull_blob(agent, layer), image.read(layer))
    rot(containerd.blob_path(image.manifest), place=50)
    got = ask_locally(agent, request(manifest_path(image.manifest)))
    assert not is_wrong(got, image.read(image.manifest))
    assert containerd.blob_path(layer).exists(), "a file of containerd's was deleted"
    # Repaired by whoever owns it, it is served again.
    rot(containerd.blob_path(layer))
    until_right(agent, layer)
