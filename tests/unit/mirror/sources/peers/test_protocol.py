"""The members' protocol: what one end writes the other end reads, and junk is never more than junk."""

import math
from collections.abc import Callable, Mapping
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from starlette.datastructures import Headers

from mirror.errors import Reason
from mirror.oci.content import Parts
from mirror.routers import is_member_name
from mirror.sources import HOP_HEADER, UPSTREAM, Role
from mirror.sources.peers.connections import Head
from mirror.sources.peers.protocol import (
    AVOID_HEADER,
    AVOIDED_MAX,
    NODE_HEADER,
    ORIGIN_HEADER,
    PARTS_BYTES,
    RATE_HEADER,
    REASON_HEADER,
    ROLE_HEADER,
    TAG_AGE_HEADER,
    TAG_AUTHORITY_HEADER,
    WRONG_HEADER,
    MemberAnswer,
    MemberRequest,
    Want,
    parse_parts,
    write_parts,
)
from mirror.stores import Authority


def as_a_server_has_them(headers: Mapping[str, str]) -> Mapping[str, str]:
    return Headers(raw=[(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()])


def as_a_download_has_them(headers: Mapping[str, str]) -> Mapping[str, str]:
    lines = [f"{name}: {value}" for name, value in headers.items()]
    return Head.parse("\r\n".join(["HTTP/1.1 200 OK", *lines]).encode("latin-1")).headers


def as_a_question_has_them(headers: Mapping[str, str]) -> Mapping[str, str]:
    return CIMultiDict(headers)


Carrier = Callable[[Mapping[str, str]], Mapping[str, str]]
CARRIERS: tuple[Carrier, ...] = (as_a_server_has_them, as_a_download_has_them, as_a_question_has_them)

NAMES = st.from_regex(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", fullmatch=True)
RATES = st.floats(min_value=0, allow_nan=False, allow_infinity=False)
OFFSETS = st.integers(0, 10**19 - 1)
REQUESTS = st.builds(
    MemberRequest,
    node=st.none() | NAMES,
    role=st.sampled_from([role for role in Role if role is not Role.UPSTREAM]),
    avoid=st.lists(NAMES, unique=True, max_size=20).map(tuple),
    relative_rate=st.none() | RATES,
    recheck=st.booleans(),
    want=st.none() | st.sampled_from(Want),
    wrong=st.none() | st.tuples(OFFSETS, OFFSETS).filter(lambda wrong: wrong[0] < wrong[1]),
)
ANSWERS = st.builds(
    MemberAnswer,
    origin=st.none() | NAMES | st.just(UPSTREAM),
    reason=st.none() | st.sampled_from(Reason),
    tag_age_s=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    tag_authority=st.none() | st.sampled_from(get_args(Authority)),
)
TEXT = (
    st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=30)
    | st.sampled_from(
        ["inf", "-inf", "nan", "-1", "1e999", "0x1", "home", "upstream", "HOME", " home", "busy", "a,,b", ","]
    )
    | st.floats().map(str)
    | st.lists(NAMES | st.text("ab,-. \xe9", max_size=5), max_size=8).map(",".join)
)
REQUEST_JUNK = st.dictionaries(st.sampled_from([NODE_HEADER, ROLE_HEADER, AVOID_HEADER, RATE_HEADER]), TEXT)
ANSWER_JUNK = st.dictionaries(
    st.sampled_from([ORIGIN_HEADER, REASON_HEADER, TAG_AGE_HEADER, TAG_AUTHORITY_HEADER]), TEXT
)


@pytest.mark.parametrize("carried", CARRIERS)
@given(said=REQUESTS)
def test_a_request_reads_back_as_it_was_written(carried: Carrier, said: MemberRequest) -> None:
    assert MemberRequest.parse(carried(said.headers())) == said


@pytest.mark.parametrize("carried", CARRIERS)
@given(said=ANSWERS)
def test_an_answer_reads_back_as_it_was_written(carried: Carrier, said: MemberAnswer) -> None:
    assert MemberAnswer.parse(carried(said.headers())) == said


@pytest.mark.parametrize("carried", CARRIERS)
@given(junk=REQUEST_JUNK)
def test_junk_in_a_request_gives_a_value_that_keeps_the_rules(carried: Carrier, junk: dict[str, str]) -> None:
    read = MemberRequest.parse(carried(junk))
    assert read.node is None or is_member_name(read.node)
    assert read.role is not Role.UPSTREAM
    assert all(map(is_member_name, read.avoid))
    assert len(set(read.avoid)) == len(read.avoid) <= AVOIDED_MAX
    assert read.relative_rate is None or (math.isfinite(read.relative_rate) and read.relative_rate >= 0)
    assert MemberRequest.parse(carried(read.headers())) == read


@pytest.mark.parametrize("carried", CARRIERS)
@given(junk=ANSWER_JUNK, status=st.integers(100, 599))
def test_junk_in_an_answer_gives_a_value_that_keeps_the_rules(
    carried: Carrier, junk: dict[str, str], status: int
) -> None:
    read = MemberAnswer.parse(carried(junk))
    assert read.origin is None or is_member_name(read.origin)
    assert read.tag_age_s is None or math.isfinite(read.tag_age_s)
    assert MemberAnswer.parse(carried(read.headers())) == read
    assert (read.failure(status) is Reason.STATUS) == (status not in (404, 503))


def test_nothing_said_is_a_holder_asked_by_nobody() -> None:
    assert MemberRequest.parse({}) == MemberRequest(None, keeps_marks=False)
    assert MemberAnswer.parse({}) == MemberAnswer()


@given(REQUESTS)
def test_each_request_between_members_has_the_hop_mark(said: MemberRequest) -> None:
    assert said.headers()[HOP_HEADER] == "1"


@pytest.mark.parametrize("role", ["upstream", "Home", "bring", "", "home,home"])
def test_who_names_no_role_asks_a_holder(role: str) -> None:
    assert MemberRequest.parse({ROLE_HEADER.lower(): role}).role is Role.HOLDER


def test_of_avoided_members_each_counts_once_and_a_bounded_number_at_all() -> None:
    assert MemberRequest.parse({AVOID_HEADER.lower(): "b,a,b,,-x,a,c"}).avoid == ("b", "a", "c")
    many = tuple(f"n{number}" for number in range(2 * AVOIDED_MAX))
    said = MemberRequest("me", avoid=many).headers()
    assert MemberRequest.parse(as_a_server_has_them(said)).avoid == many[:AVOIDED_MAX]
    assert MemberRequest.parse({AVOID_HEADER.lower(): ",".join(many)}).avoid == many[:AVOIDED_MAX]


@pytest.mark.parametrize(
    ("status", "said", "meant"),
    [
        (404, None, Reason.MISSING),
        (404, Reason.UNKNOWN, Reason.UNKNOWN),
        (404, Reason.BUSY, Reason.MISSING),
        (503, None, Reason.BUSY),
        (503, Reason.UNABLE, Reason.UNABLE),
        (503, Reason.RATE_LIMITED, Reason.RATE_LIMITED),
        (503, Reason.WHOLE, Reason.WHOLE),
        (503, Reason.UNKNOWN, Reason.BUSY),
        (503, Reason.CORRUPT, Reason.BUSY),
        (500, Reason.BUSY, Reason.STATUS),
        (200, None, Reason.STATUS),
    ],
)
def test_a_status_permits_some_reasons(status: int, said: Reason | None, meant: Reason) -> None:
    assert MemberAnswer(reason=said).failure(status) is meant


@pytest.mark.parametrize("text", ["", "5", "5-5", "6-5", "-5", "5-", "a-b", "1-2-3", "1-99999999999999999999", " 1-2"])
def test_a_range_that_has_no_byte_or_is_none_counts_as_not_sent(text: str) -> None:
    assert MemberRequest.parse({WRONG_HEADER.lower(): text}).wrong is None


@given(st.builds(Parts, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)))
def test_the_parts_of_an_image_come_as_they_were_sent(parts: Parts) -> None:
    body = write_parts(parts)
    assert (len(body), parse_parts(body)) == (PARTS_BYTES, parts)
