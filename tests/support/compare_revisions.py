"""Does this checkout say the same as another revision? For changes of the inside alone.

Both serve the demo cloud at the same fixed time, and all that people or programs read
is compared: metrics, pages, JSON, commands, help, errors, generated files. What differs
from run to run of the same code is blanked out on both sides.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path

from checkout import ROOT, TOOLS, write_revision

_TIME = "2026-11-28 12:00:00"
_SETTLING_SECONDS = 6.0
"""From the end of the first pass to the last answer that something is compared of."""
_ACCEPT = {
    "text": "text/plain",
    "OpenMetrics": "application/openmetrics-text; version=1.0.0",
}
_PATHS = (
    *("/", "/?q=db&state=stale", "/server?panel=demo&vm_id=3", "/server?panel=x"),
    *("/api/v1/status", "/api/v1/status?sort=x", "/config", "/-/healthy", "/-/ready"),
    "/nope",
)
_COMMANDS = (
    *("--help", "demo --help", "check --help", "once --help", "healthcheck --help"),
    *("--version", "chek", "--lg.level x", "--log.level x", "--shard 3"),
    *("--total-shards 2", "--config.file /no --config.check"),
)
"""Those that need no panel."""
_PANEL_COMMANDS = ("once", "check", "check --format json", "--config.check")
_VARYING = (
    (r"(?m)^((process|python|onapp_api|onapp_poll_lag|onapp_panel_clock)\S*) .*$", ""),
    (r"127\.0\.0\.1:\d+", "ADDRESS"),
    (r"(seconds_per_pass\W+)[\d.]+", r"\1N"),
    (r"(next_request_at\W+)[^\"]+", r"\1N"),
    (r"<dt>Next request</dt>.*", ""),
    (r"[\d.]+ (ms|s)\b", r"N \1"),
)
_LIBRARY = "usr/lib/*/faketime/libfaketime.so.1"


def main() -> int:
    """Compare; return 0 where nothing differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("revision", help="what to compare with, as git names it")
    revision = parser.parse_args().revision
    with tempfile.TemporaryDirectory() as other:
        write_revision(revision, Path(other))
        before, now = _everything(Path(other)), _everything(ROOT)
    differing = 0
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name, ""), now.get(name, "")
        differing += old != new
        sys.stdout.writelines(
            f"{line}\n"
            for line in difflib.unified_diff(
                *(old.splitlines(), new.splitlines()),
                *(f"{revision}: {name}", f"now: {name}"),
                lineterm="",
            )
        )
    lines = sum(text.count("\n") for text in now.values())
    print(f"{len(now)} outputs of {lines} lines: {differing} differ from {revision}")
    return int(differing > 0)


def _everything(checkout: Path) -> dict[str, str]:
    """Return all that a checkout puts out, by what it was asked."""
    outputs = {command: _run(checkout, command) for command in _COMMANDS}
    outputs |= dict(_demo_outputs(checkout))
    files = chain(checkout.glob("docs/*.md"), checkout.glob("grafana/dashboards/*"))
    outputs |= {file.name: file.read_text("utf-8") for file in files}
    for pattern, instead in _VARYING:
        outputs = {
            name: re.sub(pattern, instead, text) for name, text in outputs.items()
        }
    return outputs


def _demo_outputs(checkout: Path) -> Iterator[tuple[str, str]]:
    address = ("--web.listen-address", "127.0.0.1:0")
    with subprocess.Popen(
        [sys.executable, "-m", "exporter", "demo", *address],
        cwd=checkout,
        env=_environment({}),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            lines = iter(process.stdout.readline, "Ctrl-C ends it.\n")
            introduction = "".join(lines)
            time.sleep(_SETTLING_SECONDS)
            yield "introduction", introduction
            yield from _answers(
                re.findall(r"(http://\S+)/$", introduction, re.MULTILINE)[0]
            )
            account = dict(re.findall(r"(ONAPP_\w+)=(\S+)", introduction))
            for command in _PANEL_COMMANDS:
                yield f"{command}, demo", _run(checkout, command, account)
            wrong = account | {"ONAPP_PASSWORD": "wrong"}
            yield "check, wrong password", _run(checkout, "check", wrong)
        finally:
            process.terminate()


def _answers(base: str) -> Iterator[tuple[str, str]]:
    for name, accept in _ACCEPT.items():
        yield f"/metrics as {name}", _answer(f"{base}/metrics", accept)
    for path in _PATHS:
        yield path, _answer(base + path, "*/*")


def _answer(url: str, accept: str) -> str:
    request = urllib.request.Request(url, headers={"Accept": accept})  # noqa: S310  # our own
    try:
        response = urllib.request.urlopen(request)  # noqa: S310  # the same
    except urllib.error.HTTPError as error:
        response = error
    with response:
        kept = (f"{k}: {v}" for k, v in response.headers.items() if k not in _CHANGING)
        body = response.read().decode()
    return "\n".join([str(response.status), *kept, body])


_CHANGING = ("Date", "Content-Length")


def _run(checkout: Path, command: str, account: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "exporter", *command.split()],
        cwd=checkout,
        env=_environment(account or {}),
        check=False,
        capture_output=True,
        text=True,
    )
    return f"status {done.returncode}\n{done.stdout}\nstderr:\n{done.stderr}"


def _environment(account: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which the date stands still and timers do not."""
    (library,) = (TOOLS / "libfaketime").glob(_LIBRARY)
    return {
        "PATH": os.environ["PATH"],
        "LD_PRELOAD": str(library),
        "FAKETIME": _TIME,
        "DONT_FAKE_MONOTONIC": "1",
        "TZ": "UTC",
        **account,
    }


if __name__ == "__main__":
    sys.exit(main())
