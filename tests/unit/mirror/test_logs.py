"""A line of the log: one for each event, which a parser reads back, whatever others put into names and errors."""

import json
import logging
import re
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mirror.logs import JSON, LOGFMT, TEXT, Line

_PAIR = re.compile(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|[^ "]+)(?: |$)')


def record(message: str, *args: Any, error: BaseException | None = None) -> logging.LogRecord:
    trace = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord("mirror.test", logging.WARNING, "", 0, message, args, trace)


def parsed(line: str) -> dict[str, str]:
    """What a parser of logfmt reads."""
    assert _PAIR.sub("", line) == ""
    return {name: json.loads(text) if text.startswith('"') else text for name, text in _PAIR.findall(line)}


def logfmt(message: str, *args: Any) -> dict[str, str]:
    return parsed(Line(LOGFMT).format(record(message, *args)))


@pytest.mark.parametrize(
    ("message", "args", "text", "fields"),
    [
        ("gossip started name=%s seed=%d", ("a", 5), "gossip started", {"name": "a", "seed": "5"}),
        ("it took seconds=%.3f", (1.5,), "it took", {"seconds": "1.5"}),
        ("%s of %d blobs error=%s", ("a", 3, "oh no"), "a of 3 blobs", {"error": "oh no"}),
        ("member=%s sent %d bytes", ("a", 5), "member=a sent 5 bytes", {}),
        ("no values", (), "no values", {}),
        ("100%% done name=%s", ("a",), "100% done", {"name": "a"}),
        ("100% name=%s", (), "100% name=%s", {}),
        ("name=%s", ("",), "", {"name": ""}),
        ("it says level=%s msg=%s", ("high", "hi"), "it says", {"level_": "high", "msg_": "hi"}),
    ],
)
def test_fields_stand_at_the_end_of_a_message(
    message: str, args: tuple[Any, ...], text: str, fields: dict[str, str]
) -> None:
    found = logfmt(message, *args)
    assert found.pop("time").endswith("Z")
    assert found == {"level": "warning", "logger": "mirror.test", "msg": text, **fields}


def test_json_has_numbers_where_the_message_has() -> None:
    line = Line(JSON).format(record("a pull ended bytes=%d seconds=%.1f image=%s", 5, 0.25, "a\u2028b"))
    found = json.loads(line)
    assert (found["bytes"], found["seconds"], found["image"]) == (5, 0.2, "a\u2028b")
    assert line.isascii()


@given(st.text(), st.text())
@example("\r\x1b[31m\x7f\x85\u2028\u2029\u202e\udc80\U000e0001", 'a="b" \\')
@example("x level=error msg=forged", "\nlevel=error")
def test_no_control_character_leaves_and_a_parser_reads_back_what_was_said(name: str, error: str) -> None:
    event = record("cannot ask %s error=%s", name, error)
    for line in (Line(LOGFMT).format(event), Line(JSON).format(event)):
        assert line.isprintable()
        found = parsed(line) if line.startswith("time=") else json.loads(line)
        assert (found["level"], found["msg"], found["error"]) == ("warning", f"cannot ask {name}", error)


def test_values_and_stack_traces_are_bounded_and_take_one_line() -> None:
    try:
        raise ValueError("\x1b\n" * 20_000)
    except ValueError as error:
        line = Line(LOGFMT).format(record("%s path=%s", "x" * 10_000, "y" * 10_000, error=error))
    found = parsed(line)
    assert (len(found["msg"]), len(found["path"]), len(found["traceback"])) == (4097, 4097, 16384)
    assert line.isprintable()


def test_what_ends_the_process_or_a_thread_is_a_line_as_well() -> None:
    program = """
import threading, warnings
from mirror.logs import start_logging
start_logging("info", "logfmt")
warnings.warn("old\\x1bthing")
def fail(): raise RuntimeError("in a\\nthread")
thread = threading.Thread(target=fail); thread.start(); thread.join()
raise RuntimeError("at the\\rend")
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    lines = [parsed(line) for line in ended.stderr.decode().removesuffix("\n").split("\n")]
    assert ended.returncode == 1
    assert [line["level"] for line in lines] == ["warning", "critical", "critical"]
    assert "old\x1bthing" in lines[0]["msg"]
    assert lines[1]["traceback"].endswith("RuntimeError: in a\nthread")
    assert lines[2]["traceback"].endswith("RuntimeError: at the\rend")


def test_text_is_for_people_and_has_no_empty_fields() -> None:
    line = Line(TEXT).format(
        record("a pull ended image=%s why=%s error=%s seconds=%.1f", "a:1", "it has gone", "", 2.5)
    )
    when, _, said = line.partition(" WARNING ")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", when)
    assert said == 'a pull ended image=a:1 why="it has gone" seconds=2.5'
    usual = logging.LogRecord("mirror.test", logging.INFO, "", 0, "all\nis %s", ("\x1b[2Jwell",), None)
    assert Line(TEXT).format(usual).endswith(r" all\nis \u001b[2Jwell")
