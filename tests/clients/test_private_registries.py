"""A company's registries, real ones, behind one agent: whom it may ask, how, and with which credential.

All that is set stands in `[[registry]]` tables and in one file of credentials. skopeo and containerd, which know
nothing of these, pull through the agent.
"""

import base64
import json
import os
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import trustme

from testbed.agents import Agent
from testbed.containerd import Containerd
from testbed.errors import RunError
from testbed.hub import Site, Sites, TokenService
from testbed.hub.tokens import ISSUER
from testbed.images import Image
from testbed.network import free_address
from testbed.processes import run
from testbed.registry import Registry
from tests.clients.conftest import need

pytestmark = [pytest.mark.clients, pytest.mark.timeout(120)]

HTPASSWD = "user:$2b$04$Go7wKXOVQM5EZ5lkH18oOOGCj9cqgB1IvIxardgtYtqDvft8KzDGq\n"
PASSWORD = "hunter2"
IDENTITY = "an-identity-token"
PROGRAM = f"""#!/bin/sh
read -r host
echo "$host" >>"{{asked}}"
echo '{{{{"ServerURL": "x", "Username": "user", "Secret": "{PASSWORD}"}}}}'
"""


@dataclass
class Company:
    """Its registries, by the names that images give them.

    Args:
        folder: for all files.
        image: that all of them have, as `team/app:1`.
        host: gives an address of its own to each.
    """

    folder: Path
    image: Image
    host: Callable[[], str]
    stack: ExitStack
    authority: trustme.CA = field(default_factory=trustme.CA)
    registries: dict[str, Registry] = field(default_factory=dict)
    tables: list[str] = field(default_factory=list)
    auths: dict[str, Mapping[str, str]] = field(default_factory=dict)
    helpers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.authority.cert_pem.write_to_path(self.file("ca.pem"))

    def file(self, name: str, text: str | None = None) -> str:
        path = self.folder / name
        if text is not None:
            path.write_text(text)
        return str(path)

    def certificate(self, name: str, host: str) -> tuple[str, str]:
        issued = self.authority.issue_cert(host)
        issued.cert_chain_pems[0].write_to_path(self.file(f"{name}.pem"))
        issued.private_key_pem.write_to_path(self.file(f"{name}.key"))
        return self.file(f"{name}.pem"), self.file(f"{name}.key")

    def registry(
        self,
        name: str,
        *,
        tls: bool = True,
        wants_certificate: bool = False,
        auth: Mapping[str, Any] | None = None,
        http: Mapping[str, Any] | None = None,
        upstream: str | None = None,
    ) -> str:
        """Start a registry with the image in it, or a pull-through cache; return its URL."""
        address = free_address(self.host())
        http = dict(http or {})
        if tls:
            certificate, key = self.certificate(name, address.host)
            asked = {"clientcas": [self.file("ca.pem")]} if wants_certificate else {}
            http["tls"] = {"certificate": certificate, "key": key, **asked}
        settings = {"http": http, **({"auth": auth} if auth else {})}
        made = Registry(self.folder / name, address, upstream=upstream, settings=settings)
        if upstream is None:
            made.hold(self.image, "team/app", "1")
        self.registries[name] = self.stack.enter_context(made)
        return f"{'https' if tls else 'http'}://{address}"

    def htpasswd(self) -> Mapping[str, Any]:
        return {"htpasswd": {"realm": "lab", "path": self.file("htpasswd", HTPASSWD)}}

    def tokens(self, name: str, **settings: Any) -> tuple[TokenService, Site, Mapping[str, Any]]:
        """Start a token service; return it, and a registry's settings for it."""
        service = TokenService(name, lambda account, repository: account == "user", **settings)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        site = Site(service.answer, self.host(), tls=context)
        self.authority.issue_cert(site.host).configure_cert(context)
        self.stack.enter_context(Sites([site]).running())
        bundle = self.file(f"{name}-issuer.pem", service.certificate.decode())
        realm = {"realm": f"{site.url}/token", "service": name, "issuer": ISSUER, "rootcertbundle": bundle}
        return service, site, {"token": realm}

    def table(self, name: str, *urls: str, **keys: Any) -> None:
        lines = {"name": name, "url": list(urls), "ca": self.file("ca.pem"), **keys}
        self.tables.append("[[registry]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in lines.items()))

    def flags(self) -> Sequence[str]:
        auth = Path(self.file("auth.json", json.dumps({"auths": self.auths, "credHelpers": self.helpers})))
        auth.chmod(0o600)
        return ["--config", self.file("agent.toml", "\n".join(self.tables)), "--upstream-auth", str(auth)]


@pytest.fixture
def company(make_image: Callable[..., Image], loopback: Callable[[], str], tmp_path: Path) -> Iterator[Company]:
    need("docker-registry", "skopeo", "setpriv")
    folder = tmp_path / "images" / "company"  # on the disk of the image, whose files are linked
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        yield Company(folder, make_image("x/team/app:1", [900_000, 10]), loopback, stack)


def skopeo(agent: Agent, image: Image, name: str, target: Path) -> None:
    """Copy through the agent, as podman does with a mirror."""
    source = ["--src-tls-verify=false", f"docker://{agent.address}/{name}"]
    run(["skopeo", "--insecure-policy", "copy", "--quiet", *source, f"dir:{target}"])
    for digest in (image.config, *image.layers):
        assert (target / digest.removeprefix("sha256:")).read_bytes() == image.read(digest)


def entry(user: str, password: str) -> Mapping[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def test_credentials_tokens_certificates_and_prefixes_of_real_registries(
    company: Company,
    start_agent: Callable[..., Agent],
    start_containerd: Callable[..., Containerd],
    loopback: Callable[[], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    helper, asked = programs / "docker-credential-lab", tmp_path / "asked"
    helper.write_text(PROGRAM.format(asked=asked))
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")

    basic = company.registry("basic", auth=company.htpasswd())
    company.table("basic.example", basic)
    company.auths[basic.partition("//")[2]] = entry("user", PASSWORD)

    helped = company.registry("helped", auth=company.htpasswd())
    company.table("helped.example", helped)
    company.helpers[helped.partition("//")[2]] = "lab"

    service, site, auth = company.tokens("tokens", passwords={"user": PASSWORD, "other": "x"})
    tokens = company.registry("tokens", auth=auth)
    company.table("tokens.example", tokens, trust=[str(site.address)])
    company.auths[tokens.partition("//")[2]] = entry("other", "x")
    company.auths[f"{tokens.partition('//')[2]}/team"] = entry("user", PASSWORD)

    exchange, place, auth = company.tokens("exchange", identity_tokens={IDENTITY: "user"}, fields=("access_token",))
    identity = company.registry("identity", auth=auth)
    company.table("identity.example", identity, trust=[str(place.address)])
    company.auths[identity.partition("//")[2]] = {"identitytoken": IDENTITY}

    mutual = company.registry("mutual", wants_certificate=True)
    certificate, key = company.certificate("agent", "agent.example")
    company.table("mutual.example", mutual, cert=certificate, key=key)
    company.table("stranger.example", mutual)

    prefixed = company.registry("prefixed", http={"prefix": "/inside/"})
    company.table("prefixed.example", f"{prefixed}/inside")

    names = ("basic", "helped", "tokens", "identity", "mutual", "prefixed")
    agent = start_agent("a", loopback(), *company.flags())
    for name in names:
        skopeo(agent, company.image, f"{name}.example/team/app:1", tmp_path / name)
        assert len(company.registries[name].accesses("GET", "/manifests/")) <= 1 + (name in ("basic", "helped"))
    with pytest.raises(RunError):
        skopeo(agent, company.image, "stranger.example/team/app:1", tmp_path / "stranger")

    assert asked.read_text().splitlines() == [helped.partition("//")[2]], "a program is asked once for all requests"
    assert service.asked == exchange.asked == ["repository:team/app:pull"]
    assert PASSWORD not in agent.output
    assert IDENTITY not in agent.output

    containerd = start_containerd()
    hosts = tmp_path / "hosts" / "tokens.example"
    hosts.mkdir(parents=True)
    mirror = f'[host."{agent.url}"]\n  capabilities = ["pull", "resolve"]\n'
    (hosts / "hosts.toml").write_text(f'server = "https://127.0.0.1:9"\n\n{mirror}')
    containerd.ctr("images", "pull", "--hosts-dir", str(hosts.parent), "tokens.example/team/app:1")
    assert service.asked == ["repository:team/app:pull"]


def test_a_pull_through_cache_stands_before_the_registry_until_it_is_gone(
    company: Company, start_agent: Callable[..., Agent], loopback: Callable[[], str], tmp_path: Path
) -> None:
    registry = company.registry("registry", tls=False)
    behind = company.registries["registry"]
    cache = company.registry("cache", upstream=registry)
    company.table("shop.example", cache, registry)
    first = start_agent("a", loopback(), *company.flags())

    skopeo(first, company.image, "shop.example/team/app:1", tmp_path / "one")

    layer, size = company.image.layers[0], company.image.size(company.image.layers[0])
    assert company.registries["cache"].served(layer, least=size) == size
    company.registries["cache"].kill()
    behind.forget_accesses()  # what the cache has asked, which may fetch a blob twice
    second = start_agent("b", loopback(), *company.flags())
    skopeo(second, company.image, "shop.example/team/app:1", tmp_path / "two")
    assert behind.served(layer, least=size) == size


def test_clients_need_credentials_of_their_own_where_the_policy_says_so(
    company: Company,
    start_agent: Callable[..., Agent],
    start_containerd: Callable[..., Containerd],
    loopback: Callable[[], str],
    tmp_path: Path,
) -> None:
    """skopeo, podman and containerd, with credentials and without, at two agents that share what is private."""
    need("podman")
    basic = company.registry("basic", auth=company.htpasswd())
    company.table("basic.example", basic)
    company.auths[basic.partition("//")[2]] = entry("user", PASSWORD)
    _, site, auth = company.tokens("tokens", passwords={"user": PASSWORD, "other": "x"})
    company.table("tokens.example", tokens := company.registry("tokens", auth=auth), trust=[str(site.address)])
    company.auths[tokens.partition("//")[2]] = entry("user", PASSWORD)
    company.table("open.example", company.registry("open"))
    company.tables.append('[[private]]\npattern = "*.example/*"\npolicy = "checked"\n')
    first = start_agent("a", loopback(), *company.flags())
    second = start_agent("b", loopback(), "--join", str(first.endpoints.gossip), *company.flags())
    second.until_state("a", "alive")
    first.until_state("b", "alive")

    def copy(agent: Agent, name: str, user: str | None = None) -> None:
        login = ["--src-creds", user] if user else []
        source = [*login, "--src-tls-verify=false", f"docker://{agent.address}/{name}.example/team/app:1"]
        with TemporaryDirectory(dir=tmp_path) as target:
            run(["skopeo", "--insecure-policy", "copy", "--quiet", *source, f"dir:{target}"])

    layer, size = company.image.layers[0], company.image.size(company.image.layers[0])
    for name in ("basic", "tokens"):
        for agent in (first, second):
            with pytest.raises(RunError, match=r"private|unauthorized|authentication required"):
                copy(agent, name)
            with pytest.raises(RunError, match=r"denied|does not show"):
                copy(agent, name, "user:wrong")
            copy(agent, name, f"user:{PASSWORD}")
    assert company.registries["basic"].served(layer, least=size) < 2 * size, "one agent has it from the other"
    assert company.registries["tokens"].served(layer) < size, "it was only asked whether it has the layer as well"
    with pytest.raises(RunError, match=r"denied|does not show"):
        copy(first, "tokens", "other:x")
    copy(second, "open")

    podman(second, tmp_path, "basic.example", f"user:{PASSWORD}")
    with pytest.raises(RunError):
        podman(second, tmp_path, "basic.example", None)

    containerd = start_containerd()
    hosts = tmp_path / "hosts" / "tokens.example"
    hosts.mkdir(parents=True)
    for given in ("", f'  [host."{second.url}".header]\n    Authorization = "Basic {encoded(PASSWORD)}"\n'):
        mirror = f'[host."{second.url}"]\n  capabilities = ["pull", "resolve"]\n'
        (hosts / "hosts.toml").write_text(f'server = "https://127.0.0.1:9"\n\n{mirror}{given}')
        pull = ("images", "pull", "--hosts-dir", str(hosts.parent), "tokens.example/team/app:1")
        if given:
            containerd.ctr(*pull)
        else:
            with pytest.raises(RunError):
                containerd.ctr(*pull)
    for secret in (PASSWORD, encoded(PASSWORD)):
        assert secret not in first.output + second.output


def encoded(password: str) -> str:
    return base64.b64encode(f"user:{password}".encode()).decode()


def podman(agent: Agent, folder: Path, registry: str, login: str | None) -> None:
    """Pull by podman, which takes the agent for a mirror, and has credentials for the mirror alone, or none."""
    with TemporaryDirectory(prefix="podman-") as short:
        work = Path(short)
        (work / "registries.conf").write_text(
            f'[[registry]]\nprefix = "{registry}"\nlocation = "127.0.0.1:9/nowhere"\n\n'
            f'[[registry.mirror]]\nlocation = "{agent.address}/{registry}"\ninsecure = true\n'
        )
        auths = {str(agent.address): {"auth": base64.b64encode(login.encode()).decode()}} if login else {}
        (work / "auth.json").write_text(json.dumps({"auths": auths}))
        environment = ["env", f"CONTAINERS_REGISTRIES_CONF={work}/registries.conf", f"TMPDIR={work}"]
        folders = ["--root", f"{work}/root", "--runroot", f"{work}/run", "--tmpdir", f"{work}/tmp"]
        apart = ["--storage-driver", "vfs", "--events-backend", "none"]
        pull = ["pull", "--quiet", "--authfile", f"{work}/auth.json", f"{registry}/team/app:1"]
        run([*environment, "podman", *folders, *apart, *pull])
