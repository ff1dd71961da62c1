"""Challenges as registries really send them, and as they should not."""

import base64
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from mirror.errors import UpstreamError
from mirror.settings import UpstreamSettings
from mirror.sources.upstream.challenge import (
    Basic,
    Bearer,
    Party,
    Token,
    basic_authorization,
    parse_challenges,
    parse_token,
    realm_of,
    token_url,
)
from mirror.sources.upstream.registries import Registry

HUB = Bearer("https://auth.docker.io/token", "registry.docker.io", "repository:library/nginx:pull")


@pytest.mark.parametrize(
    ("headers", "challenges"),
    [
        (
            [
                'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",'
                'scope="repository:library/nginx:pull"'
            ],
            [HUB],
        ),
        (['Basic realm="Registry Realm"'], [Basic()]),
        (['bearer Realm=token , SERVICE = "a, b"'], [Bearer("token", "a, b", None)]),
        (['Basic realm="x", Bearer realm="https://a/t"'], [Basic(), Bearer("https://a/t", None, None)]),
        (['Bearer realm="https://a/t"', "Basic"], [Bearer("https://a/t", None, None), Basic()]),
        (["Negotiate YIIa+/==, Basic"], [Basic()]),
        (["Negotiate, NTLM"], []),
        ([r'Bearer realm="https://a/\"t\\"'], [Bearer(r"https://a/" + '"t\\', None, None)]),
        (['Bearer realm="https://a/t",error="insufficient_scope"'], [Bearer("https://a/t", None, None)]),
        ([",, Basic ,"], [Basic()]),
        ([], []),
        ([""], []),
    ],
)
def test_reads_challenges(headers: list[str], challenges: list[Bearer | Basic]) -> None:
    assert parse_challenges(headers) == challenges


@pytest.mark.parametrize(
    "header",
    ['Bearer realm="https://a', "<html>", 'realm="x"', "Bearer realm=a b", "Bearer", 'Bearer service="x"', "é"],
)
def test_refuses_what_is_no_challenge(header: str) -> None:
    with pytest.raises(UpstreamError) as refusal:
        parse_challenges([header])
    assert refusal.value.reason == "auth"


@given(st.text(max_size=200) | st.text(alphabet='Bearer realm="\\,= abc', max_size=100))
@example("Bearer " + "a=" * 4000)
def test_no_text_does_worse_than_to_be_refused(header: str) -> None:
    try:
        challenges = parse_challenges([header])
    except UpstreamError:
        return
    assert all(isinstance(challenge, Basic | Bearer) for challenge in challenges)


@given(st.lists(st.text(alphabet=st.characters(codec="ascii", categories=["L", "N", "P", "S", "Zs"]), min_size=1)))
def test_any_quoted_text_comes_out_as_it_went_in(values: list[str]) -> None:
    quoted = ['"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' for value in values]
    header = ", ".join(f"Bearer realm={value},service={value}" for value in quoted)
    assert parse_challenges([header]) == [Bearer(value, value, None) for value in values]


REGISTRY = Registry("docker.io", "https://registry-1.docker.io")


def asked(challenge: Bearer, registry: Registry, scope: str) -> URL:
    return token_url(realm_of(challenge, Party(registry, registry.url, scope)), challenge, scope)


def test_a_token_is_asked_for_as_the_challenge_says() -> None:
    assert asked(HUB, REGISTRY, "unused") == URL(
        "https://auth.docker.io/token?service=registry.docker.io&scope=repository:library/nginx:pull"
    )


def test_the_realms_own_query_stays_and_each_scope_goes_by_itself() -> None:
    challenge = Bearer("https://a/t?client=x#frag", None, "repository:a:pull repository:b:pull")
    assert list(asked(challenge, REGISTRY, "unused").query.items()) == [
        ("client", "x"),
        ("scope", "repository:a:pull"),
        ("scope", "repository:b:pull"),
    ]


def test_without_a_scope_the_repository_is_asked_for() -> None:
    url = asked(Bearer("https://a/t", None, None), REGISTRY, "repository:a/b:pull")
    assert url.query["scope"] == "repository:a/b:pull"


def test_userinfo_in_a_realm_goes_nowhere() -> None:
    assert "user" not in str(asked(Bearer("https://user:x@a/t", None, None), REGISTRY, "s"))


@pytest.mark.parametrize("realm", ["token", "//host/t", "ftp://a/t", "https://", "https://a:b/t", "http://a/t"])
def test_a_realm_must_be_a_url_no_less_safe_than_the_registry(realm: str) -> None:
    with pytest.raises(UpstreamError) as refusal:
        asked(Bearer(realm, None, None), REGISTRY, "s")
    assert refusal.value.reason == "auth"


def test_a_registry_on_http_may_have_its_tokens_there() -> None:
    registry = Registry("lab", "http://10.0.0.1:5000")
    assert asked(Bearer("http://10.0.0.1:5001/t", None, None), registry, "s").host == "10.0.0.1"


def test_user_and_password_are_sent_in_utf_8() -> None:
    assert base64.b64decode(basic_authorization("å", "lösen:ord").removeprefix("Basic ")).decode() == "å:lösen:ord"


@pytest.mark.parametrize(
    ("answer", "token"),
    [
        ({"token": "abc", "expires_in": 300}, Token("abc", 300)),
        ({"access_token": "abc"}, Token("abc", 60)),
        ({"token": "abc", "access_token": "def"}, Token("abc", 60)),
        ({"token": "", "access_token": "def"}, Token("def", 60)),
        ({"token": "abc", "expires_in": 1}, Token("abc", 60)),
        ({"token": "abc", "expires_in": -1}, Token("abc", 60)),
        ({"token": "abc", "expires_in": "300"}, Token("abc", 60)),
        ({"token": "abc", "expires_in": None}, Token("abc", 60)),
        ({"token": "abc", "expires_in": float("nan")}, Token("abc", 60)),
        ({"token": "abc", "expires_in": float("inf")}, Token("abc", 3600)),
        ({"token": "abc", "expires_in": 10**300}, Token("abc", 3600)),
    ],
)
def test_reads_tokens_and_bounds_their_life(answer: dict[str, object], token: Token) -> None:
    assert parse_token(json.dumps(answer).encode(), UpstreamSettings()) == token


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>log in</html>",
        b"[]",
        b"null",
        b"{}",
        b'{"token": 7}',
        b'{"token": "a\\r\\nX: y"}',
        b'{"token": "\\u00e5"}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_refuses_what_is_no_token(body: bytes) -> None:
    with pytest.raises(UpstreamError) as refusal:
        parse_token(body, UpstreamSettings())
    assert refusal.value.reason == "auth"


def test_no_token_in_a_repr() -> None:
    assert "secret" not in repr(Token("secret", 60))
