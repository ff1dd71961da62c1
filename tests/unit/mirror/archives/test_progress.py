"""How far a command is, in words."""

import pytest

from mirror.archives.progress import Lines, progress_line

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("done", "total", "passed_s", "line"),
    [
        (256 * MIB, 1024 * MIB, 10.0, "load: 256 of 1,024 MiB, 30 s left"),
        (0, 1024 * MIB, 10.0, "load: 0 of 1,024 MiB"),
        (MIB, None, 10.0, "load: 1 MiB"),
        (2 * MIB, MIB, 10.0, "load: 2 of 1 MiB"),
    ],
)
def test_the_time_that_is_left_goes_by_what_was_done(done: int, total: int | None, passed_s: float, line: str) -> None:
    assert progress_line("load", done, total, passed_s) == line


def test_lines_come_now_and_then_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    often, seldom = Lines("save", 0.0), Lines("save", 1000.0)
    for lines in (often, seldom):
        lines.expect(2 * MIB)
        lines.advance(MIB)
        lines.advance(MIB)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert [line.partition(",")[0] for line in printed.err.splitlines()] == [
        "save: 1 of 2 MiB",
        "save: 2 of 2 MiB",
    ]
