"""An agent's settings: what may be written where, what wins, and what an operator is told otherwise."""

import contextlib
import ipaddress
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mirror.access import PrivatePolicies, Sharing
from mirror.addresses import Address, UnixAddress
from mirror.channels import PeerTls
from mirror.config import (
    CREDENTIAL,
    SETTINGS,
    AgentConfig,
    Offline,
    Push,
    RegistryListener,
    Routing,
    advertised_address,
    load,
    parse_address,
    parse_bind,
    parse_seed,
    refuse_misspelt,
)
from mirror.errors import ConfigError
from mirror.images.tag_policies import TagPolicies
from mirror.sources.upstream.credentials import AuthPath
from mirror.sources.upstream.reached import Proxies, Proxy, Reached
from mirror.sources.upstream.registries import Registry
from mirror.sources.upstream.trust import Trusted
from mirror.tables import parse_size

NOTHING: dict[str, str] = {}
TRUSTED = (Trusted("lab", "10.0.0.7", 9000), Trusted("lab", network=ipaddress.ip_network("10.2.0.0/16")))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "agent.toml"


def test_an_agent_runs_without_any_setting_and_then_lets_nobody_in() -> None:
    config = load({}, NOTHING, None)
    assert config.name == socket.gethostname().partition(".")[0]
    assert (config.listen, config.peer, config.gossip) == (
        (Address("127.0.0.1", 5000),),
        Address("127.0.0.1", 5001),
        Address("127.0.0.1", 7946),
    )
    assert config.exposed == []
    assert (config.join, config.upstream, config.containerd) == ((), (), None)
    assert config.cache_size == 20 * 2**30


def test_with_a_key_members_are_let_in(tmp_path: Path) -> None:
    config = load({"key-file": str(tmp_path / "keys")}, NOTHING, None)
    assert (config.peer, config.gossip) == (Address("0.0.0.0", 5001), Address("0.0.0.0", 7946))
    assert config.exposed == ["peer", "gossip"]
    assert all(address.loopback for address in config.listen)


def test_flags_win_over_the_environment_and_that_over_the_file(file: Path) -> None:
    file.write_text('name = "from-file"\nlisten = "127.0.0.1:1"\npeer = "127.0.0.1:2"\n')
    environment = {"SKVALLER_NAME": "from-environment", "SKVALLER_LISTEN": "127.0.0.1:3"}
    config = load({"name": "from-flag"}, environment, file)
    assert config.name == "from-flag"
    assert config.listen == (Address("127.0.0.1", 3),)
    assert config.peer == Address("127.0.0.1", 2)


