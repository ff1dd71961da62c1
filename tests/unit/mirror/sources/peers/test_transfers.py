"""Downloads from members: what an answer may say, and for what a silent member answers."""

import math
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import PeerError, Reason
from mirror.routers import Peer
from mirror.settings import PeerSettings
from mirror.sources import SIZE_MAX_BYTES, RangeReply, RangeRequest, Role
from mirror.sources.peers.connections import Connection, Head
from mirror.sources.peers.transfers import Transfer, check_reply

PEER = Peer("n1", "127.0.0.1", 1)
ROLES = [role for role in Role if role is not Role.UPSTREAM]


def answer(start: int, stop: int, size: int, *, status: int = 206, length: int | None = None, **more: str) -> Head:
    headers = {"content-range": f"bytes {start}-{stop - 1}/{size}"}
    headers["content-length"] = str(stop - start if length is None else length)
    return Head(status, {**headers, **{name.replace("_", "-"): value for name, value in more.items()}})


def reason_of(head: Head, request: RangeRequest) -> Reason:
    with pytest.raises(PeerError) as caught:
        check_reply(PEER, head, request)
    return caught.value.reason


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    ("asked", "start", "stop", "size"),
    [((0, 10), 0, 10, 100), ((0, None), 0, 100, 100), ((90, 200), 90, 100, 100), ((5, None), 5, 6, 6)],
)
def test_the_range_that_was_asked_for_is_taken(
    role: Role, asked: tuple[int, int | None], start: int, stop: int, size: int
) -> None:
    reply = check_reply(PEER, answer(start, stop, size, skvaller_origin="n2"), RangeRequest(*asked, role))
    assert reply == RangeReply(start, stop, size, "n2")


@pytest.mark.parametrize(
    ("role", "may_send_less"),
    [(Role.HOLDER, False), (Role.HOLDER_FOR_HOME, False), (Role.HOME, True), (Role.PARTIAL, True)],
)
def test_a_member_that_fetches_it_itself_may_send_the_front_alone(role: Role, *, may_send_less: bool) -> None:
    head, request = answer(0, 5, 100), RangeRequest(0, 10, role)
    if may_send_less:
        assert check_reply(PEER, head, request) == RangeReply(0, 5, 100)
    else:
        assert reason_of(head, request) is Reason.RANGE


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (answer(1, 10, 100), Reason.RANGE),
        (answer(0, 11, 100), Reason.RANGE),
        (answer(0, 10, SIZE_MAX_BYTES + 1), Reason.RANGE),
        (answer(0, 10, 100, length=9), Reason.LENGTH),
        (Head(206, {"content-range": "bytes 0-9/100"}), Reason.LENGTH),
        (Head(206, {"content-length": "10"}), Reason.RANGE),
        (Head(200, {"content-length": "10"}), Reason.STATUS),
        (Head(416, {"content-range": "bytes */100"}), Reason.STATUS),
        (Head(404, {}), Reason.MISSING),
        (Head(503, {"skvaller-reason": "whole"}), Reason.WHOLE),
    ],
)
def test_another_answer_is_a_failure_with_a_reason(head: Head, reason: Reason) -> None:
    assert reason_of(head, RangeRequest(0, 10)) is reason


def test_nothing_of_nothing_is_an_answer() -> None:
    assert check_reply(PEER, Head(416, {"content-range": "bytes */0"}), RangeRequest(0, 10)) == RangeReply(0, 0, 0)


@pytest.mark.parametrize("size", ["bytes */0", "bytes */100", ""])
def test_beyond_the_end_is_a_range_that_content_of_unknown_size_may_lack(size: str) -> None:
    answer = Head(416, {"content-range": size} if size else {})
    assert reason_of(answer, RangeRequest(200, 210)) is Reason.RANGE
    assert (
        reason_of(answer, RangeRequest(200, 210, size=1000)) is Reason.STATUS
    )  # the asker knows that it has bytes there


