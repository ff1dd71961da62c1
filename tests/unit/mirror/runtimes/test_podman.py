"""podman and its kin: whose table counts for an image, and that ours says what others' tables say, and the agent."""

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mirror.runtimes import Change, Installed, NotUnderstood, Wanted
from mirror.runtimes.host import Host
from mirror.runtimes.podman import OWN, Podman
from mirror.runtimes.registries_conf import DROP_INS, MAIN

WANTED = Wanted("http://127.0.0.1:5000", ("docker.io", "registry.corp.example:5000"))
HUB = replace(WANTED, registries=("docker.io",))
AGENT = {"location": "127.0.0.1:5000/docker.io", "insecure": True}
CORP = f"{DROP_INS}/50-corp.conf"


def change(files: dict[str, str], wanted: Wanted = HUB) -> Change:
    return Podman().add(Installed("podman", None, files), wanted)


def said(changed: Change) -> dict[str, dict[str, Any]]:
    """What the new file says of each prefix."""
    tables = tomllib.loads(changed.files[OWN].text)["registry"]
    return {table.get("prefix", table["location"]): table for table in tables}


def test_a_registry_that_nobody_mentions_gets_the_agent_before_itself() -> None:
    tables = said(change({}, WANTED))
    assert tables["docker.io"] == {"prefix": "docker.io", "location": "docker.io", "mirror": [AGENT]}
    assert tables["registry.corp.example:5000"]["mirror"] == [
        {"location": "127.0.0.1:5000/registry.corp.example_5000", "insecure": True}
    ]


def test_what_others_say_of_a_registry_is_said_again_behind_the_agent() -> None:
    """Of two tables the first of a file counts, and the one of a later file."""
    table = '[[registry]]\nlocation = "docker.io"\n{}[[registry.mirror]]\nlocation = "{}"\n'
    files = {
        MAIN: table.format("", "main.example"),
        CORP: table.format("mirror-by-digest-only = true\n", "corp.example") + table.format("", "never.example"),
    }
    assert said(change(files)) == {
        "docker.io": {
            "prefix": "docker.io",
            "location": "docker.io",
            "mirror-by-digest-only": True,
            "mirror": [AGENT, {"location": "corp.example"}],
        }
    }


def test_longer_prefixes_would_take_images_away_and_so_are_said_too() -> None:
    tables = said(change({CORP: '[[registry]]\nlocation = "docker.io/team"\ninsecure = true\n'}))
    assert tables["docker.io/team"] == {
        "prefix": "docker.io/team",
        "location": "docker.io/team",
        "insecure": True,
        "mirror": [{"location": "127.0.0.1:5000/docker.io/team", "insecure": True}],
    }


def test_what_a_wildcard_says_counts_for_its_hosts() -> None:
    wild = '[[registry]]\nprefix = "*.example"\ninsecure = true\n[[registry]]\nprefix = "*.corp.example"\n'
    mirror = '[[registry.mirror]]\nlocation = "near.example"\n'
    tables = said(change({MAIN: wild + mirror}, WANTED))
    assert tables["registry.corp.example:5000"]["mirror"][1:] == [{"location": "near.example"}]
    assert "insecure" not in tables["registry.corp.example:5000"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[[registry]]\nlocation = "docker.io"\nblocked = true\n', "blocks docker.io"),
        (
            '[[registry]]\nprefix = "docker.io"\nlocation = "hub.corp.example/x"\n',
            "sends docker.io to hub.corp.example/x",
        ),
    ],
)
def test_what_is_blocked_or_sent_elsewhere_stays_so(text: str, reason: str) -> None:
    changed = change({CORP: text})
    assert not changed.files
    assert changed.notes[0].startswith(f"{CORP} {reason}")


def test_what_is_sent_to_a_registry_that_is_wanted_asks_the_agent_for_that() -> None:
    sent = '[[registry]]\nprefix = "docker.io"\nlocation = "registry.corp.example:5000/hub"\n'
    mirror = said(change({CORP: sent}, WANTED))["docker.io"]["mirror"][0]
    assert mirror["location"] == "127.0.0.1:5000/registry.corp.example_5000/hub"


