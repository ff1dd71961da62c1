"""What a node remembers over a restart."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gossip import Address, Counters, Failure, Member, State
from gossip.core.errors import ConfigError
from gossip.net.snapshot_file import Snapshot, SnapshotFile, load_snapshot, save_snapshot


@pytest.mark.parametrize("members", ["[1]", "[null]", "[[]]", '[{"a": 1}]', '"10.0.0.1"', '{"10.0.0.1": 1}', "7"])
def test_damaged_snapshot_is_one_line(tmp_path: Path, members: str) -> None:
    path = tmp_path / "snapshot"
    path.write_text(f'{{"epoch": 1, "members": {members}}}')
    with pytest.raises(ConfigError, match="is damaged"):
        load_snapshot(path)


def member(name: str, host: str, state: State, changed_at: float = 0.0) -> Member:
    return Member(name, Address(host, 7946), 1, 0, state, b"", changed_at=changed_at)


class Seen:
    """A view as the snapshot reads it."""

    def __init__(self, *members: Member, epoch: int = 5) -> None:
        self.me = member("me", "10.0.0.9", State.ALIVE)
        self.me = replace(self.me, epoch=epoch)
        self._members = members

    def members(self) -> list[Member]:
        return list(self._members)


def test_live_members_come_first_then_the_latest_of_the_dead_and_nobody_that_left(tmp_path: Path) -> None:
    file = SnapshotFile(tmp_path / "members.json", Counters())
    seen: Any = Seen(
        member("long dead", "10.0.0.1", State.DEAD, 1.0),
        member("left", "10.0.0.2", State.LEFT),
        member("dead", "10.0.0.3", State.DEAD, 2.0),
        member("suspect", "10.0.0.4", State.SUSPECT),
    )
    file.save(seen)
    snapshot = load_snapshot(tmp_path / "members.json")
    assert snapshot.epoch == 5
    assert [address.host for address in snapshot.addresses] == ["10.0.0.4", "10.0.0.3", "10.0.0.1"]


def test_lone_node_does_not_forget_whom_the_run_before_knew(tmp_path: Path) -> None:
    path, known = tmp_path / "members.json", Address("10.0.0.1", 7946)
    save_snapshot(path, 3, [known])
    file, alone = SnapshotFile(path, Counters()), Seen(epoch=7)
    file.load()
    assert (file.epoch, file.addresses) == (3, (known,))
    file.save(alone)  # type: ignore[arg-type]
    assert load_snapshot(path) == Snapshot(7, (known,))


def test_damaged_file_is_no_reason_not_to_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, counters = tmp_path / "members.json", Counters()
    path.write_text("{")
    file = SnapshotFile(path, counters)
    file.load()
    assert (file.epoch, file.addresses, counters.failures[Failure.SNAPSHOT]) == (0, (), 1)
    assert "is damaged" in caplog.text


def test_file_that_cannot_be_written_is_counted(tmp_path: Path) -> None:
    counters = Counters()
    SnapshotFile(tmp_path / "no folder" / "members.json", counters).save(Seen())  # type: ignore[arg-type]
    assert counters.failures[Failure.SNAPSHOT] == 1
