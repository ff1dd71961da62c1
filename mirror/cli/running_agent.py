"""Asking an agent that runs: its status endpoint over HTTP, the flags that name it, and tables of what it answers."""

import http.client
import json
import os
import socket
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from typing import TYPE_CHECKING, Any

import click

from ..addresses import Address

if TYPE_CHECKING:
    from rich.console import Console

_JSON = {"Content-Type": "application/json"}
LOCAL = "http://127.0.0.1:5000"
"""Where an agent's client endpoint is, if nobody says otherwise."""
_TIMEOUT_S = 90
"""Bounds one question, s. To change keys the agent asks all members twice, and waits for slow ones."""
_DIGEST_CHARACTERS = 12
"""Of a digest's hexadecimal digits, as many as tell the blobs of an image from each other."""
_WHOLE_CHARACTERS = _DIGEST_CHARACTERS
"""A column whose cells have no more characters keeps each in one line, however narrow the terminal is."""
_PIPE_COLUMNS = 200
"""Width of a table in characters where no terminal has one: a pipe or a file."""
_AUTHORITIES = {"runtime": "from its runtime", "pushed": "pushed or loaded here", "pinned": "as it was pinned"}
_ERROR_MAX_BYTES = 65536
"""Bounds what is read of an error's body."""


def asks_agent(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags of those that ask a running agent's API: `url` and `as_json`."""
    return _asks(command, "Where its API is: the client endpoint, or that of --listen-api if the agent has it.")


def pulls_from_agent(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags of those that speak to a running agent as to a registry: `url` and `as_json`."""
    return _asks(command, "The agent's client endpoint.")


def _asks(command: Callable[..., None], where: str) -> Callable[..., None]:
    command = click.option("--json", "as_json", is_flag=True, help="Print JSON, with all digits of digests.")(command)
    return click.option(
        "--agent",
        "url",
        default=LOCAL,
        show_default=True,
        envvar="SKVALLER_AGENT",
        callback=lambda context, option, text: agent_url(text),
        metavar="URL|HOST:PORT|unix:PATH",
        help=f"{where}  [env: SKVALLER_AGENT]",
    )(command)


def agent_url(text: str) -> str:
    """An agent's URL, or `unix:/PATH`, of what somebody wrote; raise BadParameter if it is neither."""
    url = text if "://" in text or text.startswith("unix:") else f"http://{text}"
    if not url.startswith(("http://", "https://", "unix:/")) or not _names_a_place(url):
        raise click.BadParameter(f"{text!r}: give HOST:PORT, a URL such as http://127.0.0.1:5000, or unix:/PATH")
    return url


def _names_a_place(url: str) -> bool:
    """Whether a URL has a path of a socket, or a host and, if it has a port, one that exists."""
    if url.startswith("unix:"):
        return bool(url.removeprefix("unix:").strip("/"))
    try:
        parts = urllib.parse.urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


class _Quoting(click.ClickException):
    """Its message may quote what others say."""

    def format_message(self) -> str:
        """What a person sees, line by line."""
        return "\n".join(map(printable, self.message.split("\n")))


class NoAgent(_Quoting):
    """No agent answers."""

    exit_code = 3


class Refused(_Quoting):
    """The agent answers that it will not do what was asked, or cannot."""


class NotUnderstood(Refused):
    """The agent answers that nobody can do what was asked."""

    exit_code = 2


def ask(url: str, path: str) -> Any:
    """Get JSON from an agent's status endpoint.

    Raises:
        NoAgent: no agent answers there.
        Refused: it answers an error.
    """
    return read(url, exchange(url, path))


@dataclass(frozen=True, slots=True)
class Answer:
    """What an agent answered.

    Args:
        status: of HTTP.
        headers: by lower-case name.
        body: bytes; of an error at most `_ERROR_MAX_BYTES`.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


def read(url: str, answer: Answer) -> Any:
    """The JSON of an answer, all of its texts printable; raise Refused if it is an error, NoAgent if it is no JSON."""
    if answer.status < 400:
        try:
            return _readable(json.loads(answer.body))
        except ValueError as error:
            raise _nobody(url, error) from None
    text = answer.body.decode(errors="replace")
    try:
        text = json.loads(text)["error"]
    except (ValueError, KeyError, TypeError):
        if answer.status == http.HTTPStatus.NOT_FOUND:
            raise NoAgent(f"what answers at {url} is no agent's API: name that of --listen-api with --agent") from None
        text = f"{answer.status} {http.client.responses.get(answer.status, '')}"
    refused = NotUnderstood if answer.status == http.HTTPStatus.BAD_REQUEST else Refused
    raise refused(f"{url}: {text}")


def exchange(
    url: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = _TIMEOUT_S,
) -> Answer:
    """Ask an agent, or post it something, and get its answer, an error as well; raise NoAgent if there is none.

    Args:
        url: of the agent.
        path: of what is asked for.
        body: what is posted; None: nothing is.
        headers: to send.
        timeout_s: bounds each wait for the agent, s.
    """
    try:
        with _opened(url, path, body, headers, timeout_s) as answer:
            return Answer(answer.status, _lower(answer.headers), answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, _lower(error.headers), error.read(_ERROR_MAX_BYTES))
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise _nobody(url, error) from None


def lines(url: str, path: str, timeout_s: float) -> Iterator[str]:
    """The lines of an answer as they come, without their ends.

    Args:
        url: of the agent.
        path: of what is asked for.
        timeout_s: bounds the wait for each line, s.

    Raises:
        NoAgent: no agent answers there, or it does not go on.
        Refused: it answers an error.
    """
    try:
        with _opened(url, path, None, None, timeout_s) as answer:
            for line in answer:
                yield line.decode(errors="replace").rstrip("\r\n")
    except urllib.error.HTTPError as error:
        with error:
            read(url, Answer(error.code, _lower(error.headers), error.read(_ERROR_MAX_BYTES)))
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise _nobody(url, error) from None


def _opened(
    url: str, path: str, body: bytes | None, headers: Mapping[str, str] | None, timeout_s: float
) -> http.client.HTTPResponse:
    """The answer of an agent, of which nothing is read yet."""
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]  # no site's proxy knows an agent
    start = url.rstrip("/")
    if url.startswith("unix:/"):
        handlers.append(_UnixHandler(url.removeprefix("unix:")))
        start = "http://localhost"
    direct = urllib.request.build_opener(*handlers)
    request = urllib.request.Request(start + path, body, {**_JSON, **(headers or {})})
    answer: http.client.HTTPResponse = direct.open(request, timeout=timeout_s)
    return answer


def _lower(headers: Message) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _nobody(url: str, error: Exception) -> NoAgent:
    reason = getattr(error, "reason", error)
    reason = getattr(reason, "strerror", None) or reason
    return NoAgent(f"no agent answers at {url} ({reason}): start one with `skvaller agent`, or name it with --agent")


def is_on_this_machine(url: str) -> bool:
    """Whether an agent's URL leads to this machine."""
    return url.startswith("unix:/") or Address(urllib.parse.urlsplit(url).hostname or "", 0).loopback


class _UnixHandler(urllib.request.HTTPHandler):
    """Opens HTTP URLs over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        """Open a URL, whatever host it names."""
        path = self._path

        class Connection(http.client.HTTPConnection):
            def connect(self) -> None:
                self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                self.sock.settimeout(self.timeout)
                self.sock.connect(path)

        return self.do_open(Connection, request)


def authority_text(authority: str) -> str:
    """How a member knows what a tag means."""
    return _AUTHORITIES.get(authority, f"from {authority}")


def short_digest(digest: str) -> str:
    """A digest in few characters, of which the name of the algorithm is none."""
    return digest.partition(":")[2][:_DIGEST_CHARACTERS]


def short_name(reference: str) -> str:
    """An image's name as people say it: without what Docker Hub's names have in front."""
    return reference.removeprefix("docker.io/library/").removeprefix("docker.io/")


def printable(text: str) -> str:
    """A text of which a terminal shows every character and obeys none."""
    return text if text.isprintable() else "".join(it if it.isprintable() else "�" for it in text)


def _readable(told: Any) -> Any:
    """What an agent tells, for terminals: it quotes members, registries, and names that anybody gave to images."""
    match told:
        case str():
            return printable(told)
        case list():
            return [_readable(each) for each in told]
        case dict():
            return {printable(name): _readable(each) for name, each in told.items()}
        case _:
            return told


def show_json(answer: Any) -> None:
    """Print an answer as JSON."""
    click.echo(json.dumps(answer, indent=2))


def show_table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows under a head."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold")
    for name, *cells in zip(head, *rows, strict=True):
        is_short = all(len(cell) <= _WHOLE_CHARACTERS for cell in cells)
        table.add_column(name, overflow="fold", no_wrap=is_short)  # what is long takes lines, and keeps its end
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))  # a name in brackets is no markup
    console().print(table)


def console() -> "Console":
    """Standard output, as wide as the terminal; a pipe or a file has no width, and takes what there is."""
    from rich.console import Console

    is_wide = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(width=_PIPE_COLUMNS if is_wide else None)
