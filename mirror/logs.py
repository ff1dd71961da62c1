"""How everything that the agent says is written to its log: one line for each event, in logfmt, JSON or plain text.

Names of images, paths, members and errors come from others. So one place writes every line, whoever logs it: values are
quoted, and no control character leaves as it is. A terminal, a reader by lines and a parser see what happened, and
nothing that somebody else made up.

A message is prose, and may end in fields: `log.info("containerd is connected blobs=%d tags=%d", 5, 3)` becomes
`msg="containerd is connected" blobs=5 tags=3`.

Source: logfmt as Prometheus and Grafana read it; RFC 8259.
"""

import json
import logging
import math
import re
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, TypeAlias

LOGFMT: Final = "logfmt"
JSON: Final = "json"
TEXT: Final = "text"

_SPECIFIER = r"%[-#0 +]*[0-9]*(?:\.[0-9]+)?[a-zA-Z]"
_FIELD = re.compile(rf"([a-z][a-z0-9_]*)=({_SPECIFIER})")
_FIELDS = re.compile(rf"(?:(?:^| ){_FIELD.pattern})+$")
_PLAIN = re.compile(r'[^\s"=\\]+')
_ESCAPES: Final[Mapping[str, str]] = {"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\"}
_VALUE_MAX: Final = 4096
"""Bounds one value, in characters: a message quotes at most some hundred of a path."""
_TRACEBACK_MAX: Final = 16384
"""Bounds a stack trace, in characters. Its end is kept, which says what happened."""

Value: TypeAlias = str | float

log = logging.getLogger(__name__)


def start_logging(level: str, form: str) -> None:
    """Have all that this process says written to standard error.

    Args:
        level: the least that is written: `debug`, `info`, `warning` or `error`.
        form: `LOGFMT`, `JSON` or `TEXT`.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Line(form))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # it would say that it starts and stops
    sys.excepthook = _note_end
    sys.unraisablehook = lambda error: _note("an error that nobody can handle", error.exc_value)
    threading.excepthook = lambda error: _note("a thread ended for an error that was not expected", error.exc_value)


def _note_end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    _note("the agent ended for an error that was not expected", error)


def _note(what: str, error: BaseException | None) -> None:
    log.critical(what, exc_info=error)


class Line(logging.Formatter):
    """Formats an event as one line.

    Args:
        form: `LOGFMT`: `name=value name="value with spaces"`; `JSON`: an object; `TEXT`: for people, in local time,
            without fields that are empty.
    """

    def __init__(self, form: str) -> None:
        super().__init__()
        self._write = _FORMS[form]

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        message, fields = _parts(record)
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        level = record.levelname.lower()
        pairs: dict[str, Value] = {"time": when, "level": level, "logger": record.name, "msg": message}
        pairs |= {f"{name}_" if name in pairs else name: value for name, value in fields.items()}
        if record.exc_info:
            pairs["traceback"] = self.formatException(record.exc_info)[-_TRACEBACK_MAX:]
        return self._write(pairs)


def _logfmt(pairs: Mapping[str, Value]) -> str:
    return " ".join(f"{name}={_quoted(str(value), always=name == 'msg')}" for name, value in pairs.items())


def _json(pairs: Mapping[str, Value]) -> str:
    return json.dumps(pairs).replace("\x7f", "\\u007f")  # the one control character that JSON may have


def _text(pairs: Mapping[str, Value]) -> str:
    """For people: the time where they are, the level if it is not the usual one, what happened, and its fields."""
    when = f"{datetime.fromisoformat(str(pairs['time'])).astimezone():%Y-%m-%d %H:%M:%S}"
    level = "" if pairs["level"] == "info" else f"{str(pairs['level']).upper()} "
    said = "".join(it if it.isprintable() else _escaped(it) for it in str(pairs["msg"]))
    fields = [(name, value) for name, value in pairs.items() if name not in _ALWAYS and value != ""]
    return " ".join(
        [f"{when} {level}{said}", *(f"{name}={_quoted(str(value), always=False)}" for name, value in fields)]
    )


_ALWAYS: Final = ("time", "level", "logger", "msg")
"""The fields of every line, which do not stand among those of its message."""
_FORMS: Final[Mapping[str, Callable[[Mapping[str, Value]], str]]] = {LOGFMT: _logfmt, JSON: _json, TEXT: _text}
"""What writes names and values, in this order, by the setting `log-format`."""


def _parts(record: logging.LogRecord) -> tuple[str, dict[str, Value]]:
    """The message of an event, and the fields at its end."""
    args: Any = record.args
    found = _FIELDS.search(record.msg) if isinstance(record.msg, str) and isinstance(args, tuple) else None
    if found is None:
        return _bounded(record.getMessage()), {}
    names = _FIELD.findall(found.group())
    if len(names) > len(args):  # a message that happens to look like that, without values
        return _bounded(record.getMessage()), {}
    first, values = args[: len(args) - len(names)], args[len(args) - len(names) :]
    fields = {name: _value(specifier, value) for (name, specifier), value in zip(names, values, strict=True)}
    return _bounded(record.msg[: found.start()] % first), fields


def _value(specifier: str, value: Any) -> Value:
    """A field's value: a number where the message writes one."""
    text = specifier % (value,)
    if specifier[-1] == "d":
        return int(text)
    if specifier[-1] in "fg" and math.isfinite(value):
        return float(text)
    return _bounded(text)


def _bounded(text: str) -> str:
    return f"{text[:_VALUE_MAX]}…" if len(text) > _VALUE_MAX else text


def _quoted(text: str, *, always: bool) -> str:
    """A text as a value of logfmt."""
    if not always and _PLAIN.fullmatch(text) and text.isprintable():
        return text
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(character: str) -> str:
    """A character as it may stand between quotes: control characters, and those that Unicode hides, by their number."""
    if character in _ESCAPES:
        return _ESCAPES[character]
    return character if character.isprintable() else json.dumps(character)[1:-1].replace("\x7f", "\\u007f")
