"""python scripts/house.py [CHECKOUT ...]: the package seen from outside, as a table with a column for each checkout.

A room is a folder of seq2seq/ or a module beside them. An arrow is an import from one room into another, wherever in a
file. A room stands one floor above the highest room that it imports; the arrows of a circle do not count for that.
"""

import ast
import statistics
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

Arrows = dict[str, set[str]]
"""What each node imports."""


class Source(NamedTuple):
    """A file of the package."""

    module: str
    """Dotted, without `seq2seq.`."""
    text: str
    tree: ast.Module


def sources(checkout: Path) -> list[Source]:
    """All files of the package."""
    package = checkout / "seq2seq"
    files = sorted(package.rglob("*.py"))
    names = [".".join(file.relative_to(package).with_suffix("").parts) for file in files]
    texts = [file.read_text(encoding="utf-8") for file in files]
    return [
        Source(name.removesuffix("__init__").strip("."), text, ast.parse(text))
        for name, text in zip(names, texts, strict=True)
    ]


def imports(source: Source, modules: set[str]) -> Iterator[str]:
    """The modules of the package that a file imports."""
    for node in ast.walk(source.tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if name.startswith("seq2seq."):
                inner = name.removeprefix("seq2seq.")
                yield inner if inner in modules else inner.rpartition(".")[0]


def graph(files: list[Source]) -> Arrows:
    """Which module imports which; `seq2seq` itself left out."""
    modules = {source.module for source in files if source.module}
    return {
        source.module: set(imports(source, modules)) & modules - {source.module} for source in files if source.module
    }


def rooms(modules: Arrows) -> Arrows:
    """The same between folders and the modules beside them."""
    arrows: Arrows = {module.partition(".")[0]: set() for module in modules}
    for module, imported in modules.items():
        room = module.partition(".")[0]
        arrows[room] |= {other.partition(".")[0] for other in imported} - {room}
    return arrows


def reached(arrows: Arrows) -> Arrows:
    """What each node imports at last."""
    found = {node: set(after) for node, after in arrows.items()}
    while any(len(found[node]) < len(found[node].union(*(found[one] for one in found[node]))) for node in found):
        found = {node: after.union(*(found[one] for one in after)) for node, after in found.items()}
    return found


def circles(arrows: Arrows) -> set[frozenset[str]]:
    """Groups of nodes that import each other, directly or not."""
    after = reached(arrows)
    return {frozenset(other for other in after[node] if node in after[other]) for node in after if node in after[node]}


def floors(arrows: Arrows) -> int:
    """The height of the house."""
    after = reached(arrows)
    below = {node: {other for other in arrows[node] if node not in after[other]} for node in arrows}
    height: dict[str, int] = {}

    def floor(node: str) -> int:
        if node not in height:
            height[node] = 1 + max(map(floor, below[node]), default=0)
        return height[node]

    return max(map(floor, arrows))


def bodies(files: list[Source]) -> list[int]:
    """Lines of each function, from its first statement to its last."""
    functions = [node for file in files for node in ast.walk(file.tree) if isinstance(node, ast.FunctionDef)]
    return [(node.end_lineno or 0) - node.body[0].lineno + 1 for node in functions]


def lines(folder: Path) -> int:
    """Of all Python files below."""
    return sum(len(file.read_text(encoding="utf-8").splitlines()) for file in folder.rglob("*.py"))


def measured(checkout: Path) -> dict[str, str]:
    """The column of a checkout."""
    files = sources(checkout)
    modules = graph(files)
    house = rooms(modules)
    after = reached(house)
    classes = Counter(node.name for file in files for node in ast.walk(file.tree) if isinstance(node, ast.ClassDef))
    twice = sorted(name for name, count in classes.items() if count > 1)
    length = bodies(files)
    root = [module for module in modules if (checkout / "seq2seq" / f"{module}.py").is_file()]
    return {
        "modules": f"{len(modules)}",
        "modules in the root": f"{len(root)}",
        "rooms": f"{len(house)}",
        "floors": f"{floors(house)}",
        "arrows between rooms": f"{sum(map(len, house.values()))}",
        "arrows in circles": f"{sum(room in after[other] for room in house for other in house[room])}",
        "circles of rooms": f"{len(circles(house))}",
        "circles of modules": f"{len(circles(modules))}",
        "lines of the package": f"{lines(checkout / 'seq2seq'):,}",
        "lines of the tests": f"{lines(checkout / 'tests'):,}",
        "longest file": f"{max(len(file.text.splitlines()) for file in files)}",
        "longest function, lines of its body": f"{max(length)}",
        "median function": f"{statistics.median(length):.0f}",
        "class names used twice or more": f"{len(twice)}",
    }


def main(checkouts: list[Path]) -> None:
    """Print the table."""
    columns = [measured(checkout) for checkout in checkouts]
    print(f"| | {' | '.join(checkout.resolve().name for checkout in checkouts)} |\n|---|{'--:|' * len(columns)}")
    for name in columns[0]:
        print(f"| {name} | {' | '.join(column[name] for column in columns)} |")


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]] or [Path(__file__).resolve().parents[1]])
