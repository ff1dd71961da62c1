"""What an agent shows of itself, from the values that it is given."""

import asyncio
import json
from typing import Any, cast

import pytest
from starlette.requests import Request

from mirror.app import Find, NodeStatus, StatusEndpoint
from mirror.cluster.health import Trouble
from mirror.errors import NameInvalid
from mirror.fetch.record import Record
from mirror.images.tag_trust import TagTrust
from mirror.metrics import Metrics
from mirror.oci.digest import Digest
from mirror.oci.reference import Reference
from mirror.routers import MemberStatus, Peer, Serves
from mirror.service import Service
from mirror.settings import ImageSettings

PEER = Peer("b", "2001:db8::2", 5001)


class Asked:
    """Stands for `Find`."""

    async def find(self, query: str) -> dict[str, Any]:
        if "\n" in query:
            raise NameInvalid("it has two lines")
        return {"asked": query}


async def no_pins() -> list[Any]:
    return []


def endpoint(**values: Any) -> StatusEndpoint:
    given: dict[str, Any] = {
        "is_ready": lambda: True,
        "statuses": list,
        "alone": str,
        "distrusted": dict,
        "records": list,
        "key_count": lambda: 0,
        "cache_bytes": lambda: 0,
        "keeps_nothing": lambda: None,
        "withheld": dict,
        "pinned": dict,
        "budgets": list,
        "outages": list,
        "version": "1",
        "service": Service.SYSTEMD,
        "cache_limit_bytes": 1 << 30,
        "troubles": dict,
        "pace": lambda source: 0.0,
        "fetches": list,
        "clients": list,
        "pins": no_pins,
    }
    return StatusEndpoint(NodeStatus(name="a", **(given | values)), cast("Find", Asked()), Metrics())


def answer(status: StatusEndpoint, path: str, query: str = "") -> tuple[int, str]:
    """The status and body that a route gives."""
    (route,) = [route for route in (*status.probes(), *status.routes()) if route.path == path]
    request = Request({"type": "http", "method": "GET", "headers": [], "query_string": query.encode()})
    response = asyncio.run(route.endpoint(request))
    return response.status_code, bytes(response.body).decode()


def test_a_member_that_contradicts_upstream_is_shown_with_what_it_says() -> None:
    nginx, said, upstream = Reference.parse("nginx:1"), Digest.of(b"said"), Digest.of(b"upstream")
    trust = TagTrust(Metrics())
    trust.contradicted("b", nginx, said, upstream)
    rows = [MemberStatus(PEER, "alive", 7, itself=False)]
    _, body = answer(endpoint(statuses=lambda: rows, distrusted=trust.distrusted), "/api/v1/members")
    (shown,) = json.loads(body)["members"]
    ignored_s = shown["contradicts"].pop("ignored_s")
    assert shown["contradicts"] == {"tag": str(nginx), "says": str(said), "upstream": str(upstream)}
    assert 0 < ignored_s <= ImageSettings().tag_distrust_s


@pytest.mark.parametrize(("is_ready", "code"), [(True, 200), (False, 503)])
def test_readiness_is_the_nodes_word_and_health_is_that_it_answers(is_ready: bool, code: int) -> None:
    status = endpoint(is_ready=lambda: is_ready)
    assert answer(status, "/readyz")[0] == code
    assert answer(status, "/healthz") == (200, "ok\n")


@pytest.mark.parametrize("path", ["/metrics", "/api/v1/members", "/api/v1/fetches"])
def test_many_who_ask_at_once_let_the_event_loop_do_other_work_between_two_answers(path: str) -> None:
    status = endpoint()
    (route,) = [route for route in status.routes() if route.path == path]
    turns: list[str] = []

    async def ask() -> None:
        response = await route.endpoint(Request({"type": "http", "method": "GET", "headers": [], "query_string": b""}))
        assert response.status_code == 200
        turns.append("answer")

    async def main() -> None:
        asking = [asyncio.create_task(ask()) for _ in range(20)]
        while not all(task.done() for task in asking):
            turns.append("other work")
            await asyncio.sleep(0)

    asyncio.run(main())
    assert turns.count("answer") == 20
    assert ["answer", "answer"] not in [turns[at : at + 2] for at in range(len(turns))]


def test_members_are_shown_by_name_with_what_is_known_of_them() -> None:
    rows = [
        MemberStatus(PEER, "suspect", 7, itself=False, rtt_s=0.00123, flapping=True, home=Serves.NO),
        MemberStatus(Peer("a", "192.0.2.1", 5001), "alive", 3, itself=True),
    ]
    code, body = answer(endpoint(statuses=lambda: rows), "/api/v1/members")
    shown = json.loads(body)
    assert (code, shown["node"], [row["name"] for row in shown["members"]]) == (200, "a", ["a", "b"])
    assert shown["members"][1] == {
        "name": "b",
        "state": "suspect",
        "peer": "http://[2001:db8::2]:5001",
        "keys": 7,
        "itself": False,
        "flapping": True,
        "home": "no",
        "rtt_ms": 1.23,
        "contradicts": None,
        "trouble": None,
        "pace": 0,
        "means": "it has not answered; within seconds it is known whether it is gone",
    }
    assert shown["members"][0]["rtt_ms"] is None


