"""How real agents speak to each other: TLS with the cluster's key or an operator's authority, and the way there."""

import base64
import datetime
import hashlib
import json
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from testbed.agents import Agent, skvaller
from testbed.processes import WAIT_S, wait_until

KEY = bytes(range(32))
StartAgent = Callable[..., Agent]


def blob(number: int) -> bytes:
    return hashlib.shake_256(b"%d" % number).digest(2_000_000)


def key_file(folder: Path, name: str = "k") -> Path:
    """A file with the cluster's key."""
    file = folder / f"{name}.key"
    file.touch(0o600)
    file.write_bytes(base64.b64encode(KEY) + b"\n")
    return file


def hold(folder: Path, name: str, body: bytes) -> str:
    """Put a blob into the cache of an agent that has not started; return its digest."""
    digest = hashlib.sha256(body).hexdigest()
    file = folder / f"agent-{name}" / "cache/blobs/sha256" / digest[:2] / digest
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(body)
    return f"sha256:{digest}"


def pulls(agent: Agent, body: bytes) -> bool:
    """Whether an agent gets a blob; no registry has it."""
    path = f"/v2/library/x/blobs/sha256:{hashlib.sha256(body).hexdigest()}"
    try:
        return agent.get(path) == body
    except (urllib.error.HTTPError, OSError):
        return False


def until(condition: Callable[[], bool]) -> None:
    wait_until(condition, "the agents to be as the test expects them")


def in_clear(agent: Agent) -> int:
    """What a peer endpoint answers to a stranger who speaks clear text."""
    with (
        pytest.raises(urllib.error.HTTPError) as refusal,
        urllib.request.urlopen(f"http://{agent.host}:5001/v2/", timeout=WAIT_S),
    ):
        pass
    refusal.value.close()
    return refusal.value.code


NOWHERE = ("--upstream", "docker.io=http://127.0.0.1:9")


def test_a_cluster_with_a_key_speaks_tls_while_its_keys_change(
    start_agent: StartAgent, loopback: Callable[[], str], tmp_path: Path
) -> None:
    host = loopback()
    bodies = [blob(number) for number in range(12)]
    for body in bodies:
        hold(tmp_path, "a", body)
    files = [key_file(tmp_path, name) for name in ("a", "b")]
    a = start_agent("a", host, "--key-file", str(files[0]), *NOWHERE)
    b = start_agent("b", loopback(), "--join", host, "--key-file", str(files[1]), *NOWHERE)
    until(lambda: a.alive() == b.alive() == {"a", "b"})
    rows = json.loads(b.get("/api/v1/members"))["members"]
    assert {row["peer"] for row in rows} == {f"https://{agent.host}:5001" for agent in (a, b)}
    assert in_clear(a) == 400
    until(lambda: pulls(b, bodies[0]))
    pulled: list[bool] = []
    load = threading.Thread(target=lambda: pulled.extend(pulls(b, body) for body in bodies[1:]))
    load.start()
    new = ordered(a, "install")
    old = next(row["keys"][0] for row in json.loads(a.get("/api/v1/keys"))["members"])
    assert ordered(b, "use", new) == new
    assert ordered(a, "remove", old) == old
    load.join()
    assert pulled == [True] * len(bodies[1:])


def ordered(agent: Agent, *words: str) -> str:
    """Give an order about keys, and return the id of the key that it is about."""
    command = skvaller("keys", *words, "--agent", agent.url, "--json")
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["key"])


