"""Where the next page of a list begins, as registries say it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.sources.upstream.pages import QUERY_MAX, filters, following


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        (['</v2/a/tags/list?n=2&last=b>; rel="next"'], "n=2&last=b"),
        (["</v2/a/tags/list?last=b%2Fc&n=2>; rel=next"], "last=b%2Fc&n=2"),
        (['<https://r.example/v2/a/tags/list?next_page=x%3D>; title="a"; rel="next"'], "next_page=x%3D"),
        (['</first?n=1>; rel="first", </next?n=2>; rel="next"'], "n=2"),
        (['</first?n=1>; rel="first"', "</next?n=2>;rel=next"], "n=2"),
        ([], None),
        ([""], None),
        (['</v2/a/tags/list>; rel="next"'], None),
        (['</x?n=1>; rel="prev"'], None),
        (['<http://[/x?n=1>; rel="next"'], None),
        ([f'</x?n={"1" * QUERY_MAX}>; rel="next"'], None),
    ],
)
def test_the_next_page_is_found(headers: list[str], query: str | None) -> None:
    assert following(headers) == query


@given(st.lists(st.text(), max_size=3))
def test_junk_is_no_page(headers: list[str]) -> None:
    query = following(headers)
    assert query is None or 0 < len(query) <= QUERY_MAX


def test_filters_can_stand_in_a_header() -> None:
    assert filters({"OCI-Filters-Applied": "artifactType"}) == "artifactType"
    assert filters({"OCI-Filters-Applied": "a\r\nx: y"}) is filters({}) is None
