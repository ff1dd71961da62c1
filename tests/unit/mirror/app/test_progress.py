"""Which fetches and clients are one pull in progress, and what is shown of it."""

from typing import Any

from mirror.app.progress import ClientPull, pulls_in_progress
from mirror.fetch import Phase, Progress

NOW = 1000.0
QUIET_S = 5.0


def fetch(started: float, seconds: float = 0.0, **values: Any) -> Progress:
    """A fetch of `a`; it runs, unless it says how long it took."""
    given: dict[str, Any] = {
        "digest": f"sha256:{started}",
        "repository": "a",
        "started_unix_s": started,
        "seconds": seconds,
        "size": 100,
        "sources": {},
        "resumed": 0,
        "outcome": Phase.COMPLETE if seconds else Phase.RUNNING,
        "is_read": not seconds,
        "for_clients": True,
        "failures": (),
    }
    return Progress(**(given | values))


def client(repository: str = "a", tag: str = ":1", **values: Any) -> ClientPull:
    given: dict[str, Any] = {"client": "127.0.0.1", "seconds": 4.0, "held": 0, "is_waiting": True}
    return ClientPull(repository=repository, image=repository + tag, **(given | values))


def pulls(fetches: list[Progress], clients: list[ClientPull] | None = None) -> list[dict[str, Any]]:
    return pulls_in_progress(fetches, clients or [], QUIET_S, NOW)


def test_blobs_of_one_image_are_one_pull_with_the_bytes_of_each_source() -> None:
    rows = pulls(
        [
            fetch(990, 3.0, sources={"upstream": 100}),
            fetch(994, sources={"n2": 30, "upstream": 10}, size=200),
            fetch(995, sources={"n2": 5}, resumed=20, size=60),
        ],
        [client()],
    )
    (row,) = rows
    assert row["image"] == "a:1"
    assert row["sources"] == {"cache": 20, "upstream": 110, "n2": 35}
    assert (row["bytes"], row["of_bytes"], row["seconds"]) == (165, 360, 10.0)
    assert [it["bytes"] for it in row["blobs"]] == [40, 25]
    assert (row["for"], row["clients"]) == ("clients", ["127.0.0.1"])


def test_what_was_fetched_before_a_pause_is_another_pull() -> None:
    (row,) = pulls([fetch(900, 10.0, sources={"upstream": 100}), fetch(990, sources={"n2": 1})])
    assert row["sources"] == {"n2": 1}


def test_nothing_that_has_ended_or_that_nobody_reads_is_in_progress() -> None:
    assert pulls([fetch(990, 3.0), fetch(994, is_read=False)], [client(is_waiting=False)]) == []


def test_how_much_is_to_come_is_not_said_while_a_size_is_unknown() -> None:
    (row,) = pulls([fetch(990, size=None, sources={"upstream": 7}), fetch(991, size=10)])
    assert (row["bytes"], row["of_bytes"]) == (7, None)


def test_bytes_that_came_twice_do_not_make_more_than_there_is() -> None:
    running = fetch(990, size=10, sources={"n2": 10, "upstream": 4})
    (row,) = pulls([running])
    assert row["bytes"] <= row["of_bytes"]
    assert row["blobs"][0]["bytes"] == 10


def test_for_whom_it_is() -> None:
    rows = pulls([fetch(990), fetch(991, repository="b", for_clients=False)])
    assert {row["image"]: row["for"] for row in rows} == {"a": "keeping", "b": "members"}


def test_what_a_client_gets_of_what_was_here_counts_beside_what_comes() -> None:
    (row,) = pulls([], [client(held=42)])
    assert (row["sources"], row["of_bytes"]) == ({"cache": 42}, None)
    (row,) = pulls([fetch(995, sources={"n2": 10}, resumed=20)], [client(held=42)])
    assert (row["sources"], row["bytes"], row["of_bytes"]) == ({"cache": 62, "n2": 10}, 72, 142)


def test_the_last_that_began_comes_first_and_the_number_is_bounded() -> None:
    rows = pulls([fetch(NOW - at, repository=f"r{at:03}") for at in range(100)])
    assert [row["image"] for row in rows[:2]] == ["r000", "r001"]
    assert len(rows) == 64
