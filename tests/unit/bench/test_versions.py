"""The digest of the code: what is measured decides it, and what only shows and words results does not."""

from pathlib import Path

import pytest

from bench import versions


@pytest.mark.parametrize(
    ("changed", "other"),
    [
        ("bench/serve.py", True),
        ("bench/lab/run.py", True),
        ("mirror/agent.py", True),
        ("bench/claims.py", False),
        ("bench/page/build.py", False),
        ("bench/suite/run.py", False),
    ],
)
def test_what_only_shows_results_leaves_the_digest_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str, other: bool
) -> None:
    monkeypatch.setattr(versions, "ROOT", tmp_path)
    file = tmp_path / changed
    file.parent.mkdir(parents=True)
    file.write_text("one = 1\n")
    before = versions.code.__wrapped__()
    file.write_text("one = 2\n")
    assert (versions.code.__wrapped__() != before) == other