def test_fetches_are_shown_newest_first() -> None:
    records = [Record("sha256:old", "library/x", 1.0), Record("sha256:new", "library/x", 2.0)]
    records[1].failures.append("b broke off")
    shown = json.loads(answer(endpoint(records=lambda: iter(records)), "/api/v1/fetches")[1])["fetches"]
    assert [(row["digest"], row["failures"]) for row in shown] == [("sha256:new", ["b broke off"]), ("sha256:old", [])]


def test_metrics_show_what_the_node_has_now() -> None:
    rows = [MemberStatus(PEER, state, 0, itself=False) for state in ("alive", "alive", "dead")]
    status = endpoint(statuses=lambda: rows, key_count=lambda: 5, cache_bytes=lambda: 1024)
    code, body = answer(status, "/metrics")
    lines = body.splitlines()
    assert code == 200
    for line in (
        'skvaller_members{state="alive"} 2.0',
        'skvaller_members{state="dead"} 1.0',
        'skvaller_members{state="left"} 0.0',
        "skvaller_holdings 5.0",
        "skvaller_cache_bytes 1024.0",
        "skvaller_corrupt_peers_total 0.0",
    ):
        assert line in lines


def test_a_search_is_answered_and_a_wrong_one_refused_with_a_bounded_line() -> None:
    assert answer(endpoint(), "/api/v1/find", "q=nginx") == (200, '{"asked":"nginx"}')
    code, body = answer(endpoint(), "/api/v1/find", "q=%0A" + "x" * 1000)
    assert code == 400
    assert "is no image name and no digest: it has two lines" in json.loads(body)["error"]
    assert len(body) < 400


def test_a_cache_that_keeps_nothing_or_cannot_be_read_is_told_though_the_node_is_ready() -> None:
    assert answer(endpoint(), "/readyz") == (200, "ready\n")
    assert "skvaller_cache_keeping 1.0" in answer(endpoint(), "/metrics")[1]
    status = endpoint(
        keeps_nothing=lambda: "the disk is full",
        withheld=lambda: {"unproven": 4, "unreadable": 2},
        pinned=lambda: {"whole": 1, "no_room": 3},
    )
    assert answer(status, "/readyz") == (
        200,
        "ready\ncache: nothing is kept, for the disk is full\ncache: 2 blobs cannot be read, and are not served\n"
        "cache: it has no room for 3 of the images that are pinned\n",
    )
    _, metrics = answer(status, "/metrics")
    for line in (
        "cache_keeping 0.0",
        'cache_withheld{reason="unproven"} 4.0',
        'cache_withheld{reason="unreadable"} 2.0',
        'pinned_images{state="no_room"} 3.0',
    ):
        assert f"skvaller_{line}" in metrics


def test_node_that_is_alone_is_ready_and_says_that_it_is_alone() -> None:
    status = endpoint(alone=lambda: "10.0.0.1:7946: Connection refused")
    code, body = answer(status, "/readyz")
    assert (code, body.startswith("ready\nalone: ")) == (200, True)
    assert "10.0.0.1" not in body, "everybody may ask for it"
    assert json.loads(answer(status, "/api/v1/members")[1])["alone"] == "10.0.0.1:7946: Connection refused"
    assert answer(endpoint(), "/readyz") == (200, "ready\n")


def test_the_state_of_the_node_is_made_once_for_all_who_look_and_says_what_is_wrong() -> None:
    looks = []

    def statuses() -> list[MemberStatus]:
        looks.append(1)
        return [
            MemberStatus(PEER, "alive", 7, itself=False),
            MemberStatus(Peer("c", "192.0.2.3", 5001), "dead", 0, itself=False),
        ]

    async def pins() -> list[Any]:
        return [{"name": "x:1", "held": 0, "wanted": 2, "missing": 2, "problem": "no member holds its manifests yet"}]

    status = endpoint(
        statuses=statuses, pins=pins, troubles=lambda: {"b": Trouble.OUT_OF_REACH}, pace=lambda source: 1.6e6
    )
    (route,) = [route for route in status.routes() if route.path == "/api/v1/status"]

    async def ask() -> list[Any]:
        request = Request({"type": "http", "method": "GET", "headers": [], "query_string": b""})
        return [json.loads((await route.endpoint(request)).body) for _ in range(5)]

    shown, *others = asyncio.run(ask())
    assert others == [shown] * 4
    assert len(looks) == 1
    assert [(row["name"], row["state"], row["trouble"], row["pace"]) for row in shown["members"]] == [
        ("b", "alive", "out of reach", 1600000),
        ("c", "dead", None, 1600000),
    ]
    assert [row["command"].split()[:2] for row in shown["problems"]] == [
        ["skvaller", "doctor"],
        ["systemctl", "restart"],
        ["skvaller", "prefetch"],
    ]
    assert shown["pins"] == {"count": 1, "lacking": 1}