@pytest.mark.parametrize(
    ("variable", "meant"),
    [("SKVALLER_LISEN", "LISTEN"), ("SKVALLER_CACHE-SIZE", "CACHE_SIZE"), ("SKVALLER_XYZ", "NAME")],
)
def test_a_misspelt_variable_is_refused(variable: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{variable}: no such setting; .*SKVALLER_{meant}"):
        refuse_misspelt({variable: "x"})


def test_variables_that_others_set_are_no_settings() -> None:
    of_a_service = ("SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_PEER", "PORT", "PORT_5000_TCP", "PORT_5000_TCP_ADDR")
    names = (*of_a_service, *(f"API_{name}" for name in of_a_service), "CONFIG", "AGENT")
    refuse_misspelt({"skvaller_lisen": "x", **{f"SKVALLER_{name}": "x" for name in names}})


@pytest.mark.parametrize("where", ["flags", "environment", "file", "file as one text"])
def test_what_may_be_repeated_can_be_written_everywhere(where: str, file: Path) -> None:
    file.write_text('join = ["a:7946", "b"]\n' if where == "file" else 'join = "a:7946"\n')
    config = {
        "flags": lambda: load({"join": ["a:7946", "b"]}, NOTHING, None),
        "environment": lambda: load({}, {"SKVALLER_JOIN": "a:7946, b,"}, None),
        "file": lambda: load({}, NOTHING, file),
        "file as one text": lambda: load({}, NOTHING, file),
    }[where]()
    assert config.join == (("a:7946",) if where == "file as one text" else ("a:7946", "b"))


@pytest.mark.parametrize(("text", "size"), [("0", 0), ("0GiB", 0), ("64MiB", 64 * 2**20)])
def test_a_cache_may_be_small_or_keep_nothing(text: str, size: int) -> None:
    assert load({"cache-size": text}, NOTHING, None).cache_size == size


@pytest.mark.parametrize("when", ["auto", "always", "never"])
def test_a_node_serves_as_a_home_when_it_is_told_to(when: str) -> None:
    assert load({"home": when}, NOTHING, None).home == when
    assert load({}, NOTHING, None).home == "auto"


def test_a_full_file_is_read(file: Path) -> None:
    file.write_text(
        """
        name = "node-1"
        data-dir = "/srv/skvaller"
        listen = ["[::1]:5000", "unix:/run/skvaller.sock?mode=0660"]
        listen-for = ["index.docker.io=127.0.0.1:5002", "Ghcr.io=unix:/run/ghcr.sock"]
        leave-out = ["ghcr.io/big/*", "*/*:latest"]
        listen-api = "unix:/run/skvaller-api.sock"
        metrics = "10.0.0.1:5002"
        allow-host = ["Mirror.example.com.", "mirror"]
        peer = "10.0.0.1:5001"
        gossip = "10.0.0.1:7946"
        advertise = "10.0.0.1"
        upstream = ["lab=http://10.0.0.9:5000", "docker.io=https://user:secret@hub.example"]
        upstream-trust = ["lab=10.0.0.7:9000", "lab=10.2.0.0/16"]
        containerd = "/run/containerd/containerd.sock"
        containerd-namespace = "default"
        cache-size = 107374182400
        key-file = "/etc/skvaller/keys"
        sealing = "prefer"
        router = "DHT"
        dht = "10.0.0.1:4001"
        bootstrap = ["10.0.0.2:4001"]
        resolve-timeout = "5s"
        cluster = "lab"
        gossip-profile = "fast"
        gossip-allow = ["10.0.0.0/8", "fd00::/8"]
        pin = ["nginx:1.27=3", "ghcr.io/org/*=all", "alpine"]
        home = "Never"
        tags = "verify"
        denied-tags = "serve"
        log-level = "DEBUG"
        upstream-proxy = "http://proxy.example:3128"
        offline = "quay.io"
        log-format = "json"
        """
    )
    file.chmod(0o600)
    assert load({}, NOTHING, file) == AgentConfig(
        name="node-1",
        data_dir=Path("/srv/skvaller"),
        listen=(Address("::1", 5000), UnixAddress("/run/skvaller.sock", 0o660)),
        listen_for=(
            RegistryListener("docker.io", Address("127.0.0.1", 5002)),
            RegistryListener("ghcr.io", UnixAddress("/run/ghcr.sock")),
        ),
        push=Push.OFF,
        leave_out=("ghcr.io/big/*", "*/*:latest"),
        listen_api=UnixAddress("/run/skvaller-api.sock"),
        metrics=Address("10.0.0.1", 5002),
        allow_host=("mirror.example.com", "mirror"),
        peer=Address("10.0.0.1", 5001),
        gossip=Address("10.0.0.1", 7946),
        advertise="10.0.0.1",
        join=(),
        dht=Address("10.0.0.1", 4001),
        bootstrap=("10.0.0.2:4001",),
        resolve_timeout=5.0,
        upstream=(
            Registry("lab", "http://10.0.0.9:5000", trusted=TRUSTED),
            Registry("docker.io", "https://hub.example", "user", "secret"),
        ),
        upstream_auth=None,
        upstream_trust=TRUSTED,
        upstream_proxy=Proxies(Proxy("http://proxy.example:3128"), Proxy("http://proxy.example:3128")),
        offline=Offline({"quay.io"}),
        containerd="/run/containerd/containerd.sock",
        containerd_namespace="default",
        repair=None,
        cache_size=100 * 2**30,
        key_file=Path("/etc/skvaller/keys"),
        sealing="prefer",
        peer_tls=PeerTls.PREFER,
        tls_cert=None,
        tls_key=None,
        tls_ca=None,
        tls_deny=(),
        cluster="lab",
        router=Routing.DHT,
        gossip_profile="fast",
        gossip_allow=("10.0.0.0/8", "fd00::/8"),
        pin=(("docker.io/library/nginx:1.27", 3), ("ghcr.io/org/*:*", 0), ("docker.io/library/alpine:latest", None)),
        home="never",
        tags="verify",
        denied_tags="serve",
        tag_policies=TagPolicies(),
        private=PrivatePolicies(),
        log_level="debug",
        log_format="json",
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("name", "-node"),
        ("name", "a" * 64),
        ("name", "no de"),
        ("name", "upstream"),
        ("name", "a..b"),
        ("name", "010.0.0.1"),
        ("name", "1.2.3.400"),
        ("listen", "5000"),
        ("listen-for", "127.0.0.1:5002"),
        ("listen-for", "docker.io"),
        ("listen-for", "docker io=127.0.0.1:5002"),
        ("listen-for", "=127.0.0.1:5002"),
        ("listen-for", "docker.io=localhost:5002"),
        ("listen", ":5000"),
        ("listen", "localhost:5000"),
        ("listen", "127.0.0.1:0"),
        ("listen", "127.0.0.1:65536"),
        ("listen", "127.0.0.1:http"),
        ("listen", "::1:5000"),
        ("listen", "[127.0.0.1]x:5000"),
        ("listen", "unix:relative.sock"),
        ("listen", "unix:"),
        ("listen", "unix:/run/folder/"),
        ("listen", "unix:/" + "a" * 107),
        ("listen", "unix:/run/a.sock?mode=rw"),
        ("listen", "unix:/run/a.sock?mode=0066"),
        ("leave-out", "nginx"),
        ("listen-api", "5002"),
        ("allow-host", "http://mirror"),
        ("allow-host", "mirror:5000"),
        ("allow-host", "*"),
        ("peer", "unix:/run/peer.sock"),
        ("router", "chord"),
        ("advertise", "node-1.example"),
        ("advertise", "0.0.0.0"),
        ("advertise", "224.0.0.1"),
        ("join", "http://10.0.0.1"),
        ("join", "10.0.0.1:0"),
        ("dht", "host:4001"),
        ("bootstrap", "10.0.0.1"),
        ("resolve-timeout", "20"),
        ("resolve-timeout", "0ms"),
        ("resolve-timeout", "61s"),
        ("resolve-timeout", "-5s"),
        ("upstream", "docker.io"),
        ("upstream", "docker.io=ftp://hub.example"),
        ("upstream-trust", "minio.example:9000"),
        ("upstream-trust", "docker.io="),
        ("upstream-trust", "docker.io=10.0.0.1/8"),
        ("upstream-trust", "docker.io=http://minio.example"),
        ("upstream-trust", "docker.io=minio.example:0"),
        ("upstream-trust", "docker.io=*"),
        ("pin", "nginx=0"),
        ("pin", "nginx=two"),
        ("pin", "no image"),
        ("pin", "ghcr.io/*@sha256:0"),
        ("cache-size", "20"),
        ("cache-size", "63MiB"),
        ("cache-size", "1"),
        ("cache-size", "-1GiB"),
        ("cache-size", "lots"),
        ("home", "yes"),
        ("cache-size", "1XiB"),
        ("cache-size", "9" * 400),
        ("log-level", "loud"),
    ],
)
@pytest.mark.parametrize("where", ["flag", "environment", "file"])
def test_a_wrong_value_is_refused_in_one_line_that_names_it(name: str, text: str, where: str, file: Path) -> None:
    file.write_text(f"{name} = {json.dumps(text)}\n" if where == "file" else "")
    variable = "SKVALLER_" + name.upper().replace("-", "_")
    with pytest.raises(ConfigError) as caught:
        load({name: text} if where == "flag" else {}, {variable: text} if where == "environment" else {}, file)
    said = str(caught.value)
    assert {"flag": f"--{name}", "environment": variable, "file": f"{name} in {file}"}[where] in said
    assert "\n" not in said
    assert text[:80] in said


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("nmae = 'x'", "nmae"),
        ("[agent]\nname = 'x'", "agent"),
        ("name = ['x']", "name"),
        ("name = 1.5", "name"),
        ("name = true", "name"),
        ("join = 7", "join"),
        ("join = [7]", "join"),
        ("join = {a = 1}", "join"),
        ("name = ", "not TOML"),
        ("name = 'x'\nname = 'y'", "not TOML"),
        ("cache-size = " + "9" * 5000, "not TOML"),
        ("join = " + "[" * 5000, "not TOML"),
    ],
)
def test_a_wrong_file_is_refused_with_what_is_wrong(text: str, complaint: str, file: Path) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError, match=complaint) as caught:
        load({}, NOTHING, file)
    assert str(file) in str(caught.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for path in (tmp_path, tmp_path / "missing", tmp_path / "binary" / "x", tmp_path / "binary"):
        with pytest.raises(ConfigError, match=str(path)):
            load({}, NOTHING, path)


def test_a_password_is_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        load({"upstream": ["docker.io=ftp://user:secret@hub.example"]}, NOTHING, None)
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(load({"upstream": ["a=http://user:secret@hub.example"]}, NOTHING, None))


def test_a_password_in_a_file_that_is_not_in_order_or_with_a_comma_in_a_variable_is_not_shown(file: Path) -> None:
    file.write_text('upstream = ["a=http://user:secret@hub.example", 5]')
    file.chmod(0o600)
    with pytest.raises(ConfigError, match="a list of texts") as caught:
        load({}, NOTHING, file)
    assert "secret" not in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        load({}, {"SKVALLER_UPSTREAM": "a=http://user:secret,more@hub.example"}, None)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("step", ["allow", "prefer"])
def test_a_step_to_a_sealed_cluster_needs_a_key(step: str) -> None:
    with pytest.raises(ConfigError, match=f"sealing: {step} .* --key-file"):
        load({"sealing": step}, NOTHING, None)
    assert load({"sealing": step, "key-file": "keys"}, NOTHING, None).sealing == step


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        ({"router": "dht", "join": ["a:7946"]}, "join: .*--bootstrap"),
        ({"bootstrap": ["a:4001"]}, "bootstrap: router swim gossips; give --join"),
        ({"router": "exact", "bootstrap": ["a:4001"]}, "bootstrap: router exact"),
        ({"router": "dht", "dht": "127.0.0.1:5001"}, r"dht: 127\.0\.0\.1:5001 is taken by --peer"),
        ({"router": "dht", "dht": "10.0.0.1:4001"}, "dht: .*both on loopback"),
    ],
)
def test_where_a_node_looks_for_others_suits_its_router(flags: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        load(flags, NOTHING, None)


def test_a_node_with_a_dht_has_no_gossip_that_could_be_in_the_way() -> None:
    config = load({"router": "dht", "gossip": "127.0.0.1:5001", "bootstrap": ["a:4001"]}, NOTHING, None)
    assert config.discovery == ("dht", Address("127.0.0.1", 4001))
    assert config.first_nodes == ("a:4001",)


def test_each_listener_has_an_address_of_its_own() -> None:
    with pytest.raises(ConfigError, match=r"gossip: 127\.0\.0\.1:5001 is taken by --peer"):
        load({"gossip": "127.0.0.1:5001"}, NOTHING, None)


def test_clients_may_have_several_addresses_each_once() -> None:
    both = load({"listen": ["127.0.0.1:5000", "unix:/run/a.sock"]}, NOTHING, None)
    assert both.listen == (Address("127.0.0.1", 5000), UnixAddress("/run/a.sock", 0o600))
    assert load({}, {"SKVALLER_LISTEN": "127.0.0.1:5000,unix:/run/a.sock"}, None).listen == both.listen
    for listen, api in (
        (["127.0.0.1:5000", "127.0.0.1:5000"], None),
        (["127.0.0.1:5000"], "127.0.0.1:5000"),
        (["unix:/run/a.sock"], "unix:/run/a.sock?mode=660"),
    ):
        with pytest.raises(ConfigError, match="is taken by --listen"):
            load({"listen": listen, "listen-api": api}, NOTHING, None)
    with pytest.raises(ConfigError, match="no address"):
        load({}, {"SKVALLER_LISTEN": " "}, None)
    with pytest.raises(ConfigError, match="is taken by --listen"):
        load({"listen-for": "docker.io=127.0.0.1:5000"}, NOTHING, None)


@pytest.mark.parametrize("outside", ["peer", "gossip"])
def test_members_reach_both_or_neither(outside: str) -> None:
    with pytest.raises(ConfigError, match="both"):
        load({outside: "10.0.0.1:9999"}, NOTHING, None)


def test_a_host_name_that_cannot_name_a_node_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "(none)")
    with pytest.raises(ConfigError, match="--name"):
        load({}, NOTHING, None)
    for name in ("node-1", "10.0.0.1", "1.2.3", "1.2.3.4.5", "a-.b_c"):
        assert load({"name": name}, NOTHING, None).name == name


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1024", 1024),
        ("10B", 10),
        ("1KB", 1000),
        ("1KiB", 1024),
        ("512MiB", 512 * 2**20),
        ("512 mib", 512 * 2**20),
        ("1.5G", 1_500_000_000),
        ("2Ti", 2 * 2**40),
    ],
)
def test_sizes_have_units(text: str, size: int) -> None:
    assert parse_size(text) == size


