"""What a node remembers over a restart."""

from pathlib import Path

import pytest

from gossip.core.errors import ConfigError
from gossip.net.snapshot_file import load_snapshot


@pytest.mark.parametrize("members", ["[1]", "[null]", "[[]]", '[{"a": 1}]', '"10.0.0.1"', '{"10.0.0.1": 1}', "7"])
def test_damaged_snapshot_is_one_line(tmp_path: Path, members: str) -> None:
    path = tmp_path / "snapshot"
    path.write_text(f'{{"epoch": 1, "members": {members}}}')
    with pytest.raises(ConfigError, match="is damaged"):
        load_snapshot(path)
