"""`skvaller members`: the cluster as this node sees it."""

from typing import Any

import click

from .running_agent import ask, asks_agent, show_json, show_table


@click.command()
@asks_agent
def members(url: str, as_json: bool) -> None:
    """Show the members of the cluster, as this node's agent sees them."""
    answer = ask(url, "/api/v1/members")
    if as_json:
        show_json(answer)
        return
    rows = [
        (
            row["name"] + (" (this node)" if row["itself"] else ""),
            row["state"] + (" (flapping)" if row["flapping"] else ""),
            row["peer"],
            str(row["keys"]),
            row["home"],
            "-" if row["rtt_ms"] is None else f"{row['rtt_ms']:.1f} ms",
        )
        for row in answer["members"]
    ]
    show_table(("member", "state", "peer endpoint", "keys held", "home", "round trip"), rows)
    if answer["alone"]:
        click.echo(f"This node is alone: it reaches no other member. Tried {answer['alone']}")
    for budget in answer["budgets"]:
        click.echo(budget_line(budget))
    for outage in answer["outages"]:
        click.echo(outage_line(outage))
    for row in answer["members"]:
        if (said := row["contradicts"]) is not None:
            click.echo(
                f"{row['name']} says that {said['tag']} is {said['says']}, and upstream says {said['upstream']}: it is "
                f"asked about no tag for {said['ignored_s']} s; it lies, or its --upstream is another registry"
            )


_REFUSED = {
    "nothing": "no pull is left, and nobody pulls",
    "pulls": "it answered 429, and nobody pulls",
    "all": "it answered 429, and nobody asks",
}
"""What follows from what a registry answered with 429."""


def outage_line(outage: dict[str, Any]) -> str:
    """Whom a registry does not answer."""
    whom = [] if outage["out_s"] is None else [f"this node for {outage['out_s']:.0f} s"]
    return f"{outage['registry']}: it has not answered {', '.join([*whom, *outage['members']])}"


def budget_line(budget: dict[str, Any]) -> str:
    """What a registry still lets the members ask."""
    left, limit, wait_s = budget["remaining"], budget["limit"], budget["wait_s"]
    line = f"{budget['registry']}: "
    if wait_s > 0:
        line += f"{_REFUSED[budget['refused']]} for another {wait_s:.0f} s"
    else:
        line += f"{left} pulls left" if limit is None else f"{left} of {limit} pulls left"
        hours = (budget["window_s"] or 0) / 3600
        line += f" within {hours:g} h" if hours else ""
    whose = f" ({budget['source']})" if budget["source"] else ""
    return f"{line}{whose}, as it said {budget['age_s']:.0f} s ago"
