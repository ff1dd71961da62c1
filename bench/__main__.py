"""The benches' command line: `python -m bench NAME`, from the repository's root."""

import json
import secrets
import signal
import sys
from collections.abc import Callable, Collection, Sequence
from importlib.util import find_spec
from pathlib import Path
from subprocess import SubprocessError
from types import FrameType
from typing import Any

import click
from rich.console import Console

from testbed.errors import RunError

from .arguments import MIB, PLOT_SUFFIXES, Counts, NewFolder, Rate, Size, Target, plot_file
from .lab.chaos.schedule import KINDS
from .lab.hub.settings import MODES as HUB_MODES
from .lab.images import LEAST_BYTES, NAMED, shape_of
from .lab.modes.table import MODES
from .lab.scenarios import ALIASES, SCENARIOS
from .report import BenchError, Report

GIB = 1024**3
_FILE_COLUMNS = 120
_PROCESSES_MAX = 200


def _options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of the benches that move a blob."""
    for option in (
        click.option("--json", "target", type=Target(), help="Write the figures too."),
        click.option("--quick", is_flag=True, help="Fewer rounds, a smaller blob: a minute or two."),
        click.option(
            "--size", type=Size(MIB), metavar="SIZE", help="Of the blob, 1MiB or more.  [default: 1GiB, 64MiB if quick]"
        ),
        click.option("--folder", type=click.Path(exists=True, file_okay=False, path_type=Path), help="For its files."),
    ):
        command = option(command)
    return command


def _blob_bytes(size: int | None, *, quick: bool, quick_bytes: int = 64 * MIB) -> int:
    """The size of a blob: as somebody says, or else one that is long enough to see who is fast."""
    if size is not None:
        return size
    return quick_bytes if quick else GIB


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Measure Skvaller beside others. Each bench ends by itself, and leaves nothing behind."""


@main.command(name="all")
@click.option("--long", "size", flag_value="long", help="A working day: larger images and clusters, thick links, serf.")
@click.option("--quick", "size", flag_value="quick", help="In less than ten minutes on two cores, without Spegel.")
@click.option("--smoke", "size", flag_value="smoke", help="In about a minute: does every part work?")
@click.option(
    "--folder",
    type=NewFolder(),
    help="For the results.  [default: results; with --quick or --smoke results-quick, results-smoke]",
)
@click.option("--only", multiple=True, metavar="TEXT", help="Only steps with this in their name; may be repeated.")
@click.option("--list", "listed", is_flag=True, help="Only say what would be run.")
@click.option(
    "--spegel", type=click.Path(exists=True, dir_okay=False, resolve_path=True, path_type=Path), help="Its binary."
)
@click.option(
    "--spegel-containerd",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True, path_type=Path),
    help="A containerd of version 2 or newer, for Spegel.",
)
def suite(
    size: str | None,
    folder: Path | None,
    only: tuple[str, ...],
    listed: bool,
    spegel: Path | None,
    spegel_containerd: Path | None,
) -> None:
    """All benches, one after the other, and the page: about an hour on two cores (needs root).

    Each step writes its JSON into the folder. What is there, of the same settings and the same code, is not measured
    again, so a run that was stopped goes on, and --long takes over what the hour has measured. A step that fails is
    noted in the page, and the exit status is 1.

    Is a figure the same the next time? Run it again with another --folder: `compare` says where two runs differ, and
    `report` makes a page of both.
    """
    from .suite.progress import duration
    from .suite.run import run_all
    from .suite.steps import Rivals, plan

    wanted = size or "hour"
    rivals = Rivals(spegel, spegel_containerd)
    for mode, needed in rivals.absent.items():
        click.echo(f"left out: {mode}, which needs {needed}")
    planned = plan(wanted, rivals)
    steps = [step for step in planned if not only or any(text in step.name for text in only)]
    if not steps:
        raise click.BadParameter(f"no step of the {wanted} suite has that in its name", param_hint="--only")
    folder = folder or Path("results" if wanted in ("hour", "long") else f"results-{wanted}")
    if listed:
        for step in steps:
            click.echo(f"{step.name}: about {duration(step.usual_s)}: python -m bench {' '.join(step.arguments)}")
        click.echo(f"{len(steps)} steps, about {duration(sum(step.usual_s for step in steps))}")
        return
    _need_page()
    target = folder / "report.html"
    _keep_results(target)
    console = _console()
    signal.signal(signal.SIGTERM, _end)
    try:
        whole = run_all(console, steps, folder)
    except (BenchError, OSError) as error:
        raise click.ClickException(str(error)) from None
    _write_page(console, [folder], target, None)
    sys.exit(0 if whole else 1)


