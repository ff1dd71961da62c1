"""What registries answered."""

from collections.abc import Sequence
from typing import Final

from ...quantities import time_text
from ...sources import Looked
from .. import Finding, Verdict, ok, skipped, warning
from ..advice import Advice
from ..facts import UpstreamFacts

_FEW: Final = 0.1
"""Share of a registry's requests that are left, below which somebody should look."""

_AUTH: Final = "/etc/skvaller/auth.json"
"""Where an agent may have its passwords; `docker login` writes such a file."""

_CAUSES: Final[Sequence[tuple[tuple[str, ...], str, str]]] = (
    (
        ("not known", "resolv", "temporary failure", "nodename"),
        "Its name is not resolved.",
        "getent hosts {host}; resolvectl status",
    ),
    (
        ("certificate", "ssl", "tls"),
        "Its certificate is not believed here, or it speaks no TLS.",
        'openssl s_client -connect {host}:443 </dev/null | head -5    # then ca = "FILE" in its [[registry]] table',
    ),
    (
        ("does not accept", "user and password", "no token", "answers 401", "answered 401"),
        "It wants a password, or another one.",
        "docker login {host}; {auth}",
    ),
    (
        ("private", "trust", "not one that"),
        "It leads to an address that nobody allowed.",
        "skvaller agent --help | grep -A6 upstream-trust",
    ),
    (
        ("refused", "connect call failed"),
        "Nothing listens at its address, or no route leads there.",
        "curl -sv {url}/v2/",
    ),
    (
        ("answers 5",),
        "It is ill itself, or what stands before it.",
        "curl -sv {url}/v2/",
    ),
    (
        ("",),
        "No packet of it comes back: a firewall, a proxy that is not named, or it is down.",
        "curl -sv {url}/v2/; {proxy}",
    ),
)
"""Words in what went wrong, what they mean, and what to do; the first that fits counts."""


def upstream(all_facts: Sequence[UpstreamFacts], advice: Advice) -> list[Finding]:
    """Whether each registry answers this node, and lets it ask."""
    found = []
    for facts in all_facts:
        if facts.is_offline:
            found.append(skipped("upstream", f"{facts.registry} is never asked, as offline says"))
            continue
        found += [_url(facts, it, advice) for it in facts.urls]
        found += _budgets(facts, advice)
    return found


def _url(facts: UpstreamFacts, it: Looked, advice: Advice) -> Finding:
    which = facts.registry if len(facts.urls) == 1 else f"{facts.registry} at {it.url}"
    if not it.problem and it.status is not None and it.status < 500 and it.status != 401:
        login = ", with the password that it was given" if it.has_login else ""
        left = "".join(
            f"; {budget.remaining} of {budget.limit} pulls left" for budget in facts.budgets[:1] if budget.limit
        )
        return ok("upstream", f"{which} answers {it.status} after {1000 * it.seconds:.0f} ms{login}{left}")
    problem = it.problem or f"it answers {it.status}"
    lower = problem.replace(it.url, "").lower()
    means, command = next((means, command) for words, means, command in _CAUSES if any(word in lower for word in words))
    host = it.url.partition("://")[2]
    mend = command.format(
        host=host.partition(":")[0] if "connect" not in command else host,
        url=it.url,
        auth=advice.set("upstream-auth", _AUTH),
        proxy=advice.set("upstream-proxy", "http://PROXY:3128"),
    )
    verdict = Verdict.ERROR if facts.is_named else Verdict.WARNING
    more = f" What no member holds cannot be pulled. A site without a line says so: {advice.set('offline', ['all'])}."
    return Finding("upstream", verdict, f"{which}: {problem}", means + more, mend)


def _budgets(facts: UpstreamFacts, advice: Advice) -> list[Finding]:
    found = []
    login = advice.set("upstream-auth", _AUTH)
    mend = f"skvaller members; docker login; {login}    # an account has pulls of its own"
    for it in facts.budgets:
        whose = f" for {it.source}" if it.source else ""
        if it.wait_s > 0:
            found.append(
                warning(
                    "upstream",
                    f"{facts.registry} lets nobody pull{whose} for {time_text(it.wait_s)}",
                    "What no member holds waits until then.",
                    mend,
                )
            )
        elif it.remaining is not None and it.limit and it.remaining < _FEW * it.limit:
            says = f"{facts.registry} has {it.remaining} of {it.limit} pulls left{whose}"
            found.append(warning("upstream", says, "The last ones are spent one by one.", mend))
    return found