ADDRESSLIKE = st.text(alphabet="a0159.:[]-@/ \x00é", max_size=25)


@given(ADDRESSLIKE | st.text(max_size=30) | st.ip_addresses().map(str))
@example("[::1]:5000")
@example("[]:5000")
@example("1.2.3.4:\u0661")
def test_an_address_that_is_taken_reads_back(text: str) -> None:
    with contextlib.suppress(ValueError):
        address = parse_address(text)
        assert parse_address(str(address)) == address
    with contextlib.suppress(ValueError):
        parse_bind(text)
    with contextlib.suppress(ValueError):
        parse_seed(text)


SCALARS = st.text(max_size=20) | ADDRESSLIKE | st.integers() | st.booleans() | st.floats(allow_nan=False)


@given(
    st.dictionaries(st.sampled_from([setting.name for setting in SETTINGS]), SCALARS | st.lists(SCALARS, max_size=2))
)
def test_junk_in_a_file_is_settings_or_refused(
    tmp_path_factory: pytest.TempPathFactory, written: dict[str, Any]
) -> None:
    file = tmp_path_factory.getbasetemp() / "junk.toml"
    file.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in written.items()))
    with contextlib.suppress(ConfigError):
        load({}, NOTHING, file)


@pytest.mark.parametrize(
    ("flags", "address"),
    [
        ({}, "127.0.0.1"),
        ({"peer": "192.0.2.7:5001", "gossip": "192.0.2.7:7946"}, "192.0.2.7"),
        ({"peer": "[2001:db8::7]:5001", "gossip": "[2001:db8::7]:7946"}, "2001:db8::7"),
        ({"peer": "0.0.0.0:5001", "gossip": "0.0.0.0:7946", "advertise": "198.51.100.7"}, "198.51.100.7"),
    ],
)
def test_others_reach_a_node_where_it_listens_or_where_the_operator_says(flags: dict[str, str], address: str) -> None:
    assert advertised_address(load(flags, NOTHING, None)) == address