@main.command(name="report")
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "-o",
    "--output",
    type=Target(refused=(".json",)),
    help="The page; its JSON goes beside it.  [default: report.html in the first folder]",
)
@click.option("--markdown", type=Target(refused=(".json",)), help="Write a page of documents, too.")
def page(folders: tuple[Path, ...], output: Path | None, markdown: Path | None) -> None:
    """One page of all results in a FOLDER; of two, of the samples of both, and whether they agree."""
    if len(folders) > 2:
        raise click.UsageError("a page is made of one folder, or of two")
    _write_page(_console(), folders, output or folders[0] / "report.html", markdown)


@main.command(name="compare")
@click.argument("one", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("other", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--json", "target", type=Target(), help="Write the figures too.")
def compare(one: Path, other: Path, target: Path | None) -> None:
    """Do two runs agree? Their figures, by the rule by which the page calls one mode better than another.

    They differ in a figure where the worst of one folder is better than the best of the other, and the medians differ
    by 5 % or more; 25 % where it was measured once.
    """
    from .page.compare import compare_folders

    try:
        found = compare_folders(one, other)
        found.show(_console())
        if target is not None:
            target.write_text(json.dumps(found.plain(), indent=1, ensure_ascii=False) + "\n")
    except (BenchError, OSError) as error:
        raise click.ClickException(str(error)) from None


def _need_page() -> None:
    """Say at once, and not after hours, what the page lacks."""
    if any(find_spec(package) is None for package in ("jinja2", "matplotlib")):
        raise click.ClickException("the page needs jinja2 and matplotlib: pip install '.[bench]'")


def _keep_results(page: Path) -> None:
    """Refuse to write a page that would replace a result."""
    from .page.write import check_target

    try:
        check_target(page)
    except BenchError as error:
        raise click.ClickException(str(error)) from None


def _write_page(console: Console, folders: Sequence[Path], target: Path, markdown: Path | None) -> None:
    _need_page()
    _keep_results(target)
    from .page.build import Page
    from .page.results import read_folder
    from .page.write import html, write_markdown

    try:
        made = Page.of(*(read_folder(folder) for folder in folders))
        if markdown is not None:  # first: it may be refused
            write_markdown(made, markdown)
        target.write_text(html(made), "utf-8", "replace")
        target.with_suffix(".json").write_bytes(made.as_json())
    except (BenchError, OSError) as error:
        raise click.ClickException(str(error)) from None
    console.print(f"{target} is the page, {target.with_suffix('.json')} has its figures", highlight=False)


@main.command()
@_options
def serve(target: Path | None, size: int | None, folder: Path | None, *, quick: bool) -> None:
    """Serving what is cached: the agent, nginx with sendfile, and docker-registry."""
    from .serve import measure

    _run(lambda console: measure(console, _blob_bytes(size, quick=quick), folder, quick=quick), target)


@main.command()
@_options
def relay(target: Path | None, size: int | None, folder: Path | None, *, quick: bool) -> None:
    """Passing a blob on while it arrives: the agent, nginx proxy_cache, and docker-registry as a proxy."""
    from .relay import measure

    _run(lambda console: measure(console, _blob_bytes(size, quick=quick), folder, quick=quick), target)


@main.command()
@_options
def channels(target: Path | None, size: int | None, folder: Path | None, *, quick: bool) -> None:
    """Passing a blob on between members: in clear text, signed, and by TLS with each of its ciphers."""
    from .channels import measure

    _run(lambda console: measure(console, _blob_bytes(size, quick=quick), folder, quick=quick), target)


@main.command()
@_options
def archives(target: Path | None, size: int | None, folder: Path | None, *, quick: bool) -> None:
    """Loading an archive of docker beside sha256sum of it, and saving one beside skopeo copy."""
    from .archives import measure

    bytes_ = _blob_bytes(size, quick=quick, quick_bytes=256 * MIB)  # less is over before the command has started
    _run(lambda console: measure(console, bytes_, folder, quick=quick), target)


@main.command()
@click.option("--json", "target", type=Target(), help="Write the figures too.")
@click.option("--folder", type=click.Path(exists=True, file_okay=False, path_type=Path), help="For its files.")
def lazy(target: Path | None, folder: Path | None) -> None:
    """Reading ranges of a layer that nobody holds, as lazily pulling runtimes do: directly, and through the agent."""
    from .lazy import measure

    _run(lambda console: measure(console, folder), target)


@main.command()
@click.option("--json", "target", type=Target(), help="Write the figures too.")
@click.option("--folder", type=click.Path(exists=True, file_okay=False, path_type=Path), help="For its files.")
def viewers(target: Path | None, folder: Path | None) -> None:
    """What the status page costs an agent that 20 browsers look at, and how soon Chromium paints it."""
    from .viewers import measure

    _run(lambda console: measure(console, folder), target)


@main.command()
@click.option("--json", "target", type=Target(), help="Write the figures too.")
@click.option("--folder", type=click.Path(exists=True, file_okay=False, path_type=Path), help="For its files.")
@click.option("--quick", is_flag=True, help="Fewer rounds, small directories, a file of 64 MiB: some 20 s.")
def micro(target: Path | None, folder: Path | None, *, quick: bool) -> None:
    """Small parts by themselves: lookups, memory, filters, packets, hashes; Bloom filters beside keys themselves."""
    from .micro.run import measure

    _run(lambda console: measure(console, folder, quick=quick), target)


@main.command()
@click.option("--json", "target", type=Target(), help="Write the figures too.")
@click.option(
    "--nodes",
    type=Counts(),
    metavar="N,N,...",
    help="Cluster sizes.  [default: 10,20,30; with --sim 10,100,1000; quick: 10, 10,100]",
)
@click.option("--repeats", type=click.IntRange(1), help="Clusters of each kind and size.  [default: 3; quick: 1]")
@click.option("--leaves", type=click.IntRange(1), help="Graceful leaves in each cluster.  [default: 3; quick: 1]")
@click.option("--kills", type=click.IntRange(1), help="Nodes killed in each cluster.  [default: 3; quick: 1]")
@click.option("--keys", type=click.IntRange(1), default=20, help="Keys advertised in each of ours.  [default: 20]")
@click.option(
    "--quick", is_flag=True, help="Only 10 nodes, suspend none, and watch idle clusters for 5 s: two minutes."
)
@click.option("--sim", is_flag=True, help="Simulate ours instead: real nodes up to 1,500, beyond that a model.")
@click.option(
    "--plot",
    type=Target(suffixes=PLOT_SUFFIXES),
    help="With --sim: file for the plot.  [default: beside the JSON]",
)
def gossip(
    target: Path | None,
    nodes: list[int] | None,
    plot: Path | None,
    *,
    sim: bool,
    quick: bool,
    keys: int,
    **repeats: Any,
) -> None:
    """How soon all nodes know of a change: our gossip beside serf, as real processes (needs root), or simulated.

    Five clusters of each size are started, one after the other: serf, ours with the same settings, ours with its `fast`
    preset, and serf and ours sealed, which are only measured idle. In each a node joins, leaves, is killed, and is
    suspended for 2, 5 and 15 s; in ours keys are advertised, too, also with 10 % of all datagrams lost. A repeat takes
    about 6 min for each size.

    With --sim, detection, dissemination, false verdicts, bytes, CPU and memory are shown against the number of nodes.
    --repeats, --leaves, --kills and --keys are for real processes alone.
    """
    if sim:
        _refuse({"repeats", "leaves", "kills", "keys"}, "beside --sim")
        from .gossip import simulated

        sizes = nodes or ([10, 100] if quick else [10, 100, 1000])
        _run(lambda console: simulated.measure(console, sizes), target, plot_file(plot, target))
        return
    _refuse({"plot"}, "without --sim")
    if max(nodes or [0]) > _PROCESSES_MAX:
        raise click.UsageError(f"more than {_PROCESSES_MAX} processes do not fit a machine: add --sim")
    from .gossip.beside_serf import Amount, measure

    usual = 1 if quick else 3
    counts = {name: count or usual for name, count in repeats.items()}
    amount = Amount(**counts, keys=keys, idle_s=5.0 if quick else 15.0, stops=not quick)
    _run(lambda console: measure(console, nodes or ([10] if quick else [10, 20, 30]), amount), target)


@main.command()
@click.option("--json", "target", type=Target(), help="Write the figures too.")
@click.option("--nodes", type=Counts(), metavar="N,N,...", help="Cluster sizes.  [default: 100,1000,10000]")
@click.option(
    "--lab",
    "checks",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="JSON of `lab fanout` or `lab rolling`, to which the model is compared; may be repeated.",
)
@click.option("--plot", type=Target(suffixes=PLOT_SUFFIXES), help="File for the plots.  [default: beside the JSON]")
@click.option("--quick", is_flag=True, help="Simulate gossip with 100 nodes at most, and compute nothing beyond 1,000.")
def scale(
    target: Path | None, nodes: list[int] | None, checks: tuple[Path, ...], plot: Path | None, quick: bool
) -> None:
    """From 100 to 10,000 nodes in zones: gossip with homes, and a DHT, by simulation and on paper.

    What a node pays for membership, directory and lookups; waves of pulls in a fluid model of the links; where flat
    membership stops being sensible, and what zones would change. A quarter of an hour on two cores; with --quick, three
    minutes. Nothing is sent, and root is not needed.
    """
    from .scale.run import measure

    sizes = nodes or [100, 1000, 10_000]
    _run(lambda console: measure(console, sizes, checks, quick=quick), target, plot_file(plot, target))


@main.group()
def lab() -> None:
    """A cluster in network namespaces (needs root): how soon all nodes have an image, at what cost; and chaos.

    Pulls: fanout (create), rolling (update), late, slow, lonely. Faults while all pull: kill, vanish, dark, partition,
    churn. Without pulls: discover says when the others find what one node has, and how long a holder is named that is
    gone; idle says what it costs to be there. chaos: clients check every byte while everything breaks.
    """


_SCENARIO_OPTIONS = (
    click.option("--nodes", type=click.IntRange(1, 100), default=8, help="Hosts with a client.  [default: 8]"),
    click.option(
        "--image",
        default="200MiB",
        metavar="SIZE|NAME",
        help=f"Size of all layers together, or an image of Spegel's benchmark: {', '.join(NAMED)}.  [default: 200MiB]",
    ),
    click.option("--layers", type=click.IntRange(1, 100), help="Of an image given by its size.  [default: 4]"),
    click.option(
        "--link", type=Rate(), default="200mbit", metavar="RATE", help="Of each host, either way.  [default: 200mbit]"
    ),
    click.option(
        "--upstream", type=Rate(), default="200mbit", metavar="RATE", help="Of the registry.  [default: 200mbit]"
    ),
    click.option(
        "--mode",
        "modes",
        type=click.Choice(list(MODES)),
        multiple=True,
        default=["skvaller"],
        help=f"Whom the clients ask: {'; '.join(f'{kind.name}: {kind.what}' for kind in MODES.values())}. May be "
        "repeated: they take turns.  [default: skvaller]",
    ),
    click.option("--repeats", type=click.IntRange(1), default=3, help="Runs of each mode.  [default: 3]"),
    click.option(
        "--client",
        type=click.Choice(["http", "ctr"]),
        default="http",
        help="A small client that keeps nothing, or a containerd per host.  [default: http]",
    ),
    click.option(
        "--parallel", type=click.IntRange(1, 32), default=3, help="Blobs a client asks for at once.  [default: 3]"
    ),
    click.option(
        "--settle",
        type=click.FloatRange(0),
        default=0.0,
        metavar="S",
        help="Seconds from when all agents know each other to the pull.  [default: 0]",
    ),
    click.option(
        "--patience",
        "patience_s",
        type=click.FloatRange(1),
        default=60.0,
        metavar="S",
        help="Seconds that a client may take beyond what the links need, or wait for a byte.  [default: 60]",
    ),
    click.option(
        "--watch",
        "watch_s",
        type=click.FloatRange(1),
        default=60.0,
        metavar="S",
        help="discover, partition: seconds after which what has not happened is no longer waited for; idle: seconds "
        "that are measured.  [default: 60]",
    ),
    click.option(
        "--keys",
        type=click.IntRange(0, 1000),
        default=0,
        help="idle: measure again when each node has pulled as many small layers of its own.  [default: 0]",
    ),
    click.option(
        "--loss",
        type=click.FloatRange(0, 50),
        default=0.0,
        metavar="PERCENT",
        help="Share of all packets that the network loses, at random.  [default: 0]",
    ),
    click.option(
        "--congestion",
        type=click.Choice(["cubic", "bbr", "reno"]),
        default="cubic",
        help="How TCP of all hosts reacts to full links.  [default: cubic, as in most kernels]",
    ),
    click.option("--json", "target", type=Target(), help="Write the figures too."),
    click.option(
        "--plot",
        type=Target(suffixes=PLOT_SUFFIXES),
        help="File for the plot of where the bytes came from.  [default: beside the JSON]",
    ),
    click.option("--folder", type=click.Path(exists=True, file_okay=False, path_type=Path), help="For its files."),
    click.option("--keep-logs", type=NewFolder(), help="Keep all logs of all runs here."),
    click.option(
        "--spegel", type=click.Path(path_type=Path), metavar="PATH", help="Spegel's binary.  [default: on PATH]"
    ),
    click.option(
        "--spegel-containerd",
        type=click.Path(path_type=Path),
        metavar="PATH",
        help="A containerd, 2.1 or newer for Spegel, with its ctr beside it: for all modes, with --client ctr.  "
        "[default: on PATH]",
    ),
)
"""Of each scenario that measures."""


def _measure_scenario(name: str, called: str) -> click.Command:
    """The command of one scenario that measures, and what it is called.

    Each run starts all processes again, with a new image of random content. The start takes seconds, the pull as long
    as the links need: 8 s for 200 MiB at 200mbit, or 8 s for each node if all ask the registry.
    """

    def command(target: Path | None, plot: Path | None, image: str, layers: int | None, **settings: Any) -> None:
        from .lab.run import measure
        from .lab.settings import Settings

        plot = plot_file(plot, target)
        try:
            shape = shape_of(image, layers)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--image") from None
        wanted = Settings(scenario=name, image=shape.size_bytes, layers=shape.layers, image_name=shape.name, **settings)
        _run(lambda console: measure(console, wanted), target, plot)

    for option in reversed(_SCENARIO_OPTIONS):
        command = option(command)
    same = f"The same as {name}, by the name that Spegel's benchmark gives it: " if called != name else ""
    sentence = f"{same}{SCENARIOS[name].what}."
    return click.command(called, help=f"{sentence[0].upper()}{sentence[1:]}")(command)


for _called, _name in {**{name: name for name in SCENARIOS}, **ALIASES}.items():
    lab.add_command(_measure_scenario(_name, _called))


@lab.command()
@click.option("--nodes", type=click.IntRange(2, 20), default=6, help="Hosts with an agent and clients.  [default: 6]")
@click.option("--minutes", type=click.FloatRange(0.1, 600), default=10.0, help="Of chaos.  [default: 10]")
@click.option("--seed", type=click.IntRange(0), help="Everything random follows from it.  [default: a random one]")
@click.option("--key", is_flag=True, help="Give the cluster a key.")
@click.option(
    "--without",
    type=click.Choice(KINDS),
    multiple=True,
    metavar="FAULT",
    help=f"Leave a kind of fault out; may be repeated: {', '.join(KINDS)}.",
)
@click.option("--json", "target", type=Target(), help="Write the figures too.")
@click.option("--folder", type=click.Path(exists=True, file_okay=False, path_type=Path), help="For its files.")
@click.option("--keep-logs", type=NewFolder(), help="Keep all logs here.")
def chaos(target: Path | None, nodes: int, minutes: float, seed: int | None, **settings: Any) -> None:
    """Clients check every byte while members and upstream fail, lie, and lose what is on their disks.

    On each node clients read blobs, ranges, manifests and tags at random. Meanwhile agents are killed, stopped and
    restarted, made to lie, cut off, slowed down; disks fill up, files are changed, cut short and deleted; clocks move;
    upstream goes away, refuses, breaks off, and answers with a wrong byte; containerds are killed. In the end all of it
    heals, and each node has to get everything right.

    Every error that a client sees is excused, because its own agent was down, or nobody healthy had the content, or it
    is a defect: then the exit status is 1, and the logs are kept.
    """
    from .lab.chaos.run import measure
    from .lab.chaos.settings import Settings

    drawn = secrets.randbelow(1_000_000) if seed is None else seed
    wanted = Settings(nodes=nodes, seconds=minutes * 60, seed=drawn, **settings)
    report = _run(lambda console: measure(console, wanted), target)
    sys.exit(0 if all(goal.reached for goal in report.goals) else 1)


@lab.command()
@click.option(
    "--mode",
    "modes",
    type=click.Choice(HUB_MODES),
    multiple=True,
    default=HUB_MODES[:3],
    metavar="MODE",
    help="Whom the clients ask; may be repeated: skvaller, direct, pullthrough, spegel.  [default: all but spegel]",
)
@click.option("--nodes", type=click.IntRange(2, 50), default=10, help="Hosts behind one address.  [default: 10]")
@click.option("--images", type=click.IntRange(1, 50), default=10, help="That each of them pulls.  [default: 10]")
@click.option("--image", type=Size(LEAST_BYTES), default=MIB, metavar="SIZE", help="Size of each.  [default: 1MiB]")
@click.option("--limit", type=click.IntRange(1), default=10, help="Pulls that the address may.  [default: 10]")
@click.option("--spegel", type=click.Path(dir_okay=False, path_type=Path), help="Its binary, if not on PATH.")
@click.option(
    "--spegel-containerd",
    type=click.Path(dir_okay=False, path_type=Path),
    help="For all modes; else that on PATH.",
)
@click.option("--json", "target", type=Target(), help="Write the figures too.")
@click.option("--folder", type=click.Path(exists=True, file_okay=False, path_type=Path), help="For its files.")
@click.option("--keep-logs", type=NewFolder(), help="Keep all logs here.")
def hub(target: Path | None, modes: tuple[str, ...], **settings: Any) -> None:
    """A cluster behind one address, and a registry that counts pulls as Docker Hub does.

    In each mode, all nodes pull all images at once with ctr, then again, then by new tags of the same digests. Then
    agents alone are asked by HTTP: for what they know, with the line to the hub and without it; for a tag that moves;
    and by a crowd for a tag that nobody has asked for before.
    """
    from .lab.hub.run import measure
    from .lab.hub.settings import Settings

    wanted = Settings(modes=modes, **settings)
    _run(lambda console: measure(console, wanted), target)


@lab.command()
@click.option("--images", type=click.IntRange(1, 200), default=20, help="That are pinned.  [default: 20]")
@click.option("--image", type=Size(LEAST_BYTES), default=4 * MIB, metavar="SIZE", help="Size of each.  [default: 4MiB]")
@click.option("--link", type=click.IntRange(1), default=50, metavar="MBIT", help="Of each node.  [default: 50]")
@click.option("--json", "target", type=Target(), help="Write the figures too.")
@click.option("--folder", type=click.Path(exists=True, file_okay=False, path_type=Path), help="For its files.")
def pins(target: Path | None, link: int, **settings: Any) -> None:
    """Five nodes with pinned images, of which two die for good while there is no line to upstream.

    All images have to stay whole, and to have their two copies again within a minute and the time of the bytes.
    """
    from .lab.pins import Settings, measure

    wanted = Settings(link=link * 1_000_000, **settings)
    report = _run(lambda console: measure(console, wanted), target)
    sys.exit(0 if all(goal.reached for goal in report.goals) else 1)


def _refuse(names: Collection[str], when: str) -> None:
    """Refuse options of the running command that would change nothing.

    Args:
        names: of their parameters.
        when: they would not, e.g. `without --sim`.

    Raises:
        UsageError: one of them was given.
    """
    context = click.get_current_context()
    for option in context.command.params:
        is_given = context.get_parameter_source(option.name or "") is click.core.ParameterSource.COMMANDLINE
        if option.name in names and is_given:
            raise click.UsageError(f"{option.opts[0]} changes nothing {when}: leave it out")


def _run(measure: Callable[[Console], Report], target: Path | None, plot: Path | None = None) -> Report:
    """Measure; what was found is written and shown before anything is drawn, so that no error on the way loses it."""
    console = _console()
    signal.signal(signal.SIGTERM, _end)
    try:
        report = measure(console)
        try:
            if target is not None:
                report.write(target)
        finally:
            report.show(console)
        if plot is not None and report.draw is not None:
            report.draw(plot)
        return report
    except (BenchError, RunError, OSError, SubprocessError) as error:
        raise click.ClickException(str(error)) from None


def _console() -> Console:
    return Console() if sys.stdout.isatty() else Console(width=_FILE_COLUMNS)


def _end(number: int, frame: FrameType | None) -> None:
    """Raise SystemExit, so that everything that was started is stopped."""
    sys.exit(128 + number)


if __name__ == "__main__":
    main(prog_name="python -m bench")
