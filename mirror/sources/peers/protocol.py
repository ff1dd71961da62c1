"""The members' protocol: what members say to each other in HTTP headers, written and parsed here and nowhere else.

A request to a peer endpoint is one of the distribution API. Beside that its headers carry one `MemberRequest`; those of
the answer carry one `MemberAnswer`. Both ends use the same two values, so what one end writes the other end reads.

A header comes from another machine. One that is missing, malformed or unknown counts as not sent: parsing never raises,
and a parsed value keeps the rules that its fields state.

Source: docs/homes.md, "On the wire".
"""

import enum
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, get_args

from ...errors import Reason
from ...oci.content import Parts
from ...oci.platforms import are_platforms
from ...routers import is_member_name
from ...stores import Authority
from ...stores.marks import Mark
from .. import HOP_HEADER, Role
from ..chain import VIA_HEADER, read_marks

AUTH_HEADER: Final = "Skvaller-Auth"
"""Of requests in clear text: time, nonce and the proof that a member sent it; see `auth`."""
PROOF_HEADER: Final = "Skvaller-Proof"
"""Of answers in clear text: the proof that the member that was asked sent the head, for this request."""
BODY_PROOF_HEADER: Final = "Skvaller-Body-Proof"
"""Of answers in clear text: the same for a short body."""
TIME_HEADER: Final = "Skvaller-Time"
"""Of answers to a request that was signed at another time: the answering node's time, Unix seconds."""
NODE_HEADER: Final = "Skvaller-Node"
"""Of requests: the name of the node that asks."""
ROLE_HEADER: Final = "Skvaller-Role"
"""Of requests: in which role the member is asked, a value of `Role`; without it as a holder."""
AVOID_HEADER: Final = "Skvaller-Avoid"
"""Of requests: members that the bytes must not come from, with commas between the names."""
RATE_HEADER: Final = "Skvaller-Relative-Rate"
"""Of requests: the throughput that the asking node measures of this member, divided by the median of the others."""
RECHECK_HEADER: Final = "Skvaller-Recheck"
"""Of requests for a tag: `1` if the home is to ask upstream now, because its last answer is in doubt."""
WANT_HEADER: Final = "Skvaller-Want"
"""Of requests for a blob: what is wanted of a holder's copy instead of its bytes, a value of `Want`."""
PLATFORMS_HEADER: Final = "Skvaller-Platforms"
"""Of requests to fetch an image: the platforms of an index that are wanted, with commas between; without it all."""
WRONG_HEADER: Final = "Skvaller-Wrong"
"""Of HEAD requests for a blob: the range `start-stop`, without `stop`, of which the member sent wrong bytes."""
MARKS_HEADER: Final = "Skvaller-Marks"
"""Of requests: `1` from a node that keeps marks, so that it may be given what is private."""
ORIGIN_HEADER: Final = "Skvaller-Origin"
"""Of answers: the member that a home has the bytes from, or `upstream`."""
REASON_HEADER: Final = "Skvaller-Reason"
"""Of answers: why a member does not give what it was asked for, a value of `Reason`."""
TAG_AGE_HEADER: Final = "Skvaller-Tag-Age"
"""Of answers: seconds since a tag was last known to mean what the answer says. A duration, since clocks may differ."""
TAG_AUTHORITY_HEADER: Final = "Skvaller-Tag-Authority"
"""Of answers: who says what the tag means, `upstream`, `runtime` or `pushed`."""
PRIVATE_HEADER: Final = "Skvaller-Private"
"""Of answers: the mark of the content, as `Mark.write` has it; none where it came without credentials."""

SIGNED_BODY_MAX_BYTES: Final = 1024 * 1024
"""Bounds the body of an answer in clear text that is signed, and read before it is believed, in bytes: both ends must
use the same bound. The prefixes of a blob of 500 GiB are as long."""
PARTS_BYTES: Final = 8
"""Length of an answer to `Want.PARTS`: two unsigned numbers of four bytes, the most significant byte first."""

IMAGES_PATH: Final = "/v2/_skvaller/images"
"""GET tells which images a member holds, a page at a time. No repository can have this name."""
DELETE_PATH: Final = "/v2/_skvaller/delete"
"""POST has a member delete an image, or a blob, from its cache. It proves who it is."""
REACH_BACK_PATH: Final = "/v2/_skvaller/reach-back"
"""GET has a member try all ways to the member that asks, and tell what it found; `trial` numbers its datagrams."""
IMAGES_PAGE_MAX: Final = 1000
"""Bounds the images on one page; each takes up to 600 bytes, and a page is signed as a whole."""
DELETED_MAX_BYTES: Final = 64 * 1024
"""Bounds what a member answers of what it has deleted, in bytes."""

