"""Signatures between members in clear text: whose are accepted, and that nothing of a request or answer changes."""

import hmac
from collections.abc import Iterable
from dataclasses import replace

import pytest

from mirror.errors import PeerError, Reason, StaleRequest, Unauthorized
from mirror.settings import SignatureSettings
from mirror.sources.peers.auth import PeerAuth, Request, SignedRequest
from mirror.sources.peers.protocol import AUTH_HEADER, TIME_HEADER

OLD, NEW, FOREIGN = (bytes([number]) * 32 for number in (1, 2, 3))
TARGET = "/v2/library/nginx/manifests/1.27?ns=docker.io"
ASKED = Request("GET", TARGET, (("Skvaller-Node", "a"), ("Range", "bytes=0-9"), ("User-Agent", "x")))
HEAD = {"Content-Length": "2", "Docker-Content-Digest": "sha256:1", "Skvaller-Tag-Age": "3", "Date": "today"}
BODY = b"{}"


class Clock:
    """Unix time that a test sets."""

    def __init__(self, now: float = 1e9) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def auth(*keys: bytes, name: str = "b", required: bool = True, clock: Clock | None = None, most: int = 100) -> PeerAuth:
    settings = SignatureSettings(nonces_max=most)
    return PeerAuth(keys or (NEW,), name, required=required, settings=settings, clock=clock or Clock())


def signed(sent: SignedRequest, request: Request = ASKED) -> Request:
    """A request as it is sent."""
    return replace(request, headers=[*request.headers, *sent.headers.items()])


def accepts(whom: PeerAuth, request: Request) -> bool:
    try:
        proof = whom.recognise(request)
        if proof is not None:
            whom.take(proof)
    except Unauthorized:
        return False
    return True


def believes(sent: SignedRequest, status: int, head: Iterable[tuple[str, str]], body: bytes | None = None) -> bool:
    try:
        sent.check(status, head)
        if body is not None:
            sent.check_body(dict(head), body)
    except PeerError as error:
        return error.reason is not Reason.UNPROVEN
    return True


def test_without_a_key_nothing_is_signed_and_everything_accepted() -> None:
    nobody = PeerAuth()
    sent = nobody.ask("b", ASKED)
    assert sent.headers == {}
    assert nobody.recognise(ASKED) is None
    assert believes(sent, 200, HEAD.items(), BODY)


def test_while_keys_change_both_are_accepted_and_the_first_signs() -> None:
    changing = auth(NEW, OLD)
    assert accepts(changing, signed(auth(OLD).ask("b", ASKED)))
    assert accepts(auth(NEW), signed(changing.ask("b", ASKED)))
    assert not accepts(auth(OLD), signed(changing.ask("b", ASKED)))
    sent = auth(NEW, OLD).ask("b", ASKED)
    for keys in ([OLD, NEW], [NEW]):
        proof = auth(*keys).recognise(signed(sent))
        assert proof is not None
        assert believes(sent, 200, [*HEAD.items(), proof.of_head(200, HEAD.items())])


CHANGED = {
    "method": replace(ASKED, method="HEAD"),
    "target": replace(ASKED, target=TARGET + "x"),
    "a header of ours": replace(ASKED, headers=(("Skvaller-Node", "c"), *ASKED.headers[1:])),  # type: ignore[index]
    "a header of ours more": replace(ASKED, headers=(*ASKED.headers, ("skvaller-relative-rate", "0"))),
    "a header of ours less": replace(ASKED, headers=ASKED.headers[1:]),  # type: ignore[index]
    "the range": replace(ASKED, headers=(ASKED.headers[0], ("range", "bytes=0-8"))),  # type: ignore[index]
    "no range": replace(ASKED, headers=ASKED.headers[:1]),  # type: ignore[index]
    "two ranges": replace(ASKED, headers=(*ASKED.headers, ("Range", "bytes=0-8"))),
    "a condition": replace(ASKED, headers=(*ASKED.headers, ("If-None-Match", "*"))),
    "a body": replace(ASKED, body=b"x"),
}


@pytest.mark.parametrize("changed", CHANGED.values(), ids=CHANGED.keys())
def test_a_request_with_another_meaning_is_refused(changed: Request) -> None:
    sent = auth(NEW).ask("b", ASKED)
    assert not accepts(auth(NEW), signed(sent, changed))
    assert accepts(auth(NEW), signed(sent, replace(ASKED, headers=(*ASKED.headers, ("Via", "1.1 x")))))


