"""Key files."""

import os
from pathlib import Path

import pytest

from gossip import ConfigError, Counters, Failure, key_id, load_keys
from gossip.core.packets.keyring import Keyring
from gossip.net.keys import KeyFile

KEY, OTHER_KEY = bytes(range(32)), bytes(32)


@pytest.mark.parametrize(
    ("text", "mode", "complaint"),
    [
        (KEY.hex(), 0o644, "chmod 600"),
        ("too short", 0o600, "a key is 32 bytes"),
        ("# nothing\n", 0o600, "no key"),
        (f"{KEY.hex()}\n{KEY.hex()}\n", 0o600, "twice"),
    ],
)
def test_a_key_file_that_is_not_in_order_is_refused(tmp_path: Path, text: str, mode: int, complaint: str) -> None:
    file = tmp_path / "key"
    file.write_text(text)
    file.chmod(mode)
    with pytest.raises(ConfigError, match=complaint) as refusal:
        load_keys(file)
    assert KEY.hex() not in str(refusal.value)


def test_a_key_file_may_have_several_keys_in_either_form(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"# the cluster's\n{KEY.hex()}\n\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n")
    file.chmod(0o600)
    assert load_keys(file) == [KEY, OTHER_KEY]


def test_keys_are_read_as_they_were_written_with_the_primary_first(tmp_path: Path) -> None:
    keyring = Keyring([KEY, OTHER_KEY])
    keyring.use(key_id(OTHER_KEY))
    counters = Counters()
    KeyFile(tmp_path / "key", keyring, counters).save()
    assert load_keys(tmp_path / "key") == [OTHER_KEY, KEY]
    assert counters.failures[Failure.KEY_FILE] == 0


def test_keys_that_cannot_be_saved_are_counted_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    counters = Counters()
    KeyFile(tmp_path / "no folder" / "key", Keyring([KEY]), counters).save()
    assert counters.failures[Failure.KEY_FILE] == 1
    assert "were not saved" in caplog.text
    assert KEY.hex() not in caplog.text


def test_a_pipe_in_place_of_a_key_file_is_refused_at_once(tmp_path: Path) -> None:
    """Its folder may be the agent's, and root may read it."""
    os.mkfifo(tmp_path / "key", 0o600)
    with pytest.raises(ConfigError, match="must be a regular file"):
        load_keys(tmp_path / "key")