HASHED_BYTES: Final = 1
"""Length of an answer to `Want.HASH`."""
FETCHED_BYTES: Final = 21
"""Length of an answer to `Want.FETCH`: one byte, and three unsigned numbers of four, eight and eight bytes."""

AVOIDED_MAX: Final = 1024
"""Bounds the names that one request can list as avoided: more than a cluster has members."""


MEMBER_TAGS_MAX: Final = 1000
"""Bounds the tags of one repository that a member tells: more than a node has images of one name."""
MEMBER_TAGS_MAX_BYTES: Final = 160 * MEMBER_TAGS_MAX
"""Bounds the answer with these: a tag has at most 128 characters."""


class Want(enum.Enum):
    """What a member wants of a holder's copy of a blob, to vouch for what others sent."""

    PREFIXES = "prefixes"
    """For each whole piece, in order, the 32 bytes of the sha256 of everything up to its end."""
    SHA256 = "sha256"
    """The 32 bytes of the sha256 of the range that is asked for."""
    PARTS = "parts"
    """Of a manifest, how many of the blobs that it names the member holds, and how many it names: see `PARTS_BYTES`."""
    HASH = "hash"
    """The member hashes its copy, and answers what became of it, or that it goes on: one byte, see `pins.orders`."""
    FETCH = "fetch"
    """The member fetches the image of this manifest, and answers how far it is: see `pins.orders`."""


_WANTS: Final = {want.value: want for want in Want}
_WRONG: Final = re.compile(r"([0-9]{1,19})-([0-9]{1,19})")
_ROLES: Final = {role.value: role for role in Role if role is not Role.UPSTREAM}
_REASONS: Final = {reason.value: reason for reason in Reason}
_AUTHORITIES: Final[Mapping[str, Authority]] = {authority: authority for authority in get_args(Authority)}
_PERMITTED: Final[Mapping[int, tuple[Reason, ...]]] = {
    404: (Reason.MISSING, Reason.UNKNOWN),
    503: (Reason.BUSY, Reason.UNABLE, Reason.OUTAGE, Reason.RATE_LIMITED, Reason.WHOLE),
}
"""By status, the reasons that a member may give; the first one counts where it gives none of them."""


@dataclass(frozen=True, slots=True)
class MemberRequest:
    """What a request says beside the distribution API's own words. Each one is marked with `HOP_HEADER` as well.

    Args:
        node: the name of the node that asks; None where it gives none.
        role: in which role the member is asked, never `UPSTREAM`.
        avoid: names of members that the bytes must not come from, at most `AVOIDED_MAX`, each once.
        relative_rate: the throughput that the asking node measures of this member, divided by the median of the others;
            finite, not negative; None where the request does not say.
        recheck: whether a home is to ask upstream now what a tag means, whatever it knows.
        want: what is wanted of a holder's copy instead of its bytes; None for the bytes.
        wrong: the range `(start, stop)` of which this member sent wrong bytes; None where it says no such thing.
        came_by: marks of the nodes of other clusters that passed on what is asked: see `sources.chain`.
        keeps_marks: whether the node keeps the marks of private content (`stores.marks`); older versions do not.
        platforms: of an index, the images that are wanted; empty: all.
    """

    node: str | None
    role: Role = Role.HOLDER
    avoid: tuple[str, ...] = ()
    relative_rate: float | None = None
    recheck: bool = False
    want: Want | None = None
    wrong: tuple[int, int] | None = None
    came_by: tuple[str, ...] = ()
    keeps_marks: bool = True
    platforms: tuple[str, ...] = ()

    def headers(self) -> dict[str, str]:
        """The headers of the request, written."""
        headers = {HOP_HEADER: "1", **({MARKS_HEADER: "1"} if self.keeps_marks else {})}
        if self.node is not None:
            headers[NODE_HEADER] = self.node
        if self.role is not Role.HOLDER:
            headers[ROLE_HEADER] = self.role.value
        if self.avoid:
            headers[AVOID_HEADER] = ",".join(self.avoid[:AVOIDED_MAX])
        if self.relative_rate is not None:
            headers[RATE_HEADER] = str(self.relative_rate)
        if self.recheck:
            headers[RECHECK_HEADER] = "1"
        if self.want is not None:
            headers[WANT_HEADER] = self.want.value
        if self.wrong is not None:
            headers[WRONG_HEADER] = "{}-{}".format(*self.wrong)
        if self.came_by:
            headers[VIA_HEADER] = ",".join(self.came_by)
        if self.platforms:
            headers[PLATFORMS_HEADER] = ",".join(self.platforms)
        return headers

    @classmethod
    def parse(cls, headers: Mapping[str, str]) -> "MemberRequest":
        """Read a request's headers; their names are found case-insensitively, or are in lower case."""
        avoided = dict.fromkeys(filter(is_member_name, _text(headers, AVOID_HEADER).split(",")))
        return cls(
            node=_name(headers, NODE_HEADER),
            role=_ROLES.get(_text(headers, ROLE_HEADER), Role.HOLDER),
            avoid=tuple(avoided)[:AVOIDED_MAX],
            relative_rate=_number(headers, RATE_HEADER, least=0.0),
            recheck=_text(headers, RECHECK_HEADER) == "1",
            want=_WANTS.get(_text(headers, WANT_HEADER)),
            wrong=_range(headers, WRONG_HEADER),
            came_by=read_marks(_text(headers, VIA_HEADER)),
            keeps_marks=_text(headers, MARKS_HEADER) == "1",
            platforms=_platforms(headers),
        )