@pytest.mark.parametrize("everywhere", ["0.0.0.0", "[::]"])
def test_a_node_that_listens_everywhere_advertises_its_main_address(
    everywhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = {socket.AF_INET: "198.51.100.9", socket.AF_INET6: "2001:db8::9"}
    monkeypatch.setattr("mirror.config.address_towards", lambda host, family: main[family])
    config = load({"peer": f"{everywhere}:5001", "gossip": f"{everywhere}:7946"}, NOTHING, None)
    assert advertised_address(config) == main[socket.AF_INET6 if ":" in everywhere else socket.AF_INET]


LAN = {"10.0.0.2": "10.0.0.1", "node2": "10.0.0.1", "10.1.0.2": "10.1.0.1", "localhost": "127.0.0.1"}
"""Where no route leads out: hosts, and from which address this machine would send there."""


@pytest.mark.parametrize(
    ("own", "seeds", "address"),
    [
        (["10.0.0.1"], [], "10.0.0.1"),
        (["10.0.0.1"], ["unknown"], "10.0.0.1"),
        (["10.0.0.1"], ["localhost"], "10.0.0.1"),
        (["10.0.0.1", "10.1.0.1"], ["10.1.0.2"], "10.1.0.1"),
        (["10.0.0.1", "10.1.0.1"], ["node2:7946", "10.0.0.2", "unknown"], "10.0.0.1"),
        (["10.0.0.1", "10.1.0.1"], [], r"several addresses, 10\.0\.0\.1, 10\.1\.0\.1, and no default route"),
        (["10.0.0.1", "10.1.0.1"], ["10.0.0.2", "10.1.0.2"], "several addresses"),
        (["10.0.0.1", "10.1.0.1"], ["localhost"], "several addresses"),
        ([], ["localhost"], "no address that others can reach"),
    ],
)
def test_without_a_default_route_a_node_advertises_what_reaches_the_seeds_or_is_the_only_one(
    own: list[str], seeds: list[str], address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirror.config.address_towards", lambda host, family: LAN.get(host))
    monkeypatch.setattr("mirror.config.machine_addresses", lambda family: own)
    config = load({"peer": "0.0.0.0:5001", "gossip": "0.0.0.0:7946", "join": seeds}, NOTHING, None)
    if address[0].isdigit():
        assert advertised_address(config) == address
    else:
        with pytest.raises(ConfigError, match=f"^advertise: this machine has {address}.*--advertise$"):
            advertised_address(config)


@pytest.mark.parametrize(
    ("given", "step"),
    [
        ({}, PeerTls.OFF),
        ({"key-file": "keys"}, PeerTls.ON),
        ({"key-file": "keys", "sealing": "allow"}, PeerTls.PREFER),
        ({"key-file": "keys", "peer-tls": "off"}, PeerTls.OFF),
        ({"key-file": "keys", "peer-tls": "prefer"}, PeerTls.PREFER),
        ({"key-file": "keys", "tls-cert": "c", "tls-key": "k", "tls-ca": "a", "tls-deny": ["gone"]}, PeerTls.ON),
    ],
)
def test_members_speak_tls_where_all_have_a_key(given: dict[str, str], step: PeerTls) -> None:
    assert load(given, NOTHING, None).peer_tls is step


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"tls-cert": "c", "tls-key": "k", "tls-ca": "a"}, "tls-cert: .* --key-file"),
        ({"peer-tls": "on"}, "peer-tls: .* --key-file"),
        ({"key-file": "keys", "tls-cert": "c"}, "tls-cert: .* give --tls-key, --tls-ca"),
        ({"key-file": "keys", "tls-deny": ["x"]}, "tls-deny: .* --tls-ca"),
        ({"key-file": "keys", "peer-tls": "on", "sealing": "prefer"}, "peer-tls: .* sealing require"),
        ({"key-file": "keys", "peer-tls": "off", "tls-cert": "c", "tls-key": "k", "tls-ca": "a"}, "peer-tls: off"),
        ({"key-file": "keys", "peer-tls": "maybe"}, "peer-tls: 'maybe' .* off, prefer or on"),
    ],
)
def test_tls_that_cannot_be_is_refused(given: dict[str, str], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        load(given, NOTHING, None)


# Passwords ------------------------------------------------------------------------------------------------------------

WITH_PASSWORD = "lab=https://user:hunter2@lab.example"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_file_with_a_password_that_others_can_read_is_refused(file: Path, mode: int) -> None:
    file.write_text(f'upstream = ["{WITH_PASSWORD}"]')
    file.chmod(mode)
    with pytest.raises(ConfigError, match=rf"^config: {file} has a password .*: run chmod 600 {file}$"):
        load({}, NOTHING, file)
    with pytest.raises(ConfigError):  # it is in the file, whether it is used or not
        load({"upstream": ["lab=https://lab.example"]}, NOTHING, file)
    file.chmod(0o600)
    assert load({}, NOTHING, file).warnings == ()


def test_a_file_without_a_password_may_be_read_by_all(file: Path) -> None:
    file.write_text('upstream = ["lab=https://lab.example"]')
    file.chmod(0o644)
    assert load({}, NOTHING, file).upstream == (Registry("lab", "https://lab.example"),)


def test_a_password_on_the_command_line_is_warned_about_and_one_in_the_environment_is_not() -> None:
    (warning,) = load({"upstream": [WITH_PASSWORD]}, NOTHING, None).warnings
    assert "--upstream-auth" in warning
    assert "hunter2" not in warning
    assert load({}, {"SKVALLER_UPSTREAM": WITH_PASSWORD}, None).warnings == ()
    assert load({"upstream": ["lab=https://lab.example"]}, NOTHING, None).warnings == ()


@pytest.mark.parametrize("mode", [0o600, 0o440])
def test_the_credential_of_systemd_is_taken_whatever_its_mode_and_a_file_that_is_named_instead(
    tmp_path: Path, mode: int
) -> None:
    for name, user in ((CREDENTIAL, "from-systemd"), ("auth.json", "from-file")):
        (tmp_path / name).write_text(json.dumps({"auths": {"lab.example": {"username": user, "password": "x"}}}))
        (tmp_path / name).chmod(mode if name == CREDENTIAL else 0o600)
    environment = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    handed_over = load({}, environment, None)
    assert handed_over.upstream == (Registry("lab.example", "https://lab.example"),)
    assert handed_over.upstream_auth == AuthPath(tmp_path / CREDENTIAL, guarded=True)
    named = load({"upstream-auth": str(tmp_path / "auth.json")}, environment, None)
    assert named.upstream_auth == AuthPath(tmp_path / "auth.json")
    without = load({}, {"CREDENTIALS_DIRECTORY": str(tmp_path / "none")}, None)
    assert (without.upstream, without.upstream_auth) == ((), None)


def test_trust_belongs_to_a_registry_that_may_be_asked() -> None:
    config = load({"upstream-trust": ["ghcr.io=10.0.0.7:9000"]}, NOTHING, None)
    assert config.upstream == (Registry("ghcr.io", "https://ghcr.io", trusted=(Trusted("ghcr.io", "10.0.0.7", 9000),)),)
    with pytest.raises(ConfigError, match=r"upstream-trust: no such registry as lab\.example"):
        load({"upstream-trust": ["lab.example=10.0.0.7"]}, NOTHING, None)


TABLES = """
name = "node-1"
upstream = ["lab=http://10.0.0.9:5000"]
offline = ["ghcr.io"]

[[registry]]
name = "docker.io"
url = ["http://10.0.0.5:5000", "https://registry-1.docker.io"]
trust = ["minio.example.net:9000"]

[[registry]]
name = "lab"
url = "https://lab.example"

[[registry]]
name = "quay.io"
offline = true

[[registry]]
name = "registry.example"
proxy = "none"
"""


def test_tables_of_registries_keep_the_order_of_their_urls_and_give_way_to_upstream(file: Path) -> None:
    file.write_text(TABLES)
    config = load({}, {"HTTPS_PROXY": "http://proxy.example:3128", "no_proxy": "corp.example"}, file)
    trusted = (Trusted("docker.io", "minio.example.net", 9000),)
    assert config.upstream == (
        Registry("docker.io", "http://10.0.0.5:5000", trusted=trusted),
        Registry("docker.io", "https://registry-1.docker.io", trusted=trusted),
        Registry("quay.io", "https://quay.io"),
        Registry("registry.example", "https://registry.example", reached=Reached(proxies=Proxies())),
        Registry("lab", "http://10.0.0.9:5000"),
    )
    assert config.upstream_proxy == Proxies(None, Proxy("http://proxy.example:3128"), ("corp.example",))
    assert [name in config.offline for name in ("quay.io", "ghcr.io", "docker.io")] == [True, True, False]
    assert "docker.io" in load({"offline": ["all"]}, NOTHING, None).offline
    assert load({"upstream-proxy": "none"}, {"HTTPS_PROXY": "http://p"}, None).upstream_proxy == Proxies()


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ('url = "https://lab"', "registry: a table has no name"),
        ("name = 5", "registry: a table has no name"),
        ('name = "lab"\nurls = ["https://lab"]', "registry 'lab': urls: no such key; is url meant"),
        ('name = "lab"\nurl = [5]', "registry 'lab': url: it must be a text or a list of texts"),
        ('name = "lab"\nurl = "ftp://lab"', "registry 'lab': upstream 'lab=ftp://lab': the URL's scheme"),
        ('name = "la b"', "registry 'la b': upstream"),
        ('name = "lab"\nca = "/nonexistent/ca.pem"', "registry 'lab': /nonexistent/ca.pem cannot be used"),
        ('name = "lab"\ncert = "a.pem"', "registry 'lab': cert: a certificate needs its key"),
        ('name = "lab"\nproxy = "socks5://p:1"', "registry 'lab': the proxy socks5://p is not allowed"),
        ('name = "lab"\nproxy = 5', "registry 'lab': proxy: it must be a text"),
        ('name = "lab"\ntrust = "a b"', "registry 'lab': upstream-trust"),
        ('name = "lab"\noffline = "yes"', "registry 'lab': offline: give true or false"),
    ],
)
def test_a_table_that_is_wrong_is_named_with_what_is_allowed(file: Path, table: str, complaint: str) -> None:
    file.write_text(f"[[registry]]\n{table}\n")
    with pytest.raises(ConfigError) as refusal:
        load({}, NOTHING, file)
    assert str(refusal.value).startswith(complaint)


