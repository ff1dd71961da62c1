"""`skvaller why`: why an image or a blob is here, or is not."""

import sys
import urllib.parse
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import click

from ..quantities import size_text, time_text
from .known_names import image_names
from .running_agent import ask, asks_agent, authority_text, short_digest, show_json, show_table

_NAMES_SHOWN_MAX: Final = 4
"""Members that stand in one cell of a table; of more, the number does."""

_EPILOG = """\b
Reading it:
  here    the store of this node that has it; - if none
  from    who sent it to this node, with bytes of each; in brackets whom a home had it from
  on      the other members that say they have it
"""


@click.command(epilog=_EPILOG)
@click.argument("what", metavar="REF|DIGEST", shell_complete=image_names)
@click.option("--platform", metavar="OS/ARCH", help="Whose image of an index.  [default: the agent's own machine's]")
@click.option("--all", "everything", is_flag=True, help="All images of an index.")
@asks_agent
def why(what: str, platform: str | None, everything: bool, url: str, as_json: bool) -> None:
    """Show why an image or a blob is on this node, or is not.

    REF is an image name such as nginx:1.27 or ghcr.io/org/app@sha256:…, DIGEST is sha256:… or sha512:…. Shows what
    the tag means and who says so, which policy and budget hold, who has each blob, where this node has it from, what
    was asked of whom, and what registries answered. Fetches nothing and asks no registry. What was asked is remembered
    since the agent started, of the last fetches.
    Exit status 1 if neither this node nor a member has it.
    """
    query = {"q": what} | ({"platform": platform} if platform else {}) | ({"all": "1"} if everything else {})
    answer = ask(url, "/api/v1/why?" + urllib.parse.urlencode(query))
    if as_json:
        show_json(answer)
    else:
        _show(answer)
    first = answer["content"][0] if answer["content"] else None
    if first is None or not any("bytes" in row for row in first["holders"]):
        sys.exit(1)


def _show(answer: Mapping[str, Any]) -> None:
    for line in _about(answer):
        click.echo(line)
    contents = answer["content"]
    rows = [_content_row(row, answer["node"]) for row in contents]
    _show_rows(("what", "digest", "bytes", "here", "from", "on"), rows)
    _show_lines("Not here:", _absent(contents))
    _show_lines("Private:", dict.fromkeys(_private(contents)))
    asked = [row for content in contents for row in _asked_rows(content)]
    _show_rows(("asked for", "whom", "as", "times", "answer", "bytes", "took"), asked)
    told = [row for content in contents for row in _upstream_rows(short_digest(content["digest"]), content["upstream"])]
    if answer["tag"]:
        told = [*_upstream_rows(answer["reference"].rpartition(":")[2], answer["tag"]["upstream"]), *told]
    _show_rows(("registry asked for", "where", "answer", "ago", "took"), told)
    failures = (line for content in contents for fetch in content["fetches"] for line in fetch["failures"])
    _show_lines("What went wrong on the way:", dict.fromkeys(failures))
    _show_lines("Note:", answer["notes"])