@dataclass(frozen=True, slots=True)
class MemberAnswer:
    """What an answer says beside the distribution API's own words.

    Args:
        origin: the member that a home has the bytes from, or `upstream`; None where they are its own.
        reason: why the member does not give what it was asked for; None where it does, or does not say why.
        tag_age_s: seconds since a tag was last known to mean what the answer says, finite; None where it does not say.
        tag_authority: who says what the tag means; None where it does not say.
        mark: of the content; None where it came without credentials.
    """

    origin: str | None = None
    reason: Reason | None = None
    tag_age_s: float | None = None
    tag_authority: Authority | None = None
    mark: Mark | None = None

    def headers(self) -> dict[str, str]:
        """The headers of the answer, written."""
        headers = {
            ORIGIN_HEADER: self.origin,
            REASON_HEADER: self.reason,
            TAG_AGE_HEADER: None if self.tag_age_s is None else str(self.tag_age_s),
            TAG_AUTHORITY_HEADER: self.tag_authority,
            PRIVATE_HEADER: None if self.mark is None else self.mark.write(),
        }
        return {name: str(value) for name, value in headers.items() if value is not None}

    @classmethod
    def parse(cls, headers: Mapping[str, str]) -> "MemberAnswer":
        """Read an answer's headers; their names are found case-insensitively, or are in lower case."""
        return cls(
            origin=_name(headers, ORIGIN_HEADER),
            reason=_REASONS.get(_text(headers, REASON_HEADER)),
            tag_age_s=_number(headers, TAG_AGE_HEADER),
            tag_authority=_AUTHORITIES.get(_text(headers, TAG_AUTHORITY_HEADER)),
            mark=Mark.parse(_text(headers, PRIVATE_HEADER)) if PRIVATE_HEADER.lower() in headers else None,
        )

    def failure(self, status: int) -> Reason:
        """What an answer with this status, which is not the one that was hoped for, means."""
        permitted = _PERMITTED.get(status)
        if permitted is None:
            return Reason.STATUS
        return self.reason if self.reason in permitted else permitted[0]


def needs_signed_body(status: int, length: int | None) -> bool:
    """Whether the body of an answer in clear text is signed, and read before it is believed. A part of a blob is not.

    Args:
        status: of the answer.
        length: of its body, in bytes; None where it does not say.
    """
    return status != HTTPStatus.PARTIAL_CONTENT and length is not None and length <= SIGNED_BODY_MAX_BYTES


def write_parts(parts: Parts) -> bytes:
    """The answer to `Want.PARTS`."""
    return b"".join(number.to_bytes(PARTS_BYTES // 2) for number in (parts.held, parts.named))


def parse_parts(body: bytes) -> Parts:
    """Read an answer to `Want.PARTS` of the right length."""
    half = PARTS_BYTES // 2
    return Parts(int.from_bytes(body[:half]), int.from_bytes(body[half:]))


def _text(headers: Mapping[str, str], name: str) -> str:
    """A header's text; empty where it was not sent."""
    return headers.get(name.lower(), "")


def _name(headers: Mapping[str, str], name: str) -> str | None:
    """A header's text, if a member can have that name; `upstream` has the form of one."""
    text = _text(headers, name)
    return text if is_member_name(text) else None


def _platforms(headers: Mapping[str, str]) -> tuple[str, ...]:
    """The platforms in a header, if all of them can be some."""
    text = _text(headers, PLATFORMS_HEADER)
    platforms = tuple(text.split(",")) if text else ()
    return platforms if are_platforms(platforms) else ()


def _range(headers: Mapping[str, str], name: str) -> tuple[int, int] | None:
    """A header's text as a range that has a byte at least."""
    match = _WRONG.fullmatch(_text(headers, name))
    if match is None:
        return None
    start, stop = int(match[1]), int(match[2])
    return (start, stop) if start < stop else None


def _number(headers: Mapping[str, str], name: str, least: float = -math.inf) -> float | None:
    """A header's text as a finite number that is not less than `least`."""
    try:
        number = float(_text(headers, name))
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= least else None
