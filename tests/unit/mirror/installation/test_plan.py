"""What would be written, of what is there and what was asked."""

import tomllib
from pathlib import Path

import pytest

from mirror.errors import ConfigError
from mirror.installation.containerds import Containerd, find
from mirror.installation.join_token import JoinToken
from mirror.installation.places import KEY_FILE, SETTINGS_FILE, UNIT_FILE, Places
from mirror.installation.plan import Plan, plan_of
from mirror.installation.program import Program

PROGRAM = Program("/opt/skvaller/current/bin/skvaller")
KEY = bytes(range(32))
TOKEN = JoinToken(("10.0.0.1:7946",), (KEY,), {"cluster": "lab"})
PLAIN = Containerd("/run/containerd/containerd.sock", "default")


def planned(
    places: Places, given: dict[str, str | list[str]] | None = None, token: JoinToken | None = None, **more: Containerd
) -> Plan:
    return plan_of(places, PROGRAM, given or {}, token, more.get("containerd"))


def put(places: Places, path: str, text: str, mode: int = 0o644) -> None:
    place = places.at(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.touch(mode)
    place.write_text(text)


def test_a_first_node_gets_a_key_of_its_own_and_shares_its_containerd(places: Places) -> None:
    plan = planned(places, {"cache-size": "5GiB"}, containerd=PLAIN)
    assert tomllib.loads(plan.settings.after) == {
        "cache-size": "5GiB", "key-file": KEY_FILE, "containerd": PLAIN.socket, "containerd-namespace": "default",
    }  # fmt: skip
    assert [file.path for file in plan.files] == [KEY_FILE, SETTINGS_FILE, UNIT_FILE]
    assert plan.key is not None
    assert plan.key.mode == 0o600
    assert "AmbientCapabilities" in plan.unit.after
    other = planned(places).key
    assert other is not None
    assert other.after != plan.key.after, "no two clusters have the same key"
    assert not list(places.root.rglob("*.toml")), "nothing is written"


def test_the_key_is_shown_nowhere(places: Places) -> None:
    plan = planned(places, token=TOKEN)
    assert plan.key is not None
    secret = plan.key.after.splitlines()[1]
    assert secret not in "".join(file.diff for file in plan.files)


def test_a_joining_node_gets_the_address_the_key_and_what_all_have_alike(places: Places) -> None:
    plan = planned(places, token=TOKEN)
    assert tomllib.loads(plan.settings.after) == {"cluster": "lab", "join": ["10.0.0.1:7946"], "key-file": KEY_FILE}
    assert plan.key is not None
    put(places, KEY_FILE, plan.key.after, 0o600)
    assert planned(places, token=TOKEN).key is None, "it has that key already"


def test_a_containerd_that_comes_later_is_shared_where_nobody_wrote_the_file_by_hand(places: Places) -> None:
    put(places, SETTINGS_FILE, planned(places, {"name": "a"}).settings.after)
    later = planned(places, containerd=PLAIN)
    assert later.config.containerd == PLAIN.socket
    assert later.settings.diff.count("\n+") == 3, "two lines, and the name of the file"


def test_a_node_of_another_cluster_does_not_join_by_mistake(places: Places) -> None:
    put(places, KEY_FILE, bytes(32).hex(), 0o600)
    with pytest.raises(ConfigError, match="key of another cluster"):
        planned(places, token=TOKEN)


def test_settings_that_are_there_are_kept(places: Places) -> None:
    put(places, SETTINGS_FILE, '# mine\nhome = "never" # slow line\n')
    plan = planned(places, containerd=PLAIN)
    assert not plan.settings.changes
    assert any("whoever reaches this node's ports" in note for note in plan.notes)
    assert any("--containerd" in note for note in plan.notes)
    joined = planned(places, {"cache-size": "5GiB"}, TOKEN)
    assert joined.settings.after.startswith('# mine\nhome = "never" # slow line\n')
    assert joined.config.home == "never"
    assert joined.config.join == ("10.0.0.1:7946",)
    assert joined.config.key_file == Path(KEY_FILE)
    assert '+cache-size = "5GiB"' in joined.settings.diff
    assert "-home" not in joined.settings.diff


@pytest.mark.parametrize(
    ("text", "given", "message"),
    [
        ("", {"cache-size": "lots"}, "--cache-size: 'lots' is not allowed"),
        ('cache-size = "lots"', {}, f"cache-size in {SETTINGS_FILE}: 'lots' is not allowed"),
        ('cache-sise = "1GiB"', {}, f"cache-sise in {SETTINGS_FILE}: no such setting; is cache-size meant"),
        ("join = [", {}, f"{SETTINGS_FILE} is not TOML"),
    ],
)
def test_what_is_wrong_is_said_of_the_file_where_it_would_be(
    places: Places, text: str, given: dict[str, str | list[str]], message: str
) -> None:
    put(places, SETTINGS_FILE, text)
    with pytest.raises(ConfigError) as error:
        planned(places, given)
    assert message in str(error.value)


@pytest.mark.parametrize("folder", ["relative", "/srv/a b", "/srv/100%", "/"])
def test_a_data_folder_that_a_unit_cannot_name_is_refused(places: Places, folder: str) -> None:
    with pytest.raises(ConfigError, match="data-dir"):
        planned(places, {"data-dir": folder})


def test_a_file_with_a_password_is_for_the_agent_alone(places: Places) -> None:
    plan = planned(places, {"upstream": ["registry.example.com=https://u:p@registry.example.com"]})
    assert plan.settings.mode == 0o600
    assert planned(places).settings.mode == 0o644


@pytest.mark.parametrize(
    ("there", "found"),
    [
        ([], None),
        (["run/containerd/containerd.sock"], PLAIN),
        (["run/containerd/containerd.sock", "var/lib/kubelet"], Containerd(PLAIN.socket, "k8s.io")),
        (
            ["run/containerd/containerd.sock", "run/k3s/containerd/containerd.sock"],
            Containerd("/run/k3s/containerd/containerd.sock", "k8s.io"),
        ),
    ],
)
def test_the_containerd_that_runs_the_containers_is_found(
    places: Places, there: list[str], found: Containerd | None
) -> None:
    for path in there:
        (places.root / path).mkdir(parents=True)
    assert find(places) == found
