"""Search for an answer that breaks a decoder: ``make fuzz``.

With atheris the search is led by the lines of Python that an input reaches, and begins
with what a simulated panel answers. Where atheris has no build, Hypothesis searches
with the strategies of the suite instead: no cover leads it, and this is said.
An input that breaks something is saved, and the exit status is not 0.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import random
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

atheris: Any = None
if __name__ == "__main__" and importlib.util.find_spec("atheris") is not None:
    atheris = importlib.import_module("atheris")
with (
    nullcontext()
    if atheris is None
    else atheris.instrument_imports(include=["exporter", "xmltodict"])
):
    import malformed_answers

    from exporter.config.schema import BodyFormat

Check = Callable[[bytes, BodyFormat], object]

FOLDER = Path(".fuzz")
_ROUND = 500
_SHARE_OF_SWAPS = 0.3
_LONGEST_INPUT_BYTES = 65_536
_LONGEST_INPUT_SECONDS = 10
_MOST_MIB = 2048


def check(body: bytes, form: BodyFormat) -> None:
    """Fail unless a body is decoded or refused, and what is decoded can be shown."""
    found = malformed_answers.decode_all(body, form)
    if found:
        malformed_answers.rendered_values(found)


def main() -> int:
    """Search, or try the inputs that are named; return the exit status."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="how long to search")
    parser.add_argument("--hypothesis", action="store_true", help="without atheris")
    parser.add_argument(
        "inputs", nargs="*", type=Path, help="saved inputs to try again"
    )
    given_ = parser.parse_args()
    if given_.inputs:
        for path in given_.inputs:
            check(*parse_input(path.read_bytes()))
        return 0
    FOLDER.mkdir(exist_ok=True)
    if given_.hypothesis or atheris is None:
        if not given_.hypothesis:
            print(
                "atheris is not installed (it has builds for Linux on x86-64, Python "
                "3.11 to 3.14): Hypothesis searches instead, not led by what an input "
                "reaches"
            )
        return search_with_hypothesis(check, given_.seconds, FOLDER)
    search_with_atheris(given_.seconds)
    return 0  # never reached: libFuzzer ends the process


def saved_input(body: bytes, form: BodyFormat) -> bytes:
    """Return an input as it is saved: the letter of the format, then the body."""
    return form[0].encode() + body


def parse_input(data: bytes) -> tuple[bytes, BodyFormat]:
    """Return body and format of a saved input; any bytes are valid."""
    return data[1:], "json" if data[:1] == b"j" else "xml"


def search_with_hypothesis(check: Check, seconds: float, folder: Path) -> int:
    """Try what Hypothesis makes until the time is over; return the exit status."""
    tried, until = 0, time.monotonic() + seconds
    for number in range(sys.maxsize):
        for kind, strategy in malformed_answers.BODIES.items():
            if tried and time.monotonic() > until:
                print(f"{tried} inputs tried, none breaks anything")
                return 0
            found = _broken(check, strategy, number)
            tried += _ROUND
            if found is not None:
                body, form, error = found
                path = folder / f"crash-{kind.replace(' ', '-')}-{number}"
                path.write_bytes(saved_input(body, form))
                print(f"{type(error).__name__} by an input of {kind}, saved as {path}")
                return 1
    return 0


def _broken(
    check: Check, strategy: Any, number: int
) -> tuple[bytes, BodyFormat, Exception] | None:
    """Return the smallest input that breaks something, and the error."""
    last: list[tuple[bytes, BodyFormat]] = []

    @seed(number)
    @settings(
        max_examples=_ROUND,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def try_(answer: tuple[BodyFormat, bytes]) -> None:
        form, body = answer
        last[:] = [(body, form)]
        check(body, form)

    try:
        try_()
    except Exception as error:  # noqa: BLE001  # any is what is looked for
        return (*last[0], error)
    return None


def search_with_atheris(seconds: int) -> None:
    """Let atheris search until the time is over; it ends the process."""
    corpus = FOLDER / "corpus"
    corpus.mkdir(exist_ok=True)
    for number, (form, body) in enumerate(malformed_answers.valid_answers()):
        (corpus / f"good-{number}").write_bytes(saved_input(body, form))
    words = FOLDER / "words"
    words.write_text(
        "".join(f'"{_escaped(word)}"\n' for word in malformed_answers.WORDS if word)
    )

    def one(data: bytes) -> None:
        check(*parse_input(data))

    def other(data: bytes, longest: int, number: int) -> bytes:
        rng = random.Random(number)  # noqa: S311  # no secret
        if rng.random() < _SHARE_OF_SWAPS:
            body, form = parse_input(data)
            body = malformed_answers.with_value_replaced(
                body, form, rng.getrandbits(16), number
            )
            return saved_input(body, form)[:longest]
        return bytes(atheris.Mutate(data, longest))

    atheris.Setup(
        [
            sys.argv[0],
            f"-max_total_time={seconds}",
            f"-max_len={_LONGEST_INPUT_BYTES}",
            f"-timeout={_LONGEST_INPUT_SECONDS}",
            f"-rss_limit_mb={_MOST_MIB}",
            f"-artifact_prefix={FOLDER}/",
            f"-dict={words}",
            "-print_final_stats=1",
            str(corpus),
        ],
        one,
        custom_mutator=other,
    )
    atheris.Fuzz()


def _escaped(word: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word.encode("utf-8", "surrogatepass"))


if __name__ == "__main__":
    sys.exit(main())
