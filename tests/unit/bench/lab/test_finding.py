"""What an agent and a mirror answer about some content, as they did."""

import json
from typing import cast

import pytest

from bench.lab.asking import Answer, Asker
from bench.lab.finding import AgentFinder, Finder, Look, MirrorFinder, attempts_of

DIGEST = "sha256:" + "ab" * 32


class Told:
    """Stands for an asker: gives one answer."""

    def __init__(self, status: int, body: object) -> None:
        self.answer = Answer(status, json.dumps(body).encode(), 1.0, 1.5)
        self.asked: list[str] = []

    def ask(self, method: str, path: str) -> Answer:
        self.asked.append(f"{method} {path}")
        return self.answer


def look(kind: type[Finder], status: int, body: object) -> tuple[Look, str]:
    told = Told(status, body)
    return kind(cast("Asker", told)).look(DIGEST, "node1"), told.asked[0]


@pytest.mark.parametrize(
    ("rows", "found", "offered"),
    [
        ([{"member": "node1", "has": True, "bytes": 5, "store": "cache"}], True, True),
        ([{"member": "node1", "has": False, "reason": "unreachable"}], False, True),
        ([{"member": "node2", "has": True, "bytes": 5}], False, False),
        ([], False, False),
    ],
)
def test_an_agent_names_holders_and_says_which_have_it(rows: object, found: bool, offered: bool) -> None:
    seen, asked = look(AgentFinder, 200, {"node": "node3", "asked": DIGEST, "holders": {DIGEST: rows}})
    assert (seen.found, seen.offered, seen.answered) == (found, offered, True)
    assert asked == f"GET /api/v1/find?q={DIGEST}"


@pytest.mark.parametrize(
    ("status", "attempts", "found", "offered"),
    [(200, None, True, True), (404, 0, False, False), (404, 2, False, True), (0, None, False, False)],
)
def test_a_mirror_has_it_or_counts_those_that_it_asked(
    status: int, attempts: int | None, found: bool, offered: bool
) -> None:
    body = {"errors": [{"code": "BLOB_UNKNOWN", "message": "", "detail": {"attempts": attempts}}]}
    seen, asked = look(MirrorFinder, status, body)
    assert (seen.found, seen.offered, seen.answered) == (found, offered, status != 0)
    assert asked == f"GET /v2/library/bench/blobs/{DIGEST}?ns=docker.io"


@pytest.mark.parametrize("body", [b"", b"no JSON", b"[]", b'{"errors": [{}]}', b'{"errors": [{"detail": "text"}]}'])
def test_an_error_without_attempts_names_nobody(body: bytes) -> None:
    assert attempts_of(body) == 0
