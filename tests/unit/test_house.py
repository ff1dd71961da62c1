"""The house rules, checked over the syntax trees. `python tests/unit/test_house.py` lists all that breaks them.

- No circle of imports between modules. Imports under `TYPE_CHECKING` and inside functions count.
- A class has at most 300 lines and 20 methods; properties count as methods.
- The body of a function has at most 60 lines, from its first statement to the end of its last, without the docstring.
- Nobody uses the `_private` names of another module or of its objects. A module may use what it defines itself, and
  everything through `self`, `cls` and `super()`. This rule holds for tests too; the others hold for what they test.

An exception carries its reason: `# house: <reason>` on the line itself, or on a line of its own directly above.
"""

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("gossip", "mirror", "bench", "testbed")
CLASS_LINES_MAX = 300
METHODS_MAX = 20
BODY_LINES_MAX = 60

_REASON = re.compile(r"# house: \S")
_PRIVATE = re.compile(r"_[A-Za-z0-9]\w*")
_PUBLIC_ALL_THE_SAME = {"_replace", "_asdict", "_fields", "_make"}
"""What a named tuple calls its public methods, so that they cannot be mistaken for fields."""


_MSGSPEC_ERRORS = frozenset({"msgspec.MsgspecError", "msgspec.DecodeError", "msgspec.ValidationError"})


class Breach(NamedTuple):
    """A place that breaks a rule."""

    module: str
    path: Path
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


@dataclass(frozen=True)
class Module:
    """One source file.

    Args:
        name: its dotted name; a package has that of its folder.
        path: below the root.
        source: its text.
        is_package: whether it is an `__init__`.
    """

    name: str
    path: Path
    source: str
    is_package: bool = False

    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    def is_excused(self, node: ast.AST) -> bool:
        """Whether a reason stands on the node's first line, or on the line above it and its decorators."""
        lines = self.source.splitlines()
        decorators = getattr(node, "decorator_list", [])
        top = min(getattr(item, "lineno", 1) for item in (node, *decorators))
        above = lines[top - 2].strip() if top > 1 else ""
        first = lines[getattr(node, "lineno", 1) - 1]
        return bool(_REASON.search(first) or _REASON.match(above))


def read(root: Path, packages: Iterable[str]) -> list[Module]:
    """Read all modules of some packages."""
    modules = []
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            relative = path.relative_to(root)
            parts = relative.with_suffix("").parts
            is_package = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if is_package else parts)
            modules.append(Module(name, relative, path.read_text(), is_package))
    return modules


# Circles --------------------------------------------------------------------------------------------------------------


def imports(module: Module, names: Iterable[str]) -> dict[str, int]:
    """Those of the named modules that a module imports anywhere, with the line of the first import."""
    known = set(names)
    found: dict[str, int] = {}
    for node in ast.walk(module.tree()):
        if not isinstance(node, ast.Import | ast.ImportFrom) or module.is_excused(node):
            continue
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        else:
            package = module.name.split(".")
            if node.level:
                package = package[: len(package) - node.level + module.is_package]
            base = ".".join([*(package if node.level else ()), *filter(None, [node.module])])
            inside = [f"{base}.{alias.name}" for alias in node.names]
            targets = [name if name in known else base for name in inside]
        for target in targets:
            if target in known and target != module.name:
                found.setdefault(target, node.lineno)
    return found


def circles(modules: Sequence[Module]) -> Iterator[Breach]:
    """One breach for each module that can be reached from itself, unless an earlier circle has it already."""
    by_name = {module.name: module for module in modules}
    graph = {module.name: imports(module, by_name) for module in modules}
    seen: set[str] = set()
    for start in sorted(graph):
        circle = _path(graph, start)
        if circle and not seen.intersection(circle):
            seen.update(circle)
            way = " -> ".join([*circle, start])
            line = graph[start][circle[1] if len(circle) > 1 else start]
            yield Breach(start, by_name[start].path, line, f"circle of imports: {way}; imports have to run one way")


