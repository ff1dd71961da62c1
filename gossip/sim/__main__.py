"""`python -m gossip.sim`: replay one run, or look for a seed that fails."""

import argparse
import sys

from .invariants import InvariantError
from .scenario import SCENARIOS, Tally, runs

_HELP = """\
Simulate clusters of this library's nodes under faults. Time is simulated, a seed is a run, and always the same one:
a failure names the seed, and that seed with the same code shows it again.

scenarios:
{scenarios}
"""
_EXAMPLES = """\
examples:
  python -m gossip.sim --seed 17                          one storm, with its trace
  python -m gossip.sim --seeds 1000 --quiet --jobs 4      the nightly run: a thousand storms, and what they measured
  python -m gossip.sim --scenario leaves --seeds 100 -q   a thousand goodbyes

In a trace a line is: simulated time in seconds, node, what it decided; `--` stands for the network.
The exit status is 1 if a rule was broken, a goal missed, or a fault never fired in all of many seeds.
"""


def main() -> int:
    """Run the seeds that the command line names; status 1 if one of them fails."""
    listing = "\n".join(f"  {name:15} {scenario.summary}" for name, scenario in SCENARIOS.items())
    parser = argparse.ArgumentParser(
        prog="python -m gossip.sim",
        description=_HELP.format(scenarios=listing),
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--scenario", choices=SCENARIOS, metavar="NAME", default="storm", help="one of these (default: storm)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the first run (default: 0)")
    parser.add_argument("--seeds", type=int, default=1, help="how many runs, one seed after the other (default: 1)")
    parser.add_argument("-q", "--quiet", action="store_true", help="only what all runs came to")
    parser.add_argument("--jobs", type=int, default=1, help="how many runs at a time, each a process (default: 1)")
    arguments = parser.parse_args()
    for name in ("seeds", "jobs"):
        if getattr(arguments, name) < 1:
            parser.error(f"--{name} must be at least 1")
    tally = Tally(SCENARIOS[arguments.scenario])
    seeds = range(arguments.seed, arguments.seed + arguments.seeds)
    try:
        for seed, report in zip(seeds, runs(arguments.scenario, seeds, arguments.jobs), strict=True):
            tally.add(report)
            if not arguments.quiet:
                measured = "; ".join(f"{name} {max(values):.3f}" for name, values in report.figures.items())
                story = report.trace if arguments.seeds == 1 else ()
                _say(*story, f"seed {seed}: {measured}; datagrams {report.digest}")
    except InvariantError as error:
        _say(f"fails: {error}")
        return 1
    if arguments.seeds > 1:
        _say(f"{tally.runs} runs", *tally.lines())
    shortcomings = tally.shortcomings()
    _say(*shortcomings)
    return 1 if shortcomings else 0


def _say(*lines: str) -> None:
    for line in lines:
        sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
