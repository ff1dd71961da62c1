"""What containerd is told, by its version and by what others have written."""

import tomllib
from pathlib import Path

import pytest

from mirror.runtimes import Change, NotUnderstood, Wanted
from mirror.runtimes.containerd import MICROK8S, Containerd
from mirror.runtimes.host import Host

CONFIG = "/etc/containerd/config.toml"
CERTS = "/etc/containerd/certs.d"
URL = "http://127.0.0.1:5000"
EVERY = Wanted(URL, ("docker.io", "quay.io"))
OURS = f'[host."{URL}"]\n  capabilities = ["pull", "resolve"]\n'
OLD = '[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = '
NEW = '[plugins."io.containerd.cri.v1.images".registry]\n  config_path = '
DPKG = "Package: containerd{name}\nStatus: install ok installed\nPriority: optional\nVersion: {version}\n\n"
HARBOR = '[host."https://harbor.example"]\n  capabilities = ["pull"]\n'


def host_with(root: Path, files: dict[str, str], version: str = "") -> Host:
    """A host with containerd, of that version if a package tells."""
    if version:
        files = {"/var/lib/dpkg/status": DPKG.format(name="", version=version), **files}
    for path, text in {"/usr/bin/containerd": "", **files}.items():
        place = root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return Host(root)


def change(host: Host, wanted: Wanted = EVERY, runtime: Containerd | None = None) -> Change:
    runtime = runtime or Containerd()
    installed = runtime.look(host)
    assert installed is not None
    return runtime.add(installed, wanted)


@pytest.mark.parametrize(
    ("config", "version", "added"),
    [
        (None, "", "version = 2\n\n" + OLD),
        (None, "1.6.20~ds1-1+deb12u3", "version = 2\n\n" + OLD),
        (None, "2.1.4-1", "version = 3\n\n" + NEW),
        ("", "", "[plugins.cri.registry]\n  config_path = "),
        ("version = 2\n", "2.1.4-1", OLD),
        ("version = 3\n", "", NEW),
        ("version = 4\n", "", NEW),
    ],
)
def test_the_plugin_has_the_name_that_the_file_has_for_it(
    tmp_path: Path, config: str | None, version: str, added: str
) -> None:
    host = host_with(tmp_path, {} if config is None else {CONFIG: config}, version)
    assert change(host).files[CONFIG].text.endswith(f'{added}"{CERTS}"\n')
    assert change(host).restart == ("systemctl", "restart", "containerd")


def test_hosts_come_before_the_setting_that_makes_containerd_read_them(tmp_path: Path) -> None:
    done = change(host_with(tmp_path, {}))
    assert list(done.files) == [f"{CERTS}/_default/hosts.toml", CONFIG]
    assert [each.at_once for each in done.files.values()] == [True, False]


@pytest.mark.parametrize(("version", "speaks"), [("1.7.2-1", "/etc/containerd/conf.d/b.toml"), ("2.2.0-1", None)])
def test_an_imported_file_that_speaks_of_the_plugin_wins(tmp_path: Path, version: str, speaks: str | None) -> None:
    """Before 2.2 it takes the place of all that others say of it; then only of the keys that it has."""
    plugin = '[plugins."io.containerd.grpc.v1.cri"'
    imports = 'version = 2\nimports = ["conf.d/*.toml", "/none"]\n'
    files = {
        CONFIG: f'{imports}{plugin}.registry]\n  config_path = "/srv/certs"\n',
        "/etc/containerd/conf.d/b.toml": f"version = 2\n{plugin}]\n  max_concurrent_downloads = 2\n",
        "/etc/containerd/conf.d/c.conf": "no TOML",
    }
    done = change(host_with(tmp_path, files, version))
    assert list(done.files) == [*filter(None, ["/srv/certs/_default/hosts.toml", speaks])]
    if speaks:
        assert '  config_path = "/srv/certs"\n' in done.files[speaks].text


MIRRORS = """\
version = 2
[plugins."io.containerd.grpc.v1.cri".registry]
  [plugins."io.containerd.grpc.v1.cri".registry.mirrors]
    [plugins."io.containerd.grpc.v1.cri".registry.mirrors."docker.io"]
      endpoint = ["https://harbor.example", "https://registry-1.docker.io"]
    [plugins."io.containerd.grpc.v1.cri".registry.mirrors."quay.io"]
      endpoint = [
        # ours
        "https://harbor.example",
      ]
    [plugins."io.containerd.grpc.v1.cri".registry.mirrors."localhost:32000"]
      endpoint = ["http://localhost:32000"]
"""