def test_a_request_is_good_once_and_for_one_member() -> None:
    asked = signed(auth(NEW).ask("b", ASKED))
    assert not accepts(auth(NEW, name="c"), asked)
    b = auth(NEW)
    assert accepts(b, asked)
    assert not accepts(b, asked)
    assert accepts(b, signed(auth(NEW).ask("b", ASKED)))


@pytest.mark.parametrize("given", ["", "junk", "0" * 64, "1 2 3", "\xff" * 64, "nan 00 00", "1e999 00 00"])
def test_a_request_without_a_right_signature_is_refused(given: str) -> None:
    assert not accepts(auth(NEW), replace(ASKED, headers=(*ASKED.headers, (AUTH_HEADER, given))))
    twice = signed(auth(NEW).ask("b", ASKED))
    assert not accepts(auth(NEW), replace(twice, headers=(*twice.headers, (AUTH_HEADER, given))))


def test_another_cluster_is_not_accepted_and_no_signature_shows_the_key() -> None:
    sent = auth(FOREIGN).ask("b", ASKED)
    assert not accepts(auth(NEW, OLD), signed(sent))
    assert FOREIGN.hex() not in sent.headers[AUTH_HEADER]


def test_one_overheard_is_refused_later_and_after_a_restart() -> None:
    clock = Clock()
    b, asked = auth(clock=clock), signed(auth(clock=clock).ask("b", ASKED))
    clock.now += SignatureSettings().window_s + 1
    assert not accepts(b, asked)
    again = auth(clock=Clock())
    fresh = signed(again.ask("b", ASKED))
    assert accepts(again, fresh)
    assert not accepts(auth(clock=Clock(1e9 + 1)), fresh)


@pytest.mark.parametrize("ahead_s", [-36_000.0, -31.0, 31.0, 36_000.0])
def test_clocks_that_differ_cost_one_more_request(ahead_s: float) -> None:
    a, b = auth(name="a", clock=Clock()), auth(name="b", clock=Clock(1e9 + ahead_s))
    sent = a.ask("b", ASKED)
    proof = b.recognise(signed(sent))
    assert proof is not None
    with pytest.raises(StaleRequest) as caught:
        b.take(proof)
    told = {TIME_HEADER: str(caught.value.now_unix_s)}
    assert believes(sent, 401, [*told.items(), proof.of_head(401, told.items())])
    assert not believes(sent, 401, [(TIME_HEADER, "1"), proof.of_head(401, told.items())])
    assert a.learns("b", 401, told)
    assert accepts(b, signed(a.ask("b", ASKED)))
    assert accepts(auth(name="c", clock=Clock()), signed(a.ask("c", ASKED)))


def test_only_a_refusal_teaches_a_time() -> None:
    a = auth(name="a")
    assert not a.learns("b", 200, {TIME_HEADER: "5"})
    assert not a.learns("b", 401, {})
    assert not a.learns("b", 401, {TIME_HEADER: "nan"})


ANSWERS = {
    "another status": (404, HEAD),
    "another digest": (200, {**HEAD, "Docker-Content-Digest": "sha256:2"}),
    "another length": (200, {**HEAD, "Content-Length": "3"}),
    "another age": (200, {**HEAD, "Skvaller-Tag-Age": "4"}),
    "an origin more": (200, {**HEAD, "Skvaller-Origin": "c"}),
    "no age": (200, {name: value for name, value in HEAD.items() if name != "Skvaller-Tag-Age"}),
}


@pytest.mark.parametrize(("status", "head"), ANSWERS.values(), ids=ANSWERS.keys())
def test_an_answer_that_was_changed_is_not_believed(status: int, head: dict[str, str]) -> None:
    sent = auth().ask("b", ASKED)
    proof = auth().recognise(signed(sent))
    assert proof is not None
    proofs = [proof.of_head(200, HEAD.items()), proof.of_body(BODY)]
    assert believes(sent, 200, [*HEAD.items(), *proofs], BODY)
    assert believes(sent, 200, [*HEAD.items(), ("Date", "tomorrow"), *proofs], BODY)
    assert not believes(sent, status, [*head.items(), *proofs])
    assert not believes(sent, 200, [*HEAD.items(), *proofs], b"[]")
    assert not believes(sent, 200, [*HEAD.items(), proofs[0]], BODY)
    assert not believes(sent, 200, HEAD.items())


