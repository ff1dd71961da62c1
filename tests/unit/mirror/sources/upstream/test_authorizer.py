"""Challenges of registries, answered: by tokens, by a password, or not at all."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from yarl import URL

from mirror.errors import UpstreamError, UpstreamRateLimited, UpstreamUnknown
from mirror.settings import UpstreamSettings
from mirror.sources.upstream.authorizer import Authorizer
from mirror.sources.upstream.challenge import Basic, Bearer, Challenge, Party, basic_authorization
from mirror.sources.upstream.credentials import AuthPath, Credentials
from mirror.sources.upstream.ratelimit import RateLimits
from mirror.sources.upstream.registries import Registry

if TYPE_CHECKING:
    from mirror.sources.upstream.transport import Transport

OPEN = Registry("lab", "https://lab.example")
CLOSED = Registry("lab", "https://lab.example", "user", "secret")
SCOPE = "repository:team/app:pull"
BEARER = Bearer("https://auth.example/token", "lab", None)
SETTINGS = UpstreamSettings()


def party(registry: Registry, scope: str = SCOPE) -> Party:
    return Party(registry, registry.url, scope, "team/app")


class Answer:
    is_encoded = False

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status, self.headers, self.released = status, headers, False
        self.body = body

    async def read_whole(self, max_bytes: int) -> bytes:
        assert max_bytes == SETTINGS.token_bytes_max
        return self.body

    def release(self) -> None:
        self.released = True


class Service:
    """A token service, in place of the transport."""

    def __init__(self, status: int = 200, token: str = "t1", headers: Mapping[str, str] | None = None) -> None:
        self.answer = Answer(status, headers or {}, json.dumps({"token": token, "expires_in": 300}).encode())
        self.asked: list[tuple[URL, Mapping[str, str]]] = []
        self.forms: list[Mapping[str, str] | None] = []

    async def send(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        sent_by: str | None = None,
        form: Mapping[str, str] | None = None,
    ) -> Answer:
        assert (method, sent_by) == ("GET" if form is None else "POST", "lab")
        self.asked.append((url, headers))
        self.forms.append(form)
        await asyncio.sleep(0)
        return self.answer


def run(
    service: Service,
    story: Callable[[Authorizer], Coroutine[Any, Any, None]],
    credentials: Credentials | None = None,
) -> None:
    asyncio.run(
        story(Authorizer(lambda _: cast("Transport", service), credentials or Credentials(), RateLimits(), SETTINGS))
    )


def test_one_token_serves_all_who_want_it_until_it_is_rejected() -> None:
    service = Service()

    async def story(authorizer: Authorizer) -> None:
        assert authorizer.known(party(OPEN)) is None
        values = await asyncio.gather(*(authorizer.authorize(party(OPEN), [BEARER]) for _ in range(5)))
        assert values == ["Bearer t1"] * 5
        assert authorizer.known(party(OPEN)) == "Bearer t1"
        assert authorizer.known(party(OPEN, "repository:other:pull")) is None
        assert service.asked == [(URL("https://auth.example/token").with_query(service="lab", scope=SCOPE), {})]
        assert service.answer.released
        authorizer.reject(party(OPEN), "Bearer t1")
        assert authorizer.known(party(OPEN)) is None

    run(service, story)


def test_a_password_goes_to_the_token_service_or_is_the_answer_itself() -> None:
    service, basic = Service(), basic_authorization("user", "secret")

    async def story(authorizer: Authorizer) -> None:
        await authorizer.authorize(party(CLOSED), [BEARER, Basic()])
        assert service.asked[0][1] == {"Authorization": basic}
        assert await authorizer.authorize(party(CLOSED, "other"), [Basic()]) == basic
        assert authorizer.known(party(CLOSED, "other")) == basic

    run(service, story)


def identity(folder: Path) -> Credentials:
    """A file with an identity token for the registry."""
    file = folder / "auth.json"
    file.touch(0o600)
    file.write_text(json.dumps({"auths": {"lab.example": {"auth": "", "identitytoken": "secret"}}}))
    return Credentials(AuthPath(file))


def test_an_identity_token_is_exchanged_by_a_form_and_shown_to_nobody_else(tmp_path: Path) -> None:
    service = Service()

    async def story(authorizer: Authorizer) -> None:
        assert await authorizer.authorize(party(OPEN), [BEARER]) == "Bearer t1"
        assert service.asked == [(URL("https://auth.example/token"), {})]
        (form,) = service.forms
        assert form == {
            "grant_type": "refresh_token",
            "service": "lab",
            "client_id": "skvaller",
            "scope": SCOPE,
            "refresh_token": "secret",
        }
        await authorizer.authorize(Party(OPEN, "https://elsewhere.example", SCOPE), [BEARER])
        assert service.forms[1] is None
        with pytest.raises(UpstreamError, match=r"wants a user and password: add an entry for lab\.example to"):
            await authorizer.authorize(party(OPEN, "basic"), [Basic()])

    run(service, story, identity(tmp_path))


@pytest.mark.parametrize("status", [400, 401, 403])
def test_an_identity_token_that_is_good_no_longer_is_told_without_it(
    tmp_path: Path, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(authorizer: Authorizer) -> None:
        with pytest.raises(UpstreamError, match="lab does not accept its identity token"):
            await authorizer.authorize(party(OPEN), [BEARER])

    run(Service(status), story, identity(tmp_path))
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("registry", "challenges", "message"),
    [(OPEN, [Basic()], "wants a user and password"), (CLOSED, [], "without a challenge that this agent understands")],
)
def test_what_cannot_be_answered_says_what_is_missing(
    registry: Registry, challenges: list[Challenge], message: str
) -> None:
    async def story(authorizer: Authorizer) -> None:
        with pytest.raises(UpstreamError, match=message) as refusal:
            await authorizer.authorize(party(registry), challenges)
        assert refusal.value.reason == "auth"

    run(Service(), story)


def test_a_password_that_is_refused_is_a_warning_now_and_then_without_it(caplog: pytest.LogCaptureFixture) -> None:
    async def story(authorizer: Authorizer) -> None:
        for _ in range(3):
            with pytest.raises(UpstreamError):
                await authorizer.authorize(party(CLOSED), [BEARER])

    run(Service(403), story)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "lab does not accept the password of user 'user'" in record.getMessage()
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("registry", "status", "error", "message"),
    [
        (OPEN, 401, UpstreamUnknown, "gives no token for repository:team/app:pull without a user and password"),
        (CLOSED, 403, UpstreamError, "does not accept the password of user 'user'"),
        (OPEN, 500, UpstreamError, "answered 500 to a request for a token"),
        (OPEN, 429, UpstreamRateLimited, "lab answered 429: not asked for 7 s"),
    ],
)
def test_a_token_service_that_gives_none_is_an_error_by_its_status(
    registry: Registry, status: int, error: type[UpstreamError], message: str
) -> None:
    service = Service(status, headers={"Retry-After": "7"})

    async def story(authorizer: Authorizer) -> None:
        with pytest.raises(error, match=message) as refusal:
            await authorizer.authorize(party(registry), [BEARER])
        assert "secret" not in str(refusal.value)
        assert service.answer.released
        assert authorizer.known(party(registry)) is None

    run(service, story)