def test_beside_registry_mirrors_the_agent_becomes_one_of_them(tmp_path: Path) -> None:
    """containerd does not start with config_path beside them."""
    done = change(host_with(tmp_path, {CONFIG: MIRRORS}))
    assert list(done.files) == [CONFIG]
    assert done.restart == ("systemctl", "restart", "containerd")
    registry = tomllib.loads(done.files[CONFIG].text)["plugins"]["io.containerd.grpc.v1.cri"]["registry"]
    assert {name: entry["endpoint"][0] for name, entry in registry["mirrors"].items()} == {
        "docker.io": URL,
        "quay.io": URL,
        "*": URL,
        "localhost:32000": "http://localhost:32000",
    }
    assert "config_path" not in registry
    assert Containerd().remove(CONFIG, done.files[CONFIG].text, done.files[CONFIG].added) == MIRRORS


def test_what_others_write_beside_such_a_mirror_stays(tmp_path: Path) -> None:
    some = Wanted(URL, ("docker.io", "ghcr.io"), every=False)
    made = change(host_with(tmp_path, {CONFIG: MIRRORS}), some).files[CONFIG]
    theirs = made.text.replace(f'["{URL}", "https', f'["https://a.example", "{URL}", "https').replace(
        f'["{URL}"]', f'["{URL}", "https://b.example"]'
    )
    left = Containerd().remove(CONFIG, theirs, made.added)
    assert left is not None
    assert left.startswith(MIRRORS.replace('["https://harbor', '["https://a.example", "https://harbor'))
    assert left.endswith('mirrors."ghcr.io"]\n  endpoint = ["https://b.example"]\n')


def test_a_configuration_that_k3s_writes_is_left_to_k3s(tmp_path: Path) -> None:
    text = "# File generated by k3s. DO NOT EDIT. Use config.toml.tmpl instead.\nversion = 2\n"
    with pytest.raises(NotUnderstood, match="`skvaller configure k3s`"):
        change(host_with(tmp_path, {CONFIG: text}))


def test_docker_s_containerd_has_no_plugin_to_be_told(tmp_path: Path) -> None:
    done = change(host_with(tmp_path, {CONFIG: 'disabled_plugins = ["cri"]\n'}))
    assert list(done.files) == [f"{CERTS}/_default/hosts.toml"]
    assert "skvaller configure docker" in done.notes[0]
    assert done.restart == ()


@pytest.mark.parametrize(
    ("version", "table"), [(3, '"io.containerd.cri.v1.images"'), (2, '"io.containerd.grpc.v1.cri".containerd')]
)
def test_layers_that_are_thrown_away_are_told_of_and_stay_so(tmp_path: Path, version: int, table: str) -> None:
    text = f"version = {version}\n[plugins.{table}]\n  discard_unpacked_layers = true\n"
    done = change(host_with(tmp_path, {CONFIG: text}))
    assert done.notes[0].startswith(f"{CONFIG}:3 has discard_unpacked_layers = true")
    assert done.files[CONFIG].text.startswith(text)


@pytest.mark.parametrize(
    ("version", "own", "told"),
    [
        ("1.7.2", "", False),
        ("2.3.4", "", True),
        ("2.3.4", "max_concurrent_downloads = 3", True),
        ("2.3.4", "use_local_image_pull = true", False),
        ("2.3.4", "max_concurrent_downloads = 8", False),
        ("2.1.5", "discard_unpacked_layers = true", False),  # as Amazon's
    ],
)
def test_several_folders_are_none_to_a_newer_containerd(tmp_path: Path, version: str, own: str, told: bool) -> None:
    """Unless something has it pull without its transfer service."""
    plugin = '[plugins."io.containerd.cri.v1.images"'
    text = f'version = 3\n{plugin}]\n  {own}\n{plugin}.registry]\n  config_path = "{CERTS}:/etc/docker/certs.d"\n'
    done = change(host_with(tmp_path, {CONFIG: text}, version))
    assert any("several folders" in note for note in done.notes) == told
    assert list(done.files) == [f"{CERTS}/_default/hosts.toml"]


