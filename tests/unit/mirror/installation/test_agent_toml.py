"""A new file of settings explains itself; one that is there keeps everything that nobody asked to change."""

import re
import tomllib
from importlib import resources
from pathlib import Path

import pytest

from mirror.config import load
from mirror.errors import ConfigError
from mirror.installation.agent_toml import Given, changed_text, new_text

SAMPLE = resources.files("mirror.installation").joinpath("agent.toml").read_text().splitlines()
OFFERED = [line.removeprefix("# ") for line in SAMPLE if re.match(r"# ([a-z-]+ = |\[\[registry\]\])", line)]

BY_HAND = """\
# Our second site. Ask Ada before you touch this.
cache-size = "5GiB"   # the disk is small

join = [
  "node1",   # in the cellar
  "node2",
]

[[registry]]
name = "docker.io"
url = ["http://10.0.0.6:5000"]  # the cache
"""


def test_all_settings_that_are_offered_may_be_given_at_once(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    lines = [line for line in OFFERED if not line.startswith("upstream-auth")]  # it is read, and is not here
    file.write_text("\n".join(lines))
    config = load({}, {}, file)
    others = [line for line in lines if re.match("listen-for|metrics", line)]
    ports = [address.port for address in (*config.listen, config.peer, config.gossip) if hasattr(address, "port")]
    ports += [int(port) for line in others for port in re.findall(r":(\d+)", line)]
    assert len(set(ports)) == len(ports)


def test_a_new_file_has_what_was_given_and_nothing_else() -> None:
    given: Given = {"cache-size": "5GiB", "join": ["a", "b:7946"], "advertise": "10.0.0.1", "name": 'odd "name" \\'}
    text = new_text(given)
    assert tomllib.loads(text) == given
    lines = text.splitlines()
    explained = lines.index('cache-size = "5GiB"')
    assert lines[explained - 1].startswith("# 0: no content"), "a setting stands where the sample explains it"
    assert text.splitlines()[0] == SAMPLE[0]
    assert tomllib.loads(new_text({})) == {}


def test_in_a_file_that_is_there_only_what_is_given_changes() -> None:
    changed = changed_text(BY_HAND, {"cache-size": "9GiB", "advertise": "10.0.0.1"})
    assert tomllib.loads(changed) == {**tomllib.loads(BY_HAND), "cache-size": "9GiB", "advertise": "10.0.0.1"}
    for line in BY_HAND.splitlines():
        assert line.replace("5GiB", "9GiB") in changed.splitlines()


def test_a_setting_comes_to_where_the_file_explains_it() -> None:
    text = new_text({"name": "a"})
    lines = changed_text(text, {"upstream": ["a.example=https://b.example"]}).splitlines()
    place = lines.index('upstream = ["a.example=https://b.example"]')
    assert lines[place - 1].startswith("# upstream = ")
    assert [line for number, line in enumerate(lines) if number != place] == text.splitlines()


IN_TABLES = ('[[registry]]\nname = "a.io"\n# advertise = "x"\n', 'name = "a"\n[[tag]]\n# advertise = "x"\n')


@pytest.mark.parametrize("text", IN_TABLES)
def test_an_explanation_in_a_table_is_no_place_for_a_setting(text: str) -> None:
    changed = changed_text(text, {"advertise": "10.0.0.1"})
    assert tomllib.loads(changed) == {**tomllib.loads(text), "advertise": "10.0.0.1"}
    assert set(text.splitlines()) <= set(changed.splitlines())


def test_what_it_says_already_is_not_written_again() -> None:
    assert changed_text(BY_HAND, {"join": ["node1", "node2"], "cache-size": "5GiB"}) == BY_HAND
    assert changed_text(BY_HAND, {}) == BY_HAND


def test_what_is_no_toml_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"/etc/skvaller/agent\.toml is not TOML"):
        changed_text("join = [", {"name": "a"})