def _show_rows(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """A table after an empty line, if it has rows."""
    if rows:
        click.echo()
        show_table(head, rows)


def _show_lines(head: str, lines: Iterable[str]) -> None:
    """Lines under a head, after an empty line, if there are any."""
    for number, line in enumerate(lines):
        if not number:
            click.echo(f"\n{head}")
        click.echo(f"  {line}")


def _private(contents: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Who may have what came with credentials."""
    for private in filter(None, (row["private"] for row in contents)):
        names = _names(private["names"]) or "a name that is not known any more"
        yield f"it came with credentials as {names}; the policy is {' and '.join(private['policies'])}"


def _absent(contents: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What is not here, by the reason."""
    by_reason: dict[str, list[str]] = {}
    for row in contents:
        if row["absent"] is not None:
            by_reason.setdefault(row["absent"], []).append(f"{row['kind']} {short_digest(row['digest'])}")
    for reason, names in by_reason.items():
        yield f"{_names(names)}: {reason}"


def _about(answer: Mapping[str, Any]) -> Iterator[str]:
    """What it means, and the rules that hold; where it is not here, what would be asked."""
    tag, contents = answer["tag"], answer["content"]
    what = answer["reference"] or answer["asked"]
    if tag is not None:
        yield f"{what} is {answer['digest']}" if answer["digest"] else f"{what}: no member knows what it means"
        yield from _tag_lines(tag, is_offline=bool(answer["registry"] and answer["registry"]["offline"]))
    else:
        yield what
        if answer["repository"]:
            yield f"  of {answer['repository']}"
    if answer["pinned"]:
        yield f"  pinned: kept on {answer['pinned']} member{'' if answer['pinned'] == 1 else 's'}, whatever happens"
    if answer["registry"]:
        yield from _registry_lines(answer["registry"])
    if not contents or contents[0]["here"] is None:
        yield from _next_lines(answer["next"])


def _tag_lines(tag: Mapping[str, Any], *, is_offline: bool) -> Iterator[str]:
    for row in tag["said"]:
        ago = _time(row["age_seconds"])
        yield f"  says {row['member']}: {short_digest(row['digest'])}, {authority_text(row['authority'])}, {ago} ago"
    told = tag["told"]
    if told is not None:
        whom = f", as {told['member']} said" if told["member"] else ""
        outcome = told["failure"] or f"{short_digest(told['digest'])}{whom}"
        yield f"  a client was told {_time(told['age_seconds'])} ago, after {_took(told['seconds'])}: {outcome}"
        if told["warning"]:
            yield f"    with a warning: {told['warning']}"
    policy = tag["policy"]
    whose = f"of {policy['pattern']}" if policy["pattern"] else "of all tags"
    if is_offline:
        yield "  no registry is asked about it (--offline): what members hold is the answer"
        return
    if not policy["asks_upstream"]:
        yield f"  policy {whose}: never-upstream; what members hold is the answer"
    else:
        yield f"  policy {whose}: fresh for {_time(policy['fresh_s'])}, then upstream is asked"
        if behind_s := policy["stale_while_revalidate_s"]:
            yield f"    for {_time(behind_s)} the old answer is given meanwhile"
        yield f"    if upstream does not answer, the old answer counts for {_time(policy['stale_if_error_s'])}"
    if tag["homes"]:
        yield f"  upstream is asked for all by {tag['homes'][0]}, the tag's home now"


def _registry_lines(registry: Mapping[str, Any]) -> Iterator[str]:
    where = f" at {', '.join(registry['urls'])}" if registry["urls"] else ""
    yield f"  registry {registry['name']}{where}: {registry['refusal'] or 'may be asked'}"
    for budget in registry["budgets"]:
        if budget["remaining"] is not None:
            limit = "" if budget["limit"] is None else f" of {budget['limit']}"
            yield f"    budget: {budget['remaining']}{limit} pulls left, as it said {_time(budget['age_s'])} ago"


def _next_lines(following: Mapping[str, Any]) -> Iterator[str]:
    yield "It is not on this node. If a client asked for it now, these would be asked:"
    holders, homes = following["holders"], following["homes"]
    yield f"  members that may have it, by their filters: {_names(holders) or 'none'}"
    yield f"  its homes, in order: {_names(homes) or 'none'}"
    if following["refusal"]:
        yield f"  no registry: {following['refusal']}"
    else:
        yield f"  the registry: {', '.join(following['urls'])}"


def _content_row(row: Mapping[str, Any], me: str) -> tuple[str, ...]:
    what = f"{row['kind']} {row['platform']}".strip()
    others = [it["member"] for it in row["holders"] if it["member"] != me and "bytes" in it]
    size = "-" if row["bytes"] is None else size_text(row["bytes"])
    return (what, short_digest(row["digest"]), size, row["here"] or "-", _origin(row["origin"]), _names(others) or "-")


def _origin(origin: Mapping[str, Any] | None) -> str:
    if origin is None:
        return "-"
    if origin["how"] == "runtime":
        return "the runtime's own"
    if origin["how"] == "cache":
        return "before this start, or pushed"
    sources, origins = origin["sources"], origin["origins"]
    if not sources:
        return "what an earlier fetch left"
    sent = _counts(sources)
    return sent if origins == sources or not origins else f"{sent} ({_counts(origins)})"


def _counts(bytes_by_name: Mapping[str, int]) -> str:
    top = Counter(bytes_by_name).most_common()
    if len(top) == 1:
        return top[0][0]
    shown = [f"{name} {size_text(count)}" for name, count in top[:_NAMES_SHOWN_MAX]]
    return ", ".join(shown) + (f" and {len(top) - len(shown)} more" if len(top) > len(shown) else "")


def _asked_rows(content: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for fetch in content["fetches"]:
        for it in fetch["asked"]:
            failed = f", {it['failed']} failed" if 0 < it["failed"] < it["times"] else ""
            times = f"{it['times']}{failed}"
            what = f"{content['kind']} {short_digest(content['digest'])}"
            yield what, it["source"], it["role"], times, it["answer"], size_text(it["bytes"]), _took(it["seconds"])


def _upstream_rows(what: str, answers: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    for it in answers:
        said = it["failure"] or str(it["status"])
        if it["redirected"]:
            said += f", redirected to {it['redirected']}"
        if it["remaining"]:
            said += f", {it['remaining'].partition(';')[0]} pulls left"
        yield f"{it['method']} {what}", it["url"], said, _time(it["age_seconds"]), _took(it["seconds"])


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMES_SHOWN_MAX])
    return f"{shown} and {len(names) - _NAMES_SHOWN_MAX} more" if len(names) > _NAMES_SHOWN_MAX else shown


def _took(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"


def _time(seconds: float | None) -> str:
    """A time as people say it; None stands for ever."""
    return "ever" if seconds is None else time_text(seconds)
