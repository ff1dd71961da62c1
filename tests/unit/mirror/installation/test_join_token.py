"""A join token brings all that a new node needs, or says what is wrong with it; it shows its key to nobody."""

import base64
import zlib
from pathlib import Path

import pytest

from mirror.config import load
from mirror.errors import ConfigError
from mirror.installation.join_token import JoinToken, read_token, token_of

KEYS = (bytes(range(32)), bytes(range(32, 64)))
TOKEN = JoinToken(("10.0.0.1:7946", "node2"), KEYS, {"cluster": "lab"})


def test_it_is_read_as_it_was_made_also_from_lines_that_a_terminal_has_broken() -> None:
    assert JoinToken.parse(TOKEN.text) == TOKEN
    broken = "\n ".join(TOKEN.text[i : i + 40] for i in range(0, len(TOKEN.text), 40))
    assert JoinToken.parse(f"\n{broken}\n") == TOKEN


@pytest.mark.parametrize("harmed", [TOKEN.text[:-3], TOKEN.text[:30] + TOKEN.text[31:], TOKEN.text[:-1] + "!"])
def test_a_part_of_one_is_refused_and_not_shown(harmed: str) -> None:
    with pytest.raises(ConfigError, match="copy the whole line again") as error:
        JoinToken.parse(harmed)
    assert harmed[20:] not in str(error.value)


def test_what_is_something_else_is_refused() -> None:
    with pytest.raises(ConfigError, match="must begin with skvaller-join-1-"):
        JoinToken.parse("K10c0ffee::server:secret")


def test_it_does_not_show_its_keys() -> None:
    assert KEYS[0].hex() not in repr(TOKEN)
    assert repr(KEYS[0]) not in repr(TOKEN)


def test_a_node_tells_its_own_address_first_its_keys_and_what_all_have_alike(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.touch(0o600)
    key.write_text("\n".join(key.hex() for key in KEYS))
    file = tmp_path / "agent.toml"
    written = {"advertise": "10.0.0.9", "cluster": "lab", "gossip": "0.0.0.0:7000", "name": "n9", "key-file": str(key)}
    file.write_text("".join(f'{name} = "{value}"\n' for name, value in written.items()) + 'join = ["node2"]\n')
    token = token_of(load({}, {}, file), written)
    assert token == JoinToken(("10.0.0.9:7000", "node2"), KEYS, {"cluster": "lab"})


def test_a_cluster_without_a_key_has_no_token(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--join"):
        token_of(load({"advertise": "10.0.0.9"}, {}, None), {})


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none: No such file"):
        read_token(tmp_path / "none")


@pytest.mark.parametrize(
    "told",
    [
        '{"seeds": ["a"], "keys": [7], "settings": {}}',
        '{"seeds": ["a b"], "keys": [""], "settings": {}}',
        "[" * 4000,
        "7",
    ],
)
def test_what_has_a_right_sum_and_is_none_all_the_same_is_refused(told: str) -> None:
    content = zlib.crc32(told.encode()).to_bytes(4) + told.encode()
    with pytest.raises(ConfigError, match="join token: "):
        JoinToken.parse("skvaller-join-1-" + base64.urlsafe_b64encode(content).decode().rstrip("="))
