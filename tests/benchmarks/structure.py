"""How large the exporter is, and what one backup passes through: ``structure.py``.

Another revision is measured by the path of its tree.

The way of a backup is traced: one server's list of thirty backups has changed, is read
over HTTP in the next interval, and is scraped. Every function of the exporter that runs
meanwhile counts, those of the simulated panel and of the configuration do not.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

_ROOT = Path(__file__).parents[2]
_TRACED = "--trace"


def main() -> int:
    """Print the counts of a tree, which may be of another revision."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tree", nargs="?", type=Path, default=_ROOT)
    parser.add_argument(_TRACED, action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.trace:
        asyncio.run(_print_way())
        return 0
    exporter = asked.tree / "exporter"
    packages = Counter[str]()
    for file, lines in _lengths(exporter):
        packages[file.relative_to(exporter).parts[0]] += lines
    demo = packages["demo"]
    whole = sum(packages.values())
    for name, lines in packages.most_common():
        sys.stdout.write(f"{lines:6} {name}\n")
    tests = sum(lines for _, lines in _lengths(asked.tree / "tests"))
    classes = sum(_class_count(file) for file, _ in _lengths(exporter, "demo"))
    sys.stdout.write(
        f"{whole - demo:6} lines of exporter/ without demo/\n"
        f"{tests:6} lines of tests/\n"
        f"{classes:6} classes of exporter/ without demo/\n"
    )
    sys.stdout.flush()
    helpers = [asked.tree / "tests" / name for name in ("support", "simulations")]
    return subprocess.run(
        [sys.executable, __file__, _TRACED],
        check=False,
        env={"PYTHONPATH": ":".join(map(str, (asked.tree, *helpers)))},
    ).returncode


def _lengths(folder: Path, without: str = "") -> Iterator[tuple[Path, int]]:
    for file in sorted(folder.rglob("*.py")):
        if without not in file.relative_to(folder).parts:
            yield file, len(file.read_text("utf-8").splitlines())


def _class_count(file: Path) -> int:
    nodes = ast.walk(ast.parse(file.read_text("utf-8")))
    return sum(isinstance(node, ast.ClassDef) for node in nodes)


async def _print_way() -> None:
    from faulty_panel import Panel  # noqa: PLC0415
    from harness import NOW, monitored  # noqa: PLC0415

    import exporter  # noqa: PLC0415  # of the tree that is measured
    from exporter.demo.cloud.simulation import SimulatedCloud  # noqa: PLC0415

    package = str(Path(exporter.__file__).parent)
    world = SimulatedCloud(NOW)
    server = world.add_server()
    for days in range(30):
        world.add_backup(server.id, created_at=NOW - days * 86_400)
    called: set[tuple[str, str]] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(package):
            called.add((file.removeprefix(package + "/"), frame.f_code.co_qualname))

    with tempfile.TemporaryDirectory() as folder:
        async with monitored(Panel(world), Path(folder)) as cloud:
            await cloud.advance(1000)
            await cloud.metrics()
            world.add_backup(server.id, created_at=NOW + 900)
            threading.setprofile(note)
            sys.setprofile(note)
            await cloud.advance(1000)
            await cloud.metrics()
            sys.setprofile(None)
            threading.setprofile(None)
    own = {(file, name) for file, name in called if not file.startswith("demo/")}
    functions = {one for one in own if "<" not in one[1].rpartition(".")[2]}
    sys.stdout.write(
        f"{len({file for file, _ in own}):6} files that a backup passes through\n"
        f"{len(functions):6} functions\n"
    )


if __name__ == "__main__":
    sys.exit(main())
