"""Docker: which file counts, what stands in the way, what is said, and what others change in between."""

import json
from pathlib import Path

import pytest

from mirror.runtimes import Change, NotUnderstood, Wanted
from mirror.runtimes.docker import Docker
from mirror.runtimes.host import Host

CONFIG = "/etc/docker/daemon.json"
SNAP = "/var/snap/docker/current/config/daemon.json"
UNIT = "/lib/systemd/system/docker.service"
MIRROR = "http://127.0.0.1:5000"
HUB = Wanted(MIRROR, ("docker.io",))


def host(root: Path, files: dict[str, str]) -> Host:
    for path, text in files.items():
        place = root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return Host(root)


def change(root: Path, files: dict[str, str], wanted: Wanted = HUB) -> Change:
    installed = Docker().look(host(root, {"/usr/bin/dockerd": "", **files}))
    assert installed is not None
    return Docker().add(installed, wanted)


def test_a_host_without_docker_has_none(tmp_path: Path) -> None:
    assert Docker().look(host(tmp_path, {"/usr/bin/podman": "", "/usr/bin/docker": ""})) is None


def test_a_reload_is_enough_to_add_and_a_restart_is_needed_to_take_back(tmp_path: Path) -> None:
    """At SIGHUP dockerd keeps the value of a key that is gone."""
    assert change(tmp_path, {}).restart == ("systemctl", "try-reload-or-restart", "docker")
    installed = Docker().look(Host(tmp_path))
    assert installed is not None
    assert installed.restart == ("systemctl", "try-restart", "docker")


def test_the_snap_has_its_own_file_and_command(tmp_path: Path) -> None:
    found = host(tmp_path, {SNAP: "{}"})
    installed = Docker().look(found)
    assert installed is not None
    changed = Docker().add(installed, HUB)
    assert list(changed.files) == [SNAP]
    assert changed.restart == installed.restart == ("snap", "restart", "docker")


def test_beside_the_snap_both_are_told(tmp_path: Path) -> None:
    changed = change(tmp_path, {SNAP: "{}"})
    assert list(changed.files) == [CONFIG, SNAP]
    assert "snap restart docker" in changed.notes[-1]


def test_the_file_that_the_unit_names_counts(tmp_path: Path) -> None:
    drop_in = "[Service]\nExecStart=\nExecStart=/usr/bin/dockerd \\\n  --config-file=/srv/docker.json\n"
    files = {
        UNIT: "[Service]\nExecStart=/usr/bin/dockerd -H fd://\n",
        "/etc/systemd/system/docker.service.d/own.conf": drop_in,
    }
    assert list(change(tmp_path, files).files) == ["/srv/docker.json"]


@pytest.mark.parametrize(
    ("path", "files"),
    [
        (UNIT, {UNIT: "[Service]\nExecStart=/usr/bin/dockerd --registry-mirror=https://mirror.gcr.io\n"}),
        (
            "/etc/default/docker",
            {
                UNIT: "[Service]\nExecStart=/usr/bin/dockerd -H fd:// $DOCKER_OPTS\n",
                "/etc/default/docker": '# DOCKER_OPTS=""\nDOCKER_OPTS="--registry-mirror https://mirror.gcr.io"\n',
            },
        ),
    ],
)
def test_a_mirror_on_dockerds_command_line_is_refused_for_dockerd_would_not_start(
    tmp_path: Path, path: str, files: dict[str, str]
) -> None:
    with pytest.raises(NotUnderstood, match=r"--registry-mirror https://mirror.gcr.io.*daemon.json") as refused:
        change(tmp_path, files)
    assert str(refused.value).startswith(path)


@pytest.mark.parametrize(
    "files",
    [
        {UNIT: f"[Service]\nExecStart=/usr/bin/dockerd --registry-mirror {MIRROR}/\n"},
        {CONFIG: f'{{"registry-mirrors": ["https://mirror.gcr.io", "{MIRROR}/"]}}'},
    ],
)
def test_a_docker_that_asks_the_agent_already_is_left_alone(tmp_path: Path, files: dict[str, str]) -> None:
    assert change(tmp_path, files) == Change()


def test_options_that_nobody_uses_do_not_count(tmp_path: Path) -> None:
    options = {
        UNIT: "[Service]\nExecStart=/usr/bin/dockerd -H fd://\n",
        "/etc/default/docker": 'DOCKER_OPTS="--registry-mirror=https://mirror.gcr.io"\n',
    }
    assert CONFIG in change(tmp_path, options).files


def test_only_docker_hub_has_mirrors_which_is_said(tmp_path: Path) -> None:
    both = change(tmp_path, {}, Wanted(MIRROR, ("docker.io", "quay.io")))
    assert "Docker Hub alone" in both.notes[0]
    other = change(tmp_path, {}, Wanted(MIRROR, ("quay.io",), every=False))
    assert (other.files, len(other.notes)) == ({}, 1)


def test_a_docker_without_root_is_named_and_left_alone(tmp_path: Path) -> None:
    own = "/home/ann/.config/docker/daemon.json"
    changed = change(tmp_path, {"/etc/passwd": "ann:x:1000:1000::/home/ann:/bin/sh\n", own: "{}"})
    assert list(changed.files) == [CONFIG]
    assert own in changed.notes[-1]


def test_the_agent_comes_first_and_others_stay_in_order(tmp_path: Path) -> None:
    text = change(tmp_path, {CONFIG: '{"registry-mirrors": ["https://b", "https://a"]}'}).files[CONFIG].text
    assert json.loads(text)["registry-mirrors"] == [MIRROR, "https://b", "https://a"]


EDITS = [
    ("{}", '{"registry-mirrors": ["https://own", "http://127.0.0.1:5000"]}', '{"registry-mirrors": ["https://own"]}'),
    ("{}", '{"registry-mirrors":["http:\\/\\/127.0.0.1:5000"],"mtu":1}', '{"mtu":1}'),
    ('{"mtu": 1}', '{"mtu": 1, "registry-mirrors": []}', '{"mtu": 1}'),
    (
        '{"registry-mirrors": ["https://b"]}',
        '{"registry-mirrors": ["http://127.0.0.1:5000"]}',
        '{"registry-mirrors": []}',
    ),
    ('{"mtu": 1}', '{"debug": true}', '{"debug": true}'),
    (
        '{"mtu": 1}',
        '{\n  "registry-mirrors": [\n    "http://127.0.0.1:5000",\n    "https://own"\n  ],\n  "mtu": 2\n}\n',
        '{\n  "registry-mirrors": [\n    "https://own"\n  ],\n  "mtu": 2\n}\n',
    ),
]


@pytest.mark.parametrize(("before", "after", "left"), EDITS)
def test_what_others_made_of_it_is_taken_back_all_the_same(tmp_path: Path, before: str, after: str, left: str) -> None:
    addition = change(tmp_path, {CONFIG: before}).files[CONFIG]
    assert Docker().remove(CONFIG, after, addition.added) == left


def test_containerds_image_store_is_noticed(tmp_path: Path) -> None:
    changed = change(tmp_path, {CONFIG: '{"features": {"containerd-snapshotter": true}}'})
    assert "/etc/docker/certs.d/_default/hosts.toml" in changed.notes[0]
    assert not change(tmp_path, {CONFIG: '{"features": {"containerd-snapshotter": false}}'}).notes
