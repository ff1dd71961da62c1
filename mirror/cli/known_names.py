"""Names that a shell may offer to complete, as the agent of this machine knows them."""

import json
import re
from collections.abc import Sequence
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from .running_agent import LOCAL, exchange, short_name

_WAIT_S: Final = 1.0
"""Bounds how long a person who presses Tab waits for an agent, s."""
_NAMES_MAX: Final = 200
"""Bounds the names that are offered; a shell asks first whether it shall show more than a hundred."""
_SAFE: Final = re.compile(r"[A-Za-z0-9\[][A-Za-z0-9._:/@+\[\]-]*")
"""Names that are offered. A shell puts them on its line as they are: in others it would find commands of whoever named
an image so."""


def image_names(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Images that this node holds, as people say their names."""
    images = _asked(context, "/api/v1/images?here=1").get("images", ())
    names = {name for row in images if row["reference"] for name in (row["reference"], short_name(row["reference"]))}
    return [CompletionItem(name) for name in _offered(sorted(names), begun)]


def member_names(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Members of the cluster, of which several may stand with commas between them."""
    before, comma, last = begun.rpartition(",")
    names = [row["name"] for row in _asked(context, "/api/v1/members").get("members", ())]
    return [CompletionItem(f"{before}{comma}{name}") for name in _offered(names, last)]


def _offered(names: Sequence[str], begun: str) -> Sequence[str]:
    return [name for name in names if name.startswith(begun) and _SAFE.fullmatch(name)][:_NAMES_MAX]


def _asked(context: click.Context, path: str) -> dict[str, Any]:
    """What an agent answers; nothing if it does not soon: who presses Tab wants no error."""
    try:
        answer: dict[str, Any] = json.loads(exchange(context.params.get("url") or LOCAL, path, timeout_s=_WAIT_S).body)
    except (click.ClickException, ValueError):
        return {}
    return answer