def _path(graph: Mapping[str, Iterable[str]], start: str) -> list[str]:
    """The shortest way from a module back to itself; empty if there is none."""
    ways = [[start]]
    reached: set[str] = set()
    for way in ways:
        for target in graph[way[-1]]:
            if target == start:
                return way
            if target not in reached:
                reached.add(target)
                ways.append([*way, target])
    return []


# Sizes ----------------------------------------------------------------------------------------------------------------


def sizes(module: Module) -> Iterator[Breach]:
    """Classes and bodies that are too long, and classes with too many methods."""
    for node in ast.walk(module.tree()):
        if isinstance(node, ast.ClassDef) and not module.is_excused(node):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            methods = sum(isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) for item in node.body)
            if lines > CLASS_LINES_MAX:
                yield _breach(module, node, f"class {node.name} has {lines} lines; allowed are {CLASS_LINES_MAX}")
            if methods > METHODS_MAX:
                yield _breach(module, node, f"class {node.name} has {methods} methods; allowed are {METHODS_MAX}")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not module.is_excused(node):
            lines = _body_lines(node)
            if lines > BODY_LINES_MAX:
                yield _breach(module, node, f"{node.name} has a body of {lines} lines; allowed are {BODY_LINES_MAX}")


def _body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    statements = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (statements[-1].end_lineno or 0) - statements[0].lineno + 1 if statements else 0


# Privacy --------------------------------------------------------------------------------------------------------------


def intrusions(module: Module) -> Iterator[Breach]:
    """Uses of a private name that this module does not define, on anything but `self`, `cls` and `super()`.

    A name in a call such as `setattr(b, "_x", 1)` or `monkeypatch.setattr(b, "_x", 1)` is a use too.
    """
    tree = module.tree()
    own = set(_defined(tree)) | _PUBLIC_ALL_THE_SAME
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            names = [] if _is_own(node.value) else [node.attr]
        elif isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("setattr", "getattr", "delattr")):
            names = [str(argument.value) for argument in node.args[1:2] if isinstance(argument, ast.Constant)]
        else:
            continue
        for name in names:
            if _PRIVATE.fullmatch(name) and name not in own and not module.is_excused(node):
                yield _breach(
                    module, node, f"uses {name}, which is private to another module; use what is public there"
                )


def _is_own(value: ast.expr) -> bool:
    if isinstance(value, ast.Call):
        value = value.func
        return isinstance(value, ast.Name) and value.id == "super"
    return isinstance(value, ast.Name) and value.id in ("self", "cls")


def _defined(tree: ast.Module) -> Iterator[str]:
    """Names that a module defines: functions, classes, variables, and attributes of `self`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _is_own(node.value):
            yield node.attr


# Decoding -------------------------------------------------------------------------------------------------------------


def narrow_catches(module: Module) -> Iterator[Breach]:
    """Uses of msgspec's errors. Of text that is no UTF-8 its decoders raise another one; ValueError is both."""
    for node in ast.walk(module.tree()):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in _MSGSPEC_ERRORS and not module.is_excused(node):
            yield _breach(module, node, f"{ast.unparse(node)} leaves out UnicodeDecodeError; ValueError is both")


def _breach(module: Module, node: ast.stmt | ast.expr, message: str) -> Breach:
    return Breach(module.name, module.path, node.lineno, message)


def breaches(root: Path) -> list[Breach]:
    """All of them, by file and line."""
    house, tests = read(root, PACKAGES), read(root, ["tests"])
    found = [*circles(house)]
    found += [breach for module in house for breach in (*sizes(module), *narrow_catches(module))]
    found += [breach for module in (*house, *tests) for breach in intrusions(module)]
    return sorted(found)


# The tests ------------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(300)  # it reads all modules: a busy machine takes more than a minute for that
def test_the_house_keeps_its_rules() -> None:
    found = breaches(ROOT)
    assert not found, "\n" + "\n".join(map(str, found))


def planted(source: str, name: str = "a") -> Module:
    return Module(name, Path(f"{name}.py"), source)


def messages(found: Iterable[Breach]) -> list[str]:
    return [str(breach) for breach in found]


