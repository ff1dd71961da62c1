"""What an agent leaves when it ends against its will."""

import os
from pathlib import Path

import pytest

from mirror.doctor import last_words
from mirror.errors import ConfigError


def test_the_reason_is_kept_and_forgotten_at_the_next_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError), last_words.kept(tmp_path):
        raise ConfigError("name: taken\x1b[2J")
    told = last_words.read(tmp_path, 2e9)
    assert told is not None
    ago_s, text = told
    assert ago_s > 0
    assert text == "name: taken [2J", "no terminal is commanded by it"
    with last_words.kept(tmp_path):
        assert last_words.read(tmp_path, 2e9) is None
    assert last_words.read(tmp_path, 2e9) is None


def test_a_folder_that_is_not_there_keeps_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError), last_words.kept(tmp_path / "none"):
        raise ConfigError("x")
    assert last_words.read(tmp_path / "none", 0.0) is None


def test_what_is_no_reason_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "last-words").write_bytes(b"\xff\xfe")
    assert last_words.read(tmp_path, 0.0) is None


def test_neither_who_writes_nor_who_asks_is_led_elsewhere(tmp_path: Path) -> None:
    """The folder is the agent's, and root may ask."""
    file, victim = tmp_path / "last-words", tmp_path / "victim"
    victim.write_text("as it was")

    def end() -> None:
        with last_words.kept(tmp_path):
            file.symlink_to(victim)
            raise ConfigError("x")

    with pytest.raises(ConfigError):
        end()
    assert victim.read_text() == "as it was"
    file.unlink()
    os.mkfifo(file)  # a read would wait for ever
    assert last_words.read(tmp_path, 0.0) is None