def test_a_registry_is_a_table_of_its_own(file: Path) -> None:
    file.write_text("registry = 'docker.io'")
    with pytest.raises(ConfigError, match=r"begins with \[\[registry\]\]"):
        load({}, NOTHING, file)


def test_a_password_in_a_table_must_not_be_read_by_others(file: Path) -> None:
    file.write_text('[[registry]]\nname = "lab"\nurl = "https://user:hunter2@lab.example"\n')
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        load({}, NOTHING, file)
    file.chmod(0o600)
    assert load({}, NOTHING, file).upstream[0].username == "user"


@pytest.mark.parametrize(("text", "meant"), [("http://user:hunter2@p:1/x", "HTTPS_PROXY"), ("ftp://p", "HTTPS_PROXY")])
def test_a_proxy_that_is_none_is_refused_without_its_password(text: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=meant) as refusal:
        load({}, {"HTTPS_PROXY": text}, None)
    assert "hunter2" not in str(refusal.value)


def test_a_login_to_push_needs_a_key_to_make_passwords_with() -> None:
    assert load({}, NOTHING, None).push is Push.OFF
    assert load({"push": "any"}, NOTHING, None).push is Push.ANY
    with pytest.raises(ConfigError, match="--key-file"):
        load({"push": "key"}, NOTHING, None)
    with pytest.raises(ConfigError, match="off, local, key or any"):
        load({"push": "everybody"}, NOTHING, None)