def test_every_folder_of_a_registry_gets_the_agent_before_what_it_has(tmp_path: Path) -> None:
    files = {
        f"{CERTS}/docker.io/hosts.toml": f'server = "https://registry-1.docker.io"\n\n# the cache\n{HARBOR}',
        f"{CERTS}/registry.example_5000_/hosts.toml": "",
        f"{CERTS}/private.example/ca.crt": "",
        f"{CERTS}/localhost:32000/hosts.toml": HARBOR,
        f"{CERTS}/_backup/docker.io/hosts.toml": HARBOR,
        f"{CERTS}/quay.io/hosts.toml": f'{HARBOR}\n[host."{URL}"]\n',
    }
    done = change(host_with(tmp_path, files))
    assert {path.removeprefix(f"{CERTS}/"): each.text for path, each in done.files.items() if path != CONFIG} == {
        "_default/hosts.toml": OURS,
        "docker.io/hosts.toml": f'server = "https://registry-1.docker.io"\n\n{OURS}\n# the cache\n{HARBOR}',
        "registry.example_5000_/hosts.toml": OURS,
    }
    assert [note for note in done.notes if note.startswith(f"{CERTS}/private.example has certificates (ca.crt)")]


@pytest.mark.parametrize(
    ("there", "folder"), [([], "registry.example:5000"), (["registry.example_5000_"], "registry.example_5000_")]
)
def test_a_registry_that_is_named_has_a_folder_of_its_own(tmp_path: Path, there: list[str], folder: str) -> None:
    files = {f"{CERTS}/{each}/hosts.toml": HARBOR for each in there}
    done = change(host_with(tmp_path, files), Wanted(URL, ("registry.example:5000",), every=False))
    assert list(done.files) == [f"{CERTS}/{folder}/hosts.toml", CONFIG]


def test_hosts_in_one_line_are_left_to_the_operator(tmp_path: Path) -> None:
    path = f"{CERTS}/docker.io/hosts.toml"
    with pytest.raises(NotUnderstood, match=r'hosts stand in one line; write each as a table, \[host."https://a"\]'):
        change(host_with(tmp_path, {path: 'host = { "https://a" = { skip_verify = true } }\n'}))


def test_microk8s_has_places_and_words_of_its_own(tmp_path: Path) -> None:
    args = "/var/snap/microk8s/current/args"
    plugin = '[plugins."io.containerd.grpc.v1.cri".registry]'
    template = f'version = 2\n{plugin}\n  config_path = "${{SNAP_DATA}}/args/certs.d"\n'
    done = change(host_with(tmp_path, {f"{args}/containerd-template.toml": template}), runtime=Containerd(MICROK8S))
    assert list(done.files) == [f"{args}/certs.d/_default/hosts.toml"]


GO = bytes.fromhex("3077af0c9274080241e1c107e6d618e6")


@pytest.mark.parametrize(
    ("program", "version"),
    [
        (b"path\tx\nmod\tgithub.com/containerd/containerd/v2\tv2.3.4\th1:c=\n", "2.3.4"),
        (b'path\tx\nmod\tx\t(devel)\t\nbuild\t-ldflags="-X x/version.Version=v1.7.13+k3s1"\n', "1.7.13"),
        (b"path\tx\nbuild\tCGO_ENABLED=1\n", None),
    ],
)
def test_the_version_stands_in_the_program(tmp_path: Path, program: bytes, version: str | None) -> None:
    host = host_with(tmp_path, {})
    (tmp_path / "usr/bin/containerd").write_bytes(b"\x7fELF" + GO + b"\0" * 4096 + GO + program + b"\0" * 9)
    installed = Containerd().look(host)
    assert installed is not None
    assert installed.version == version


def test_a_host_without_it_has_none(tmp_path: Path) -> None:
    assert Containerd().look(Host(tmp_path)) is None


def test_other_mirrors_follow_upon_the_agent_and_go_with_it(tmp_path: Path) -> None:
    path, second = f"{CERTS}/_default/hosts.toml", "http://10.0.0.5:5000"
    host = host_with(tmp_path, {path: HARBOR})
    wanted = Wanted(URL, ("docker.io",), then=(second, "https://harbor.example"))
    addition = change(host, wanted).files[path]
    theirs = f'[host."{second}"]\n  capabilities = ["pull", "resolve"]\n'
    assert addition.text == f"{OURS}\n{theirs}\n{HARBOR}"
    assert Containerd().remove(path, addition.text, addition.added) == HARBOR
    changed = addition.text.replace('["pull", "resolve"]', '["pull"]')
    left = Containerd().remove(path, changed, addition.added)
    assert left is not None
    assert left.strip() == HARBOR.strip()
