"""BuildKit: a table for each registry, and what others make of these tables."""

import tomllib
from pathlib import Path

import pytest

from mirror.runtimes import Addition, Change, Installed, NotUnderstood, Wanted
from mirror.runtimes.buildkit import BuildKit
from mirror.runtimes.host import Host

CONFIG = "/etc/buildkit/buildkitd.toml"
RESTART = ("systemctl", "restart", "buildkit")
HUB = Wanted("http://127.0.0.1:5000", ("docker.io",), every=False)
HTTP = '\n[registry."127.0.0.1:5000"]\n  http = true\n'


def change(text: str | None) -> Change:
    return BuildKit().add(Installed("buildkit", None, {} if text is None else {CONFIG: text}, restart=RESTART), HUB)


def addition(text: str | None) -> Addition:
    return change(text).files[CONFIG]


PLACES = [
    (None, f'[registry."docker.io"]\n  mirrors = ["127.0.0.1:5000"]\n{HTTP}'),
    (
        '[registry."docker.io"]\n\thttp = false',
        '[registry."docker.io"]\n\tmirrors = ["127.0.0.1:5000"]\n\thttp = false',
    ),
    (
        'registry = { "docker.io" = { } }\n',
        'registry = { "127.0.0.1:5000" = { http = true }, "docker.io" = { mirrors = ["127.0.0.1:5000"] } }\n',
    ),
    (
        '[registry."docker.io"]\n  mirrors = [\n    # near\n    "near.example",\n  ]\n',
        '[registry."docker.io"]\n  mirrors = [\n    "127.0.0.1:5000",\n    # near\n    "near.example",\n  ]\n',
    ),
]


@pytest.mark.parametrize(("before", "after"), PLACES)
def test_it_is_written_in_the_style_of_the_file(before: str | None, after: str) -> None:
    assert addition(before).text.startswith(after)


@pytest.mark.parametrize("mirror", ["127.0.0.1:5000", "127.0.0.1:5000/docker.io", "127.0.0.1:5000/"])
def test_a_mirror_that_is_there_already_is_enough(mirror: str) -> None:
    assert change(f'[registry."docker.io"]\nmirrors = ["near.example", "{mirror}"]\n{HTTP}') == Change()


def test_https_of_the_agents_address_is_told_about() -> None:
    text = '[registry."docker.io"]\nmirrors = ["127.0.0.1:5000"]\n[registry."127.0.0.1:5000"]\nhttp = false\n'
    changed = change(text)
    assert not changed.files
    assert "http = false" in changed.notes[0]


OURS = addition(None).text
EDITS = [
    (
        None,
        OURS.replace("mirrors =", 'ca = ["/corp.pem"]\n  mirrors ='),
        '[registry."docker.io"]\n  ca = ["/corp.pem"]\n',
    ),
    (None, OURS.replace('["127', '["own.example", "127'), '[registry."docker.io"]\n  mirrors = ["own.example"]\n'),
    (None, OURS.replace("  ", "\t").replace("\n\n", "\n"), None),
    (None, "debug = true\n", "debug = true\n"),
    (
        "debug = true\n",
        f'[registry."docker.io"]\n  mirrors = [\n    "127.0.0.1:5000"\n  ]\n{HTTP}\n[log]\nlevel = "info"\n',
        '\n[log]\nlevel = "info"\n',
    ),
]


@pytest.mark.parametrize(("before", "after", "left"), EDITS)
def test_what_others_made_of_it_is_taken_back_all_the_same(before: str | None, after: str, left: str | None) -> None:
    assert BuildKit().remove(CONFIG, after, addition(before).added) == left


def test_a_table_that_others_went_on_in_keeps_what_is_theirs() -> None:
    before = "debug = true\n"
    added = addition(before)
    left = BuildKit().remove(CONFIG, f"{added.text}  insecure = true\n", added.added)
    assert left is not None
    assert tomllib.loads(left) == {"debug": True, "registry": {"127.0.0.1:5000": {"insecure": True}}}


def test_builders_in_containers_are_named_with_what_makes_them_anew(tmp_path: Path) -> None:
    folder = tmp_path / "home/ann/.docker/buildx/instances"
    folder.mkdir(parents=True)
    (folder / "fast").write_text('{"Name": "fast", "Driver": "docker-container"}')
    (folder / "far").write_text('{"Name": "far", "Driver": "remote"}')
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("ann:x:1000:1000::/home/ann:/bin/sh\n")
    installed = BuildKit().look(Host(tmp_path))
    assert installed is not None
    changed = BuildKit().add(installed, HUB)
    assert (list(changed.files), changed.restart) == ([CONFIG], ())
    (note,) = changed.notes
    assert f"docker buildx create --name fast --driver-opt network=host --config {CONFIG}" in note


def test_a_form_without_a_place_is_refused_with_what_to_write() -> None:
    with pytest.raises(NotUnderstood, match="must be a table"):
        change('registry = { "docker.io" = 1 }\n')


def test_a_buildkitd_without_a_unit_is_for_its_owner_to_start_again(tmp_path: Path) -> None:
    program = tmp_path / "usr/local/bin/buildkitd"
    program.parent.mkdir(parents=True)
    program.touch()
    installed = BuildKit().look(Host(tmp_path))
    assert installed is not None
    assert "start it again yourself" in BuildKit().add(installed, HUB).notes[0]
    unit = tmp_path / "usr/local/lib/systemd/system/buildkit.service"
    unit.parent.mkdir(parents=True)
    unit.touch()
    installed = BuildKit().look(Host(tmp_path))
    assert installed is not None
    assert BuildKit().add(installed, HUB).restart == ("systemctl", "try-restart", "buildkit")