def test_a_circle_is_found_under_type_checking_inside_functions_and_through_a_package() -> None:
    modules = [
        Module("p", Path("p/__init__.py"), "from .a import A\n", is_package=True),
        planted("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .b import B\n", "p.a"),
        planted("def f():\n    from . import c\n", "p.b"),
        planted("import p.a\n", "p.c"),
        planted("from . import c\nfrom p import A\n", "p.d"),
    ]
    assert messages(circles(modules)) == [
        "p.a.py:3: circle of imports: p.a -> p.b -> p.c -> p.a; imports have to run one way"
    ]


def test_imports_that_run_down_are_no_circle_and_one_with_a_reason_is_excused() -> None:
    down = [planted("from . import b, c\n", "p.a"), planted("from .c import C\n", "p.b"), planted("x = 1\n", "p.c")]
    assert messages(circles(down)) == []
    excused = [planted("import b\n", "a"), planted("def f():\n    import a  # house: costs 20 MiB\n", "b")]
    assert messages(circles(excused)) == []


@pytest.mark.parametrize(("statements", "count"), [(60, 0), (61, 1)])
def test_a_body_is_counted_without_its_docstring(statements: int, count: int) -> None:
    body = "".join(f"    x = {number}\n" for number in range(statements))
    found = messages(sizes(planted('async def f():\n    """Says\n\n    much.\n    """\n' + body)))
    assert found == [f"a.py:1: f has a body of {statements} lines; allowed are 60"] * count


@pytest.mark.parametrize(("methods", "count"), [(20, 0), (21, 1)])
def test_methods_are_counted_with_properties_and_without_inner_functions(methods: int, count: int) -> None:
    body = "".join(f"    @property\n    def f{n}(self):\n        def g(): pass\n" for n in range(methods))
    found = messages(sizes(planted("class C:\n" + body)))
    assert found == [f"a.py:1: class C has {methods} methods; allowed are 20"] * count


def test_the_lines_of_a_class_are_counted() -> None:
    assert messages(sizes(planted("class C:\n" + "    x = 1\n" * 300))) == [
        "a.py:1: class C has 301 lines; allowed are 300"
    ]
    assert messages(sizes(planted("# house: one table\n@final\nclass C:\n" + "    x = 1\n" * 300))) == []
    assert len(messages(sizes(planted("# house:\nclass C:\n" + "    x = 1\n" * 300)))) == 1, "an excuse has a reason"


@pytest.mark.parametrize(
    "source",
    [
        "other._x",
        "self.other._x()",
        "other._x = 1",
        "from b import _x",
        "f(other)._x",
        "b._x",
        "patch.setattr(b, '_x', 1)",
    ],
)
def test_private_names_of_others_are_found(source: str) -> None:
    assert messages(intrusions(planted(source + "\n"))) == [
        "a.py:1: uses _x, which is private to another module; use what is public there"
    ]
    assert messages(intrusions(planted(source + "  # house: it has no other name\n"))) == []


@pytest.mark.parametrize(
    "source",
    [
        "self._x",
        "cls._x",
        "super()._x()",
        "row._replace(a=1)",
        "x.__dict__",
        "f(_)",
        "class C:\n    def __init__(self): self._x = 1\n    def f(self, other): return other._x",
        "class C:\n    _x: int = 0\nC._x",
    ],
)
def test_own_private_names_are_no_intrusion(source: str) -> None:
    assert messages(intrusions(planted(source + "\n"))) == []


def test_a_catch_that_leaves_out_text_that_is_no_utf_8_is_found() -> None:
    source = "try:\n    decode(b)\nexcept msgspec.DecodeError:\n    pass\n"
    assert messages(narrow_catches(planted(source))) == [
        "a.py:3: msgspec.DecodeError leaves out UnicodeDecodeError; ValueError is both"
    ]
    assert messages(narrow_catches(planted(source.replace("msgspec.DecodeError", "ValueError")))) == []


if __name__ == "__main__":
    listed = breaches(ROOT)
    print(*listed, f"{len(listed)} breaches", sep="\n")  # noqa: T201 - it is what people ran it for
    sys.exit(1 if listed else 0)
