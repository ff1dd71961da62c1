"""Lists of referrers: how an entry describes a manifest, what is read of lists, and what of them is left out."""

import json
from typing import Any

import pytest

from mirror.oci.digest import Algorithm, Digest
from mirror.oci.manifest import OCI_INDEX, OCI_MANIFEST, outline
from mirror.oci.reference import is_tag
from mirror.oci.referrers import as_list, entries, entry, of_type, tag_of, wanted_type

SUBJECT = Digest.of(b"subject")
PLAIN = {"mediaType": OCI_MANIFEST, "artifactType": "a/config"}


def described(document: dict[str, Any]) -> dict[str, Any]:
    body = json.dumps(document).encode()
    found = outline(body)
    assert found is not None
    assert found.subject == SUBJECT
    digest = Digest.of(body)
    row = dict(entry(digest, len(body), found))
    assert (row.pop("digest"), row.pop("size")) == (str(digest), len(body))
    return row


def refers(**more: Any) -> dict[str, Any]:
    named = {"mediaType": OCI_MANIFEST, "digest": str(SUBJECT), "size": 7}
    return {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": {"mediaType": "a/config"}, "subject": named} | more


@pytest.mark.parametrize(
    ("document", "row"),
    [
        (refers(), PLAIN),
        (refers(artifactType="a/b"), {"mediaType": OCI_MANIFEST, "artifactType": "a/b"}),
        (refers(artifactType=""), PLAIN),
        (refers(annotations={"k": "v"}), {**PLAIN, "annotations": {"k": "v"}}),
        (refers(annotations={"k": 1}), PLAIN),
        (refers(mediaType=OCI_INDEX, config=None, manifests=[]), {"mediaType": OCI_INDEX}),
    ],
)
def test_an_entry_says_what_the_manifest_says_of_itself(document: dict[str, Any], row: dict[str, Any]) -> None:
    assert described(document) == row


@pytest.mark.parametrize("subject", [None, {}, "x", {"digest": "sha256:1"}, {"digest": 7}])
def test_what_has_no_subject_that_can_be_refers_to_nothing(subject: Any) -> None:
    found = outline(json.dumps(refers(subject=subject)).encode())
    assert found is not None
    assert found.subject is None


@pytest.mark.parametrize("algorithm", Algorithm)
def test_the_tag_of_a_subject_is_a_tag_whatever_its_digest(algorithm: Algorithm) -> None:
    digest = Digest.of(b"", algorithm)
    assert is_tag(tag_of(digest))
    assert tag_of(digest) == f"{algorithm}-{digest.hex[:64]}"


def test_a_list_reads_back_without_what_is_there_twice_or_does_not_fit() -> None:
    rows = [{"digest": str(Digest.of(bytes([at]))), "annotations": {"a": "b" * 300}} for at in range(10)]
    assert entries(as_list([*rows, *rows])) == rows
    body = as_list(rows, 2000)
    assert len(body) <= 2000
    assert entries(body) == rows[:4]
    assert entries(as_list([])) == []


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"7", b"<html>", b'{"manifests": 7}', b"[" * 100_000])
def test_what_is_no_list_is_told_from_an_empty_one(body: bytes) -> None:
    assert entries(body) is None


def test_entries_without_a_digest_are_left_out() -> None:
    row = {"digest": str(SUBJECT)}
    assert entries(json.dumps({"manifests": [None, 7, {}, {"digest": "x"}, row]}).encode()) == [row]
    assert entries(b'{"schemaVersion": 2, "manifests": null}') == []


def test_a_query_may_want_one_type() -> None:
    rows = [{"digest": "1", "artifactType": "a/b+c"}, {"digest": "2"}]
    assert wanted_type("artifactType=a%2Fb%2Bc&n=1") == "a/b+c"
    assert of_type(rows, "a/b+c") == rows[:1]
    assert of_type(rows, wanted_type("n=1")) == rows