def test_a_running_cluster_goes_from_clear_text_to_tls_node_by_node(
    start_agent: StartAgent, loopback: Callable[[], str], tmp_path: Path
) -> None:
    """Each node holds something that the other one pulls, at every step of either of them."""
    hosts = {"a": loopback(), "b": loopback()}
    bodies = {name: [blob(100 * number + i) for i in range(5)] for number, name in enumerate(hosts)}
    for name, held in bodies.items():
        for body in held:
            hold(tmp_path, name, body)
    file, agents = key_file(tmp_path), dict[str, Agent]()
    steps = [("a", "off"), ("b", "off"), ("a", "prefer"), ("b", "prefer"), ("a", "on"), ("b", "on")]
    for number, (name, step) in enumerate(steps):
        if name in agents:
            agents[name].stop()
        (other,) = hosts.keys() - {name}
        flags = ("--key-file", str(file), "--peer-tls", step, "--join", hosts[other], *NOWHERE)
        agents[name] = start_agent(name, hosts[name], *flags)
        if number:
            until(lambda: all(agent.alive() == {"a", "b"} for agent in agents.values()))
            until(lambda: pulls(agents["a"], bodies["b"][number - 1]))  # noqa: B023 - it is called at once
            until(lambda: pulls(agents["b"], bodies["a"][number - 1]))  # noqa: B023


class Authority:
    """An operator's own, with a folder for what it issues."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "the site's")])
        certificate = self._builder(self._name, self._key).add_extension(x509.BasicConstraints(True, None), True)
        self.file = folder / "ca.pem"
        self.file.write_bytes(certificate.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )

    def flags(self, name: str) -> tuple[str, ...]:
        """Issue a certificate; the flags that make an agent use it."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "node")])
        names = x509.SubjectAlternativeName([x509.DNSName(name)])
        certificate = self._builder(subject, key).add_extension(names, False).sign(self._key, hashes.SHA256())
        shown, secret = self._folder / f"{name}.pem", self._folder / f"{name}-key.pem"
        shown.write_bytes(certificate.public_bytes(Encoding.PEM))
        secret.touch(0o600)
        secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return "--tls-cert", str(shown), "--tls-key", str(secret), "--tls-ca", str(self.file)


def test_with_an_own_authority_a_member_is_who_it_says_and_is_revoked_by_name(
    start_agent: StartAgent, loopback: Callable[[], str], tmp_path: Path
) -> None:
    """All have the cluster's key. c is denied by a, and hears of it from b; d's certificate is from elsewhere."""
    host, authority = loopback(), Authority(tmp_path)
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    body = blob(1)
    hold(tmp_path, "a", body)
    key = ("--key-file", str(key_file(tmp_path)), *NOWHERE)
    a = start_agent("a", host, *key, *authority.flags("a"), "--tls-deny", "c")
    second = loopback()
    b = start_agent("b", second, "--join", host, *key, *authority.flags("b"))
    c = start_agent("c", loopback(), "--join", second, *key, *authority.flags("c"))
    d = start_agent("d", loopback(), "--join", host, *key, *other.flags("d"))
    until(lambda: a.alive() == {"a", "b", "c"})
    until(lambda: pulls(b, body))
    b.kill()
    assert not pulls(c, body)
    assert d.alive() == {"d"}


@pytest.mark.parametrize(
    ("lacks", "complaint"),
    [
        ("key-file", "tls-cert: gossip would still believe anybody; give --key-file as well"),
        ("name", "a.pem is for a; it must have this node's name, z"),
        ("mode", "a-key.pem can be read by others: run chmod 600"),
        ("pair", "the certificate and its key cannot be used"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_refused_at_the_start(
    lacks: str, complaint: str, loopback: Callable[[], str], tmp_path: Path
) -> None:
    host, authority = loopback(), Authority(tmp_path)
    flags = list(authority.flags("a"))
    if lacks == "mode":
        Path(flags[3]).chmod(0o644)
    if lacks == "pair":
        flags[3] = authority.flags("b")[3]
    if lacks != "key-file":
        flags += ["--key-file", str(key_file(tmp_path))]
    addresses = ["--listen", f"{host}:5000", "--peer", f"{host}:5001", "--gossip", f"{host}:7946"]
    name = "z" if lacks == "name" else "a"
    command = skvaller("agent", "--name", name, "--data-dir", str(tmp_path / "data"), *addresses, *flags)
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1