def test_answers_are_not_swapped_between_requests_nor_made_by_who_has_no_key() -> None:
    a = auth(name="a")
    one, two = a.ask("b", ASKED), a.ask("b", ASKED)
    proof = auth().recognise(signed(one))
    assert proof is not None
    answer = [*HEAD.items(), proof.of_head(200, HEAD.items())]
    assert believes(one, 200, answer)
    assert not believes(two, 200, answer)
    forged = auth(FOREIGN).recognise(signed(auth(FOREIGN).ask("b", ASKED)))
    assert forged is not None
    assert not believes(one, 200, [*HEAD.items(), replace(forged, stamp=one.stamp).of_head(200, HEAD.items())])
    assert not believes(one, 200, [*HEAD.items(), ("Skvaller-Proof", "\xff")])


def test_what_is_remembered_has_a_bound_and_none_is_answered_twice() -> None:
    clock = Clock()
    b, a = auth(clock=clock, most=10), auth(name="a", clock=clock)
    asked = []
    for _ in range(50):
        clock.now += 0.1
        asked.append(signed(a.ask("b", ASKED)))
        assert accepts(b, asked[-1])
    assert not any(accepts(b, request) for request in asked)
    clock.now += 0.1
    assert accepts(b, signed(a.ask("b", ASKED)))


def test_members_whose_clocks_are_ahead_lock_nobody_out_when_they_fill_the_memory() -> None:
    b, fast, a = auth(most=10), auth(name="fast", clock=Clock(1e9 + 20)), auth(name="a")
    for _ in range(11):
        assert accepts(b, signed(fast.ask("b", ASKED)))
    proof = b.recognise(signed(a.ask("b", ASKED)))
    assert proof is not None
    with pytest.raises(StaleRequest) as caught:
        b.take(proof)
    assert a.learns("b", 401, {TIME_HEADER: str(caught.value.now_unix_s)})
    assert accepts(b, signed(a.ask("b", ASKED)))


@pytest.mark.parametrize("nonce", ["", "0" * 31, "0" * 33, "0" * 20_000, "A" * 32, "0" * 16 + " " + "0" * 15])
def test_a_nonce_is_of_one_length_so_that_memory_is_bounded(nonce: str) -> None:
    b = auth()
    stamp = f"1000000000.000 {nonce}"
    proof = hmac.new(hmac.digest(NEW, b"skvaller questions of members", "sha256"), ASKED.text("b", stamp), "sha256")
    request = replace(ASKED, headers=(*ASKED.headers, (AUTH_HEADER, f"{stamp} {proof.hexdigest()}")))
    assert b.recognise(request) is not None
    assert not accepts(b, request)


def test_who_has_no_key_makes_nothing_be_remembered() -> None:
    b = auth(most=1)
    first = signed(auth().ask("b", ASKED))
    assert accepts(b, first)
    for _ in range(20):
        assert not accepts(b, signed(auth(FOREIGN).ask("b", ASKED)))
    assert not accepts(b, first)


def test_an_order_is_signed_with_its_body_and_a_member_alone_can() -> None:
    order = Request("POST", "/api/v1/keys/use", (), b'{"id": "1"}')
    asked = signed(auth(OLD).ask("b", order), order)
    node = auth(NEW, OLD, required=False)
    node.prove(asked)
    for other in (replace(asked, body=b'{"id": "2"}'), replace(asked, body=b""), order):
        with pytest.raises(Unauthorized):
            node.prove(other)
    with pytest.raises(Unauthorized):
        PeerAuth().prove(asked)


def test_keys_that_change_are_followed() -> None:
    node, member = auth(OLD), auth(OLD)
    node.use([NEW, OLD])
    assert accepts(node, signed(member.ask("b", ASKED)))
    node.use([NEW])
    assert not accepts(node, signed(member.ask("b", ASKED)))


def test_on_the_way_to_keys_unsigned_is_taken_and_wrong_is_not() -> None:
    node = auth(required=False)
    assert node.recognise(ASKED) is None
    assert not accepts(node, signed(auth(FOREIGN).ask("b", ASKED)))
    sent = node.ask("b", ASKED)
    assert sent.headers
    assert believes(sent, 200, HEAD.items(), BODY)
    assert not believes(sent, 200, [*HEAD.items(), ("Skvaller-Proof", "0" * 64)])
