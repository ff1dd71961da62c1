"""`python -m gossip.sim --seed N [--seeds COUNT] [--quiet]`: replay one run, or look for a seed that fails."""

import argparse
import sys

from .invariants import InvariantError
from .scenario import storm


def main() -> int:
    """Run the seeds that the command line names; status 1 if one of them fails."""
    parser = argparse.ArgumentParser(prog="python -m gossip.sim", description="Simulate a cluster under faults.")
    parser.add_argument("--seed", type=int, default=0, help="of the first run")
    parser.add_argument("--seeds", type=int, default=1, help="how many runs, one seed after the other")
    parser.add_argument("--quiet", action="store_true", help="no trace, only the outcome and the hash of all datagrams")
    arguments = parser.parse_args()
    for seed in range(arguments.seed, arguments.seed + arguments.seeds):
        try:
            report = storm(seed)
        except InvariantError as error:
            sys.stdout.write(f"seed {seed} fails: {error}\n")
            return 1
        if not arguments.quiet:
            sys.stdout.write("\n".join(report.cluster.trace) + "\n")
        sys.stdout.write(f"seed {seed} agrees {report.settled_s:.1f} s after calm, {report.cluster.digest}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