def test_no_table_is_written_that_would_make_podman_refuse_the_file() -> None:
    """In one file, tables of one location have to agree about `insecure`; in two files they need not."""
    alias = '[[registry]]\nprefix = "docker.io/old"\nlocation = "docker.io"\ninsecure = true\n'
    changed = change({CORP: alias})
    assert list(said(changed)) == ["docker.io"]
    assert "docker.io/old is left as it is" in changed.notes[0]


def test_a_table_that_names_the_agent_already_is_left_alone() -> None:
    by_hand = '[[registry]]\nlocation = "docker.io"\n[[registry.mirror]]\nlocation = "127.0.0.1:5000/docker.io/"\n'
    assert change({CORP: by_hand}) == Change()


def test_the_old_format_counts_and_is_named() -> None:
    old = '[registries.search]\nregistries = ["docker.io"]\n[registries.insecure]\nregistries = ["docker.io"]\n'
    changed = change({MAIN: old})
    assert said(changed)["docker.io"]["insecure"] is True
    assert "old format" in changed.notes[0]


def test_it_is_made_anew_when_others_change_their_files() -> None:
    first = change({}).files[OWN].text
    assert change({OWN: first}) == Change()
    corp = '[[registry]]\nlocation = "docker.io"\n[[registry.mirror]]\nlocation = "corp.example"\n'
    assert said(change({OWN: first, CORP: corp}))["docker.io"]["mirror"] == [AGENT, {"location": "corp.example"}]


def test_what_others_wrote_into_it_stays() -> None:
    changed = change({})
    addition = changed.files[OWN]
    table = '\n# by hand\n[[registry]]\nlocation = "ghcr.io"\n'
    edited = addition.text + table
    assert change({OWN: edited}) == Change()
    more = change({OWN: edited}, replace(HUB, registries=("docker.io", "quay.io"))).files[OWN]
    assert more.text.startswith(edited)
    assert Podman().remove(OWN, more.text, more.added) == edited
    assert Podman().remove(OWN, edited, addition.added) == table
    without_mirror = edited.replace('[[registry.mirror]]\nlocation = "127.0.0.1:5000/docker.io"\ninsecure = true\n', "")
    assert said(change({OWN: without_mirror}))["docker.io"]["mirror"] == [AGENT]


def test_a_mirror_of_others_in_our_table_stays() -> None:
    addition = change({}).files[OWN]
    edited = addition.text + '\n[[registry.mirror]]\nlocation = "own.example"\n'
    left = Podman().remove(OWN, edited, addition.added)
    assert left is not None
    assert tomllib.loads(left)["registry"][0]["mirror"] == [{"location": "own.example"}]


def test_a_file_that_is_read_later_and_says_something_else_is_named() -> None:
    later = f"{DROP_INS}/zzz.conf"
    changed = change({later: '[[registry]]\nlocation = "docker.io"\n'})
    assert later in changed.notes[0]


@pytest.mark.parametrize(
    ("program", "command"), [("podman", ()), ("crio", ("systemctl", "try-reload-or-restart", "crio"))]
)
def test_only_crio_has_to_be_told(tmp_path: Path, program: str, command: tuple[str, ...]) -> None:
    place = tmp_path / "usr/bin" / program
    place.parent.mkdir(parents=True)
    place.touch()
    own = tmp_path / "root/.config/containers/registries.conf"
    own.parent.mkdir(parents=True)
    own.touch()
    installed = Podman().look(Host(tmp_path))
    assert installed is not None
    changed = Podman().add(installed, HUB)
    assert changed.restart == installed.restart == command
    assert changed.files[OWN].at_once == (not command)
    assert changed.notes[0].startswith("/root/.config/containers/registries.conf: for this user")


def test_what_keeps_pulls_from_the_agent_is_said() -> None:
    text = '[[registry]]\nlocation = "docker.io"\nmirror-by-digest-only = true\n'
    changed = change({CORP: f"\ufeff{text}"})
    assert OWN in changed.files
    assert ["by a tag" in changed.notes[0], "byte order mark" in changed.notes[1]] == [True, True]


def test_a_broken_file_of_others_is_named() -> None:
    with pytest.raises(NotUnderstood, match=r"50-corp\.conf:1: "):
        change({CORP: "registry = ["})