@given(
    st.sampled_from([200, 206, 404, 416, 500, 503]),
    st.dictionaries(
        st.sampled_from(["content-range", "content-length", "skvaller-origin", "skvaller-reason", "transfer-encoding"]),
        st.text(max_size=20)
        | st.from_regex(r"bytes [0-9]{1,4}-[0-9]{1,4}/[0-9]{1,4}", fullmatch=True)
        | st.integers(0, 9999).map(str),
    ),
    st.integers(0, 50),
    st.none() | st.integers(1, 50),
    st.sampled_from(ROLES),
)
def test_junk_is_a_part_of_what_was_asked_for_or_a_failure(
    status: int, headers: dict[str, str], start: int, count: int | None, role: Role
) -> None:
    request = RangeRequest(start, None if count is None else start + count, role)
    try:
        reply = check_reply(PEER, Head(status, headers), request)
    except PeerError:
        return
    if reply.size:
        assert request.start == reply.start < reply.stop <= reply.size
        assert request.stop is None or reply.stop <= request.stop


class Sink:
    """Takes a reply at once, or wants to be asked first."""

    def __init__(self, *, at_once: bool, on_put: Callable[[], None]) -> None:
        self.body = b""
        self._at_once = at_once
        self._on_put = on_put

    async def begin(self, reply: RangeReply) -> None:
        raise NotImplementedError

    def begin_at_once(self, reply: RangeReply) -> bool:
        return self._at_once

    async def wait_for_space(self, position: int) -> None:
        raise NotImplementedError

    def put(self, position: int, part: bytes | memoryview) -> None:
        self.body += part
        self._on_put()


class Scripted(Connection):
    """Gives one answer, without a network."""

    def __init__(self, on_get: Callable[[], None]) -> None:
        super().__init__("127.0.0.1", 1, PeerSettings())
        self.aborted = False
        self._on_get = on_get

    def get(self, target: str, headers: Mapping[str, str]) -> Head:
        self._on_get()
        return answer(0, 10, 10)

    def read_body(self, put: Callable[[int, bytes], None], offset: int, count: int) -> int:
        put(offset, bytes(count))
        return count

    def abort(self) -> None:
        self.aborted = True


def asking(connection: Connection) -> Head:
    return connection.get("/x", {})


FAR = 1e12
"""Later than any clock."""


@pytest.mark.parametrize("at_once", [True, False])
def test_a_member_owes_bytes_from_the_request_on_but_not_while_the_sink_decides(*, at_once: bool) -> None:
    owed: list[bool] = []

    def look() -> None:
        owed.append(transfer.unheard_s(FAR) > 0)

    sink = Sink(at_once=at_once, on_put=look)
    transfer = Transfer(PEER, Scripted(look), RangeRequest(0, 10), sink)
    look()
    reply, received = transfer.begin(asking)
    assert (reply, received) == (RangeReply(0, 10, 10), 10 if at_once else None)
    if received is None:
        look()
        assert transfer.receive(reply) == 10
    assert owed == ([False, True, True] if at_once else [False, True, False, True])
    assert sink.body == bytes(10)


def test_a_sign_of_life_counts_beside_bytes_and_says_that_the_member_was_reached() -> None:
    def while_asked() -> None:
        assert not transfer.was_heard
        assert transfer.signed_at == -math.inf
        transfer.note_sign_of_life(FAR)
        assert transfer.was_heard
        assert transfer.signed_at == FAR
        assert transfer.unheard_s(FAR) > 0

    transfer = Transfer(PEER, Scripted(while_asked), RangeRequest(0, 10), Sink(at_once=False, on_put=lambda: None))
    transfer.begin(asking)


def test_one_that_is_given_up_says_why_and_ends_its_connection() -> None:
    connection = Scripted(lambda: None)
    transfer = Transfer(PEER, connection, RangeRequest(0, 10), Sink(at_once=True, on_put=lambda: None))
    assert transfer.given_up is None
    transfer.give_up(Reason.STALLED, "gave no sign of life")
    assert connection.aborted
    assert transfer.given_up is not None
    assert (transfer.given_up.reason, str(transfer.given_up)) == (Reason.STALLED, "n1 gave no sign of life")
