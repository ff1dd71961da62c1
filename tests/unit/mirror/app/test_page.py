"""The document of the status page, as it is put together and sent."""

import asyncio
import base64
import hashlib
import re
from importlib.resources import files

import pytest
from starlette.requests import Request
from starlette.responses import Response

from mirror.app import StatusPage
from mirror.events import Kind

PAGE_MAX_BYTES = 60_000
"""What was promised: a phone on a slow line has it at once."""


def page(**headers: str) -> Response:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    (route,) = StatusPage().routes()
    response = asyncio.run(route.endpoint(Request({"type": "http", "method": "GET", "headers": raw})))
    assert isinstance(response, Response)
    return response


def source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_it_is_one_small_document_that_names_nothing_else() -> None:
    body = bytes(page().body).decode()
    assert len(body) <= PAGE_MAX_BYTES
    assert re.findall(r"""(?:src|href|action)=["']?([^"' >]*)""", body) == ["data:image/svg+xml,%3Csvg", "#wrong"]
    assert set(re.findall(r"https?://[^\s'\"]*", body)) == {"http://www.w3.org/2000/svg"}


def test_its_policy_allows_its_own_script_and_style_and_nothing_inline() -> None:
    response = page()
    body, policy = bytes(response.body).decode(), response.headers["content-security-policy"]
    (script,) = re.findall(r"<script[^>]*>(.*?)</script>", body, re.DOTALL)
    (style,) = re.findall(r"<style>(.*?)</style>", body, re.DOTALL)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert (rules["script-src"], rules["style-src"]) == (source(script), source(style))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == rules["frame-ancestors"] == "'none'"
    assert (rules["connect-src"], rules["require-trusted-types-for"]) == ("'self'", "'script'")
    assert "unsafe" not in policy
    assert not re.search(r"<[a-z][^>]*\s(?:on[a-z]+|style)=", body)


def test_who_has_it_already_is_told_so() -> None:
    first = page()
    again = page(if_none_match=first.headers["etag"])
    assert (again.status_code, again.body) == (304, b"")
    assert again.headers["content-security-policy"] == first.headers["content-security-policy"]


@pytest.mark.parametrize(
    "way",
    ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", 'setAttribute("on'],
)
def test_its_script_has_no_way_from_text_to_markup(way: str) -> None:
    assert way not in files("mirror.app.page").joinpath("page.js").read_text()


@pytest.mark.parametrize("kind", Kind)
def test_it_has_a_sentence_for_each_kind_of_event(kind: Kind) -> None:
    assert f'"{kind}": (' in files("mirror.app.page").joinpath("page.js").read_text()
