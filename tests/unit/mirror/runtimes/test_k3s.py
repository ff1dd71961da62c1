"""What K3s and RKE2 are told, by what their other settings say."""

from pathlib import Path

import pytest

from mirror.runtimes import Change, Installed, NotUnderstood, Wanted
from mirror.runtimes.host import Host
from mirror.runtimes.k3s import K3S, RKE2, K3s

REGISTRIES = "/etc/rancher/k3s/registries.yaml"
SETTINGS = "/etc/rancher/k3s/config.yaml"
DATA = "/var/lib/rancher/k3s"
URL = "http://127.0.0.1:5000"
EVERY = Wanted(URL, ("docker.io", "quay.io"))


def found(root: Path, files: dict[str, str], runtime: K3s | None = None) -> Installed:
    for path, text in {"/usr/local/bin/k3s": "", "/usr/local/bin/rke2": "", **files}.items():
        place = root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    installed = (runtime or K3s()).look(Host(root))
    assert installed is not None
    return installed


def change(root: Path, files: dict[str, str], wanted: Wanted = EVERY) -> Change:
    return K3s().add(found(root, files), wanted)


def test_a_new_file_names_all_registries(tmp_path: Path) -> None:
    done = change(tmp_path, {})
    assert done.files[REGISTRIES].text == f'mirrors:\n  "*":\n    endpoint:\n      - "{URL}"\n'
    assert done.restart == ("systemctl", "restart", "k3s")
    assert done.notes == ()


def test_registries_of_their_own_are_told_each(tmp_path: Path) -> None:
    """What has an entry, or credentials, is not meant by the star."""
    text = (
        "mirrors:\n  quay.io:\nconfigs:\n  corp.example:\n    auth:\n      username: u\n  localhost:32000: {tls: {}}\n"
    )
    done = change(tmp_path, {REGISTRIES: text})
    assert [each["registry"] for each in done.files[REGISTRIES].added["inserted"]] == ["corp.example", "quay.io", "*"]


def test_the_embedded_registry_is_another_one(tmp_path: Path) -> None:
    """It has the same host, and is told of, for its port on each node is the agent's usual one."""
    text = 'mirrors:\n  "*":\n    endpoint:\n      - https://127.0.0.1:6443/v2\n'
    done = change(tmp_path, {REGISTRIES: text, SETTINGS: "embedded-registry: true\n"})
    assert done.files[REGISTRIES].text == text.replace("      - h", f'      - "{URL}"\n      - h')
    assert "--peer 0.0.0.0:5011" in done.notes[0]
    own = change(tmp_path, {}, Wanted("http://127.0.0.1:6443", ("docker.io",)))
    assert any("http://127.0.0.1:6443 is a port of K3s itself" in note for note in own.notes)


@pytest.mark.parametrize("later", ["embedded-registry: false\n", "node-name: a\n"])
def test_later_settings_win(tmp_path: Path, later: str) -> None:
    files = {SETTINGS: "embedded-registry: true\n", "/etc/rancher/k3s/config.yaml.d/9.yaml": later}
    assert bool(change(tmp_path, files).notes) == ("false" not in later)


def test_a_rewrite_is_left_alone(tmp_path: Path) -> None:
    text = 'mirrors:\n  docker.io:\n    endpoint: [https://h.example]\n    rewrite:\n      "(.*)": "hub/$1"\n'
    done = change(tmp_path, {REGISTRIES: text}, Wanted(URL, ("docker.io",), every=False))
    assert done.files == {}
    assert "docker.io has a rewrite" in done.notes[0]


def test_images_that_are_imported_and_templates_are_told_of(tmp_path: Path) -> None:
    template = f"{DATA}/agent/etc/containerd/config.toml.tmpl"
    files = {f"{DATA}/agent/images/shop.tar.zst": "", f"{DATA}/agent/images/.cache.json": "", template: "version = 2\n"}
    imported, own = change(tmp_path, files).notes
    assert f"{DATA}/agent/images" in imported
    assert "/run/k3s/containerd/containerd.sock" in imported
    assert own.startswith(f"{template} is a template of yours that sets no config_path")
    assert len(change(tmp_path, {template: '{{ template "base" . }}\n'}).notes) == 1


def test_files_are_where_its_settings_say(tmp_path: Path) -> None:
    done = change(
        tmp_path, {SETTINGS: "private-registry: /srv/r.yaml\ndata-dir: /srv/k3s\n", "/srv/k3s/agent/images/a": ""}
    )
    assert list(done.files) == ["/srv/r.yaml"]
    assert "/srv/k3s/agent/images" in done.notes[0]


@pytest.mark.parametrize(
    ("runtime", "files", "command"),
    [
        (K3S, ["/etc/systemd/system/k3s-agent.service"], ("systemctl", "restart", "k3s-agent")),
        (K3S, ["/etc/init.d/k3s"], ("rc-service", "k3s", "restart")),
        (
            RKE2,
            [
                "/usr/local/lib/systemd/system/rke2-server.service",
                "/usr/local/lib/systemd/system/rke2-agent.service",
                "/etc/systemd/system/multi-user.target.wants/rke2-agent.service",
            ],
            ("systemctl", "restart", "rke2-agent"),
        ),
    ],
)
def test_what_runs_is_restarted(tmp_path: Path, runtime: object, files: list[str], command: tuple[str, ...]) -> None:
    kind = K3s(RKE2 if runtime is RKE2 else K3S)
    assert found(tmp_path, dict.fromkeys(files, ""), kind).restart == command


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mirrors: [docker.io]\n", "mirrors has to be a mapping"),
        ("mirrors:\n  docker.io:\n    endpoint: https://a\n", "its endpoint a list"),
        ("mirrors:\n  a: &a\n    endpoint:\n    - https://x\n  b: *a\n", "its form is not known; add this by hand"),
        ("a: 1\n---\nmirrors:\n", "it is not YAML"),
    ],
)
def test_what_cannot_be_added_to_is_left_alone(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(NotUnderstood, match=said):
        change(tmp_path, {REGISTRIES: text})


def test_what_others_put_beside_the_agent_stays(tmp_path: Path) -> None:
    """They went on in the entry that was made, and wrote the agent's line anew."""
    made = change(tmp_path, {}).files[REGISTRIES]
    theirs = made.text.replace(f'      - "{URL}"\n', f"      - '{URL}' # ours\n      - https://h.example\n")
    theirs += '  quay.io:\n    endpoint:\n      - "http://127.0.0.1:5000"\n'
    assert K3s().remove(REGISTRIES, theirs, made.added) == (
        'mirrors:\n  "*":\n    endpoint:\n      - https://h.example\n'
        '  quay.io:\n    endpoint:\n      - "http://127.0.0.1:5000"\n'
    )
