"""The command ``demo``: simulated panels on loopback, and an exporter for them."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Mapping

from ..app import Exporter
from ..config.flags import PROGRAM, Flags
from ..config.load import build
from ..config.schema import Config
from ..demo.panel.server import SimulatedPanel, demo_panel, jammed_panel
from ..metrics.exposition import TEXT
from ..model.selection import Shard
from ..signals import install_signal_handlers

_READS_PER_SECOND = 50
_SAMPLE_METRICS = (
    "onapp_up",
    "onapp_vm_backups",
    "onapp_target_last_success_timestamp_seconds",
    "onapp_target_oldest_unbuilt_timestamp_seconds",
)
_MAX_SAMPLE_LINES = 4


async def run_demo(flags: Flags) -> int:
    """Serve the simulated panels until SIGTERM or SIGINT; return the exit status."""
    async with (
        demo_panel(servers=flags.servers) as panel,
        jammed_panel() as jammed,
    ):
        panels = {"demo": panel, "branch-office": jammed}
        exporter = Exporter(
            load=lambda _: _config(panels, flags.servers),
            shard=Shard(flags.shard, flags.total_shards),
            telemetry_path=flags.telemetry_path,
            max_requests=flags.max_requests,
            web_config_file=flags.web_config_file,
        )
        install_signal_handlers(exporter.request_stop, exporter.reload)
        async with (
            exporter.running(flags.listen_addresses) as addresses,
            asyncio.TaskGroup() as tasks,
        ):
            introduction = tasks.create_task(
                _print_introduction(
                    exporter, _shown_address(addresses), flags.telemetry_path, panel
                )
            )
            await exporter.stop_requested
            introduction.cancel()
    return 0


def _config(panels: Mapping[str, SimulatedPanel], servers: int) -> Config:
    """Return a configuration with short intervals, so that changes show up soon."""
    seconds = max(15, servers // _READS_PER_SECOND)
    sections = [
        {
            "name": name,
            "url": panel.url,
            "basic_auth": {"username": panel.username, "password": panel.password},
            "discovery": {"interval": f"{2 * seconds}s"},
            "collectors": {"recovery_points": True},
            "poll": {"interval": f"{seconds}s"},
        }
        for name, panel in panels.items()
    ]
    return build({"panels": sections}, "demo")


def _shown_address(addresses: list[str]) -> str:
    """Return the address to show, preferably IPv4, which is easier to type."""
    return min(addresses, key=lambda address: (address.startswith("["), address))


async def _print_introduction(
    exporter: Exporter, address: str, telemetry_path: str, panel: SimulatedPanel
) -> None:
    """Print the addresses, a sample of the metrics, and commands to try."""
    host, _, port = address.rpartition(":")
    loopback = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104  # bound so
    scheme = "http" if exporter.access.ssl_context is None else "https"
    base = f"{scheme}://{loopback.get(host, host)}:{port}"
    while not exporter.store.ready():  # noqa: ASYNC110  # polled once, for a person
        await asyncio.sleep(0.05)
    sample = exporter.exposition.render(TEXT, frozenset(_SAMPLE_METRICS)).decode()
    print(f"\nThe exporter is monitoring a simulated OnApp cloud. Open:\n  {base}/")
    print(f"  {base}{telemetry_path}\n\nA sample of the metrics:\n")
    print("\n".join(_excerpt(sample)))
    print("\nIts panel can be tried with other commands, in another terminal:\n")
    print(f"  export ONAPP_URL={panel.url} ONAPP_USERNAME={panel.username} \\")
    print(f"    ONAPP_PASSWORD={panel.password}")
    # In a checkout, as of `make demo`, the program is not on the PATH.
    program = PROGRAM if shutil.which(PROGRAM) else f"{sys.executable} -m exporter"
    print(f"  {program} check\n  {program} once")
    print("\nCtrl-C ends it.")
    sys.stdout.flush()


def _excerpt(text: str) -> list[str]:
    """Return the first few lines of every family."""
    lines: list[str] = []
    shown = 0
    for line in text.splitlines():
        shown = 0 if line.startswith("# HELP") else shown + 1
        if shown <= _MAX_SAMPLE_LINES:
            lines.append(f"  {line}")
        elif shown == _MAX_SAMPLE_LINES + 1:
            lines.append("  …")
    return lines