def test_private_images_have_policies_in_tables_and_checked_needs_a_key(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text('[[private]]\npattern = "registry.example.com/*"\npolicy = "checked"\n')
    assert load({}, NOTHING, file).private.of("registry.example.com/a").sharing is Sharing.CHECKED
    with pytest.raises(ConfigError, match="checked needs a cluster key"):
        load({"peer": "10.0.0.1:5001", "gossip": "10.0.0.1:7946"}, NOTHING, file)
    file.write_text('[[privat]]\npattern = "registry.example.com/*"\npolicy = "off"\n')
    with pytest.raises(ConfigError, match="is private meant"):
        load({}, NOTHING, file)


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({}, "http://127.0.0.1:5000/"),
        ({"listen": ["0.0.0.0:5000"]}, "http://127.0.0.1:5000/"),
        ({"listen": ["[::]:5000"]}, "http://[::1]:5000/"),
        ({"listen": ["unix:/run/a.sock", "10.0.0.5:80"]}, "http://10.0.0.5:80/"),
        ({"listen": ["unix:/run/a.sock"]}, None),
        ({"listen-api": "127.0.0.1:5004"}, "http://127.0.0.1:5004/"),
        ({"listen-api": "unix:/run/a.sock"}, None),
    ],
)
def test_where_the_status_page_is(given: dict[str, Any], url: str | None) -> None:
    assert load(given, NOTHING, None).page_url == url


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        (["unix:/run/a.sock", "0.0.0.0:5005"], "http://127.0.0.1:5005"),
        (["[::]:5000"], "http://[::1]:5000"),
        (["10.0.0.9:5000"], "http://10.0.0.9:5000"),
        (["unix:/run/a.sock"], None),
    ],
)
def test_where_runtimes_find_the_agent(listen: list[str], url: str | None) -> None:
    assert load({"listen": listen}, NOTHING, None).client_url == url
