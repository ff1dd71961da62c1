"""The clients: threads on every node that ask for anything, and containerds that pull, until they are told to stop."""

import random
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

from testbed.errors import RunError
from testbed.network import enter
from testbed.nodes import CONTAINERD_NAMESPACE

from .ledger import Error, Ledger
from .library import MOVING, PULLED, Library
from .member import Member
from .question import PULL, WRONG_BYTES, Failure, Question, content_question, head_of_manifest, tag_question
from .settings import PAUSE_MAX_S, READERS, REST_S
from .timeline import Timeline
from .verdict import FROM_UPSTREAM, Judge, Verdict

_PULL_S: Final = 120.0
"""How long a containerd may take for a pull of some MB, s: it tries again what fails, and waits between."""


class Askers:
    """All clients of a run, in threads of their own inside of the nodes' namespaces.

    Args:
        library: what they ask for.
        judge: tells what is excused.
        timeline: gives the time.
        ledger: gets what they see.
        seed: of what they ask.
    """

    def __init__(self, library: Library, judge: Judge, timeline: Timeline, ledger: Ledger, seed: int) -> None:
        self._library = library
        self._judge = judge
        self._timeline = timeline
        self._ledger = ledger
        self._seed = seed
        self._stopping = threading.Event()

    def start(self, members: list[Member], stack: ExitStack) -> None:
        """Let them ask until the stack is closed, or `stop`."""
        threads = []
        for member in members:
            threads += [threading.Thread(target=self._ask_anything, args=(member, number)) for number in range(READERS)]
            if member.containerd is not None:
                threads.append(threading.Thread(target=self._pull_again_and_again, args=(member,)))
        for thread in threads:
            thread.start()
            stack.callback(thread.join)
        stack.callback(self._stopping.set)

    def ask_everything(self, member: Member) -> None:
        """Ask for each content and each tag once, inside of a thread of its own; nothing excuses an error."""

        def ask() -> None:
            enter(member.host.netns)
            chance = random.Random(0)
            for content in self._library.contents:
                whole = content_question(content, chance)
                while whole.kind not in ("whole", "manifest"):
                    whole = content_question(content, chance)
                self.ask(member, whole, final=True)
            for name in self._library.tags:
                self.ask(member, tag_question(self._library, name, by_head=False), final=True)

        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()

    def ask(self, member: Member, question: Question, *, final: bool = False) -> None:
        """Ask one question, and write down what came of it."""
        began, count = time.monotonic(), 0
        failure = None
        try:
            count = question.ask()
        except Failure as error:
            failure = error
        except OSError as error:
            failure = Failure(type(error).__name__, str(error))
        self._ledger.read(question.kind, count)
        if failure is not None:
            self._blame(failure, member, question, began, final=final)
            self._stopping.wait(REST_S)

    def _blame(self, failure: Failure, member: Member, question: Question, began: float, *, final: bool) -> None:
        ended = time.monotonic()
        verdict = self._judge.judge(failure, member.name, question, began, ended)
        if final and verdict.excuse != FROM_UPSTREAM:
            verdict = Verdict(None, "all was well")
        detail = f"{failure.detail} ({verdict.reason})" if verdict.reason else failure.detail
        asked = f"at the end: {question.shown}" if final else question.shown
        at_s = ended - self._timeline.started_at
        self._ledger.error(
            Error(at_s, member.name, failure.kind, asked, detail, round(ended - began, 2), verdict.excuse)
        )

    def _ask_anything(self, member: Member, number: int) -> None:
        enter(member.host.netns)
        chance = random.Random(f"{self._seed}/{member.name}/{number}")
        while not self._stopping.wait(chance.uniform(0, PAUSE_MAX_S)):
            self.ask(member, self._choose(chance))

    def _choose(self, chance: random.Random) -> Question:
        if chance.random() < 0.25:
            names = [*self._library.tags, *[f"{MOVING}:latest"] * 4]
            return tag_question(self._library, chance.choice(names), by_head=chance.random() < 0.5)
        content = chance.choice(self._library.contents)
        if content.kind == "manifests" and chance.random() < 0.3:
            return head_of_manifest(content)
        return content_question(content, chance)

    def _pull_again_and_again(self, member: Member) -> None:
        """Let the node's containerd pull an image, look at every byte that it has then, and let it forget all."""
        assert member.containerd is not None
        name = f"{PULLED}:1"
        image = self._library.images[name]
        question = Question(
            PULL,
            f"ctr images pull {name}",
            [self._library.by_digest[digest] for digest in image.digests],
            True,
            self._pulling(member, name),
        )
        chance = random.Random(f"{self._seed}/{member.name}/containerd")
        while not self._stopping.wait(chance.uniform(1, 4)):
            self.ask(member, question)

    def _pulling(self, member: Member, name: str) -> Callable[[], int]:
        image = self._library.images[name]
        containerd = member.containerd
        assert containerd is not None

        def pull() -> int:
            reference = f"docker.io/{name}"
            pulling = ("images", "pull", "--hosts-dir", str(member.hosts_dir), reference)
            try:
                containerd.ctr(*pulling, namespace=CONTAINERD_NAMESPACE, timeout_s=_PULL_S)
                for digest in image.digests:
                    path = containerd.blob_path(digest)  # which containerd may have dropped since: its own business
                    if path.exists() and path.read_bytes() != image.read(digest):
                        raise Failure(WRONG_BYTES, f"containerd has other bytes than those of {digest}")
                containerd.ctr("images", "rm", "--sync", reference, namespace=CONTAINERD_NAMESPACE)
            except RunError as error:
                raise Failure(PULL, str(error)[-300:]) from None
            except subprocess.TimeoutExpired:
                raise Failure("silence", f"a pull that takes more than {_PULL_S:g} s") from None
            return image.total

        return pull
