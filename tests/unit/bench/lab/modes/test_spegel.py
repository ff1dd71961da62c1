"""What Spegel is told, and what is read in its answers."""

from itertools import pairwise
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from bench.lab.modes.spegel import configuration_command, make_key, peer_id, peers_in, registry_command
from testbed.containerd import Containerd, Programs

KEY = bytes.fromhex("1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e")
ID = "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq"
"""A key and its id as go-libp2p prints it."""

STATS = f"""
<tr><th style="width: 60%;">ID</th><th style="width: 40%;">Addresses</th></tr>
<tr>
  <td>{ID}</td>
  <td>10.78.0.3</td>
</tr>
"""


def test_a_peers_id_is_its_key() -> None:
    assert peer_id(KEY) == ID


def test_a_key_is_where_spegel_looks_for_it_and_as_it_reads_it(tmp_path: Path) -> None:
    folder = tmp_path / "spegel"
    made = make_key(folder)
    key = load_pem_private_key((folder / "private.key").read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)
    assert peer_id(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)) == made


def test_peers_are_read_from_the_statistics() -> None:
    assert peers_in(STATS) == {ID}
    assert peers_in("<h2>Connected Peers</h2><div>0</div>") == set()


def test_spegel_serves_the_containerd_of_its_host_and_knows_all_peers(tmp_path: Path) -> None:
    containerd = Containerd(tmp_path / "c", None, Programs(version=(2, 3)))
    words = registry_command("/opt/spegel", "10.78.0.2", tmp_path / "spegel", containerd, ["/ip4/a", "/ip4/b"])
    assert words[:2] == ["/opt/spegel", "registry"]
    told = dict(pairwise(words))
    assert told["--containerd-sock"] == str(containerd.socket)
    assert told["--containerd-content-path"] == str(containerd.content_root)
    assert told["--router-addr"] == "10.78.0.2:5001"
    assert words[-3:] == ["--static-bootstrap-peers", "/ip4/a", "/ip4/b"]


def test_a_lone_spegel_is_told_of_no_peers(tmp_path: Path) -> None:
    containerd = Containerd(tmp_path / "c", None, Programs(version=(2, 3)))
    words = registry_command("spegel", "10.78.0.2", tmp_path / "spegel", containerd, [])
    assert "--static-bootstrap-peers" not in words


def test_its_own_command_keeps_the_mirror_that_is_there() -> None:
    words = configuration_command("spegel", Path("/hosts"), "http://127.0.0.1:5000")
    assert words[:2] == ["spegel", "configuration"]
    assert "--prepend-existing" in words
    assert words[-2:] == ["--mirror-targets", "http://127.0.0.1:5000"]
