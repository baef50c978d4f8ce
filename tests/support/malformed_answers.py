"""Answers that no panel should send, and what must hold for every answer.

Shared by the suite, which tries some hundreds of each kind, and by ``make fuzz``,
which tries as many as its time allows.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from html import escape
from typing import Any

from faulty_panel import Panel
from harness import NOW
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from stores import MONOTONIC, FixedClock, a_panel, a_server, a_store, add_server

from exporter.config.schema import BodyFormat, Detail
from exporter.demo.cloud.simulation import SimulatedCloud
from exporter.demo.panel.responses import ResourceRequest, ResponseBuilder
from exporter.demo.panel.routes import match_route
from exporter.errors import Undecodable
from exporter.metrics.exposition import TEXT, Exposition
from exporter.model.store import PanelList
from exporter.onapp import backups as parser
from exporter.onapp import resources as records
from exporter.onapp.backups import Parsed
from exporter.onapp.error_body import error_text

CANARY = "sPy-of-7-letters"
"""Stands in bodies wherever a secret could; no error may quote it."""
FORMATS: tuple[BodyFormat, ...] = ("json", "xml")
_PATHS = {
    "version": "/version",
    "virtual_machines": "/virtual_machines",
    "virtual_machine": "/virtual_machines/1",
    "backups": "/virtual_machines/1/backups",
    "recovery_points": "/virtual_machines/1/backups/recovery_points",
    "schedules": "/settings/schedules",
    "disks": "/settings/disks",
    "transactions": "/transactions",
    "transaction": "/transactions/5001",
    "backup_servers": "/settings/backup_servers",
}
DECODERS: Mapping[str, Callable[[bytes, BodyFormat], Any]] = {
    "version": parser.decode_version,
    "virtual_machines": records.decode_servers,
    "virtual_machine": records.decode_server,
    "backups": partial(parser.decode_backups, vm_id=1),
    "recovery_points": records.decode_recovery_points,
    "schedules": records.decode_schedules,
    "disks": records.decode_disks,
    "transactions": records.decode_transactions,
    "transaction": partial(records.decode_transaction, number=5001),
    "backup_servers": records.decode_backup_servers,
}


def decode_all(body: bytes, form: BodyFormat) -> dict[str, Any]:
    """Give a body to every decoder; return what each decoded.

    Fails if a decoder raises anything but Undecodable, or if a message quotes CANARY.
    """
    found = {}
    output = [error_text(body, form, secrets=[CANARY])]
    for name, decode in DECODERS.items():
        try:
            found[name] = decode(body, form)
        except Undecodable as error:
            output.append(str(error))
    for parsed in found.values():
        if isinstance(parsed, Parsed):
            output += (f"{row.row_id} {row.message}" for row in parsed.skipped)
    assert [text for text in output if CANARY in text] == []
    return found


def rendered_values(found: Mapping[str, Any]) -> list[float]:
    """Return the values of a scrape of decoded rows; fail unless all are finite."""
    lists = {n: p.values for n, p in found.items() if isinstance(p, Parsed)}
    panel = a_panel(
        panel_lists={
            "backup_servers": PanelList(lists.get("backup_servers", ()), MONOTONIC + 1)
        },
        version=found.get("version"),
    )
    for server in (*lists.get("virtual_machines", ()), a_server(id=1)):
        add_server(panel, server, *lists.get("backups", ()))
    for transaction in lists.get("transactions", ()):
        panel.record_failed_backup(transaction)
    for name in ("schedules", "disks", "recovery_points"):
        panel.update(1, name, lists.get(name, ()))
    clock, registry = FixedClock(), CollectorRegistry()
    text = Exposition(a_store(panel), clock, Detail(), registry).render(TEXT).decode()
    values = [
        float(sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]
    assert [value for value in values if not math.isfinite(value)] == []
    return values


@cache
def valid_answers() -> tuple[tuple[BodyFormat, bytes], ...]:
    """Return a simulated panel's answers, in both formats and two OnApp generations."""
    world = SimulatedCloud(NOW)
    for number in range(2):
        server = world.add_server(label=f"server {number}", created_at=NOW - 9e6)
        world.add_backup(server.id)
        world.add_schedule("Disk", world.disks_of(server.id)[0].id)
        world.add_recovery_point(server.id)
    world.add_backup_server("store", 100)
    world.advance(NOW + 90_000)
    return tuple(
        (form, _answer(world, panel, path, form))
        for panel in (Panel(world), Panel(world, api_generation="2", flat_xml=True))
        for form in FORMATS
        for path in _PATHS.values()
    )


def _answer(world: SimulatedCloud, panel: Panel, path: str, form: BodyFormat) -> bytes:
    known = match_route(path)
    assert known is not None, path
    route, parameters = known
    return (
        ResponseBuilder(world, panel)
        .build(ResourceRequest(route, parameters, {}, form))
        .body
    )


# Bytes, texts and numbers.

_NUMBERS = (
    *("0", "-0", "1", "-1", "1.5", "1e3", "1E+400", "1e308", "-1e308", "1e-400"),
    *("NaN", "Infinity", "-Infinity", "nan", "inf", "0x10", "1_000", "00", "+1", "."),
    *(str(2**53), str(2**63 - 1), str(2**63), str(-(2**63) - 1), str(2**64)),
    *("9" * 309, "9" * 4300, "9" * 4301, "0." + "0" * 400 + "1", "1" + "0" * 400),
)
_DATES = (
    *("2027-01-15T07:00:00Z", "2027-01-15T07:00:00", "0001-01-01T00:00:00+23:59"),
    *("9999-12-31T23:59:59-23:59", "2016-12-31T23:59:60Z", "1969-12-31T23:59:59Z"),
    *("2027-01-15T07:00:00.123456789012345+03:00", "0000-00-00T00:00:00Z", "now"),
)
_TEXTS = (
    *(
        "",
        " ",
        "\n",
        CANARY,
        "true",
        "null",
        "Disk",
        "VirtualMachine",
        "normal",
        "days",
    ),
    *("\x00", "\x85", "\u2028", "\u202e", "\ufeff", "\ufffe", "\U0001f4a9", "]]>"),
    *("٣", "²", "{", "<", "&amp;", '"', "\\", "#text", "@nil", "enabled", "built"),
)
_KEYS = (
    *(name.removesuffix("s") for name in _PATHS),
    *_PATHS,
    *("id", "backup_size", "built", "created_at", "built_at", "target_type"),
    *("target_id", "disk_id", "label", "size", "state", "capacity", "enabled"),
    *("period", "duration", "status", "start_at", "failure_count", "action"),
    *("parent_id", "associated_object_id", "errors", "error", "#text", "@nil", CANARY),
)
WORDS = tuple({*_DATES, *_TEXTS, *_KEYS, *_NUMBERS[:24], "<![CDATA[", "<!DOCTYPE "})
"""The dictionary of the fuzzer."""
words = st.sampled_from((*_NUMBERS, *_DATES, *_TEXTS)) | st.text(max_size=4)
keys = st.sampled_from(_KEYS)

# JSON as text, so that it can be what no library would write.

_TOKENS = st.sampled_from(
    (
        *_NUMBERS,
        *("true", "false", "null", "[]", "{}", "", "tru", "/**/1", '"', '"\\u12"'),
        *('"\\ud800"', '"\\udc00\\ud800"', '"\\u0000"', '"\t"', "'x'", "[1,]", "{,}"),
        *("[" * 2000, "[" * 600 + "]" * 600, '{"id":' * 2000, '{"a":' * 500),
    )
)


def _an_object(pairs: Iterable[tuple[str, str]]) -> str:
    return "{" + ",".join(f"{json.dumps(key)}:{value}" for key, value in pairs) + "}"


def _json_above(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.lists(st.tuples(keys, inner), max_size=5)
    items = st.lists(inner, max_size=4).map(lambda items: f"[{','.join(items)}]")
    return items | pairs.map(_an_object)


_json_values = (
    _TOKENS
    | words.map(json.dumps)
    | words.map(lambda word: json.dumps(word, ensure_ascii=False))
)
json_trees = st.recursive(_json_values, _json_above, max_leaves=12)


@st.composite
def json_lists(draw: st.DrawFn) -> str:
    """Make a list of rows of one resource, some of them valid."""
    name = draw(st.sampled_from([path.removesuffix("s") for path in _PATHS]))
    fields = st.lists(st.tuples(keys, _json_values), max_size=6)
    rows = draw(st.lists(fields, min_size=1, max_size=4))
    texts = [_an_object([("id", str(n)), *row]) for n, row in enumerate(rows)]
    wrapped = draw(st.booleans())
    items = [_an_object([(name, text)]) if wrapped else text for text in texts]
    listed = f"[{','.join(items)}]"
    return listed if draw(st.booleans()) else _an_object([(f"{name}s", listed)])


# XML likewise.

_MARKUP = st.sampled_from(
    (
        *("<![CDATA[5]]>", "<![CDATA[<id>5</id>]]>", "<!-- -- -->", "<!--c-->"),
        *(
            "<?pi x?>",
            "&lt;",
            "&#0;",
            "&#xD800;",
            "&#1114112;",
            "&x;",
            "&" + CANARY + ";",
        ),
        *("<a>" * 3000, "<id>" * 900 + "</id>" * 900, "<", "</x>", "<a b>", "]]>"),
    )
)
_ATTRIBUTES = st.sampled_from(
    (
        *('type="integer"', 'type="Boolean"', 'type="array"', 'type="datetime"'),
        *('nil="true"', 'nil="TRUE"', 'nil=""', 'id="5"', 'xmlns="urn:x"', "id='5'"),
        *('xmlns:a="urn:x"', 'a:id="7"', 'id="5" id="6"', f'{CANARY}="{CANARY}"', "id"),
        *('backup="5"', 'xml:lang="de"', 'type=""', 'x="&#10;<"', '_="&lt;"'),
    )
)
_PROLOGS = st.sampled_from(
    (
        *("", "", "", '<?xml version="1.0" encoding="UTF-8"?>', "\ufeff", " ", "\x00"),
        *(
            f'<?xml version="1.0" encoding="{encoding}"?>'
            for encoding in (
                *("utf-16", "utf-7", "cp037", "idna", "rot13", "base64", "undefined"),
                *(
                    "shift_jis",
                    "big5",
                    "unicode_escape",
                    "iso-8859-1",
                    CANARY,
                    "",
                    "a\x00",
                ),
            )
        ),
        *('<?xml version="1.1"?>', "<!DOCTYPE backups>", f"<!DOCTYPE {CANARY}>"),
        '<!DOCTYPE b [<!ENTITY x "xx">]>',
        '<!DOCTYPE b [<!ENTITY x SYSTEM "file:///etc/hostname">]>',
        '<!DOCTYPE b [<!ENTITY % x SYSTEM "http://127.0.0.1:1/">%x;]>',
        '<!DOCTYPE b [<!ATTLIST backup id CDATA "5">]>',
        '<!DOCTYPE b SYSTEM "http://127.0.0.1:1/x.dtd">',
    )
)
_TAGS = st.sampled_from(
    (*(key for key in _KEYS if key[0] not in "#@"), "a:id", "nil-classes", "x:backups")
)


def _xml_above(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    attributes = st.lists(_ATTRIBUTES, max_size=2)
    children = st.lists(inner, max_size=4).map("".join)
    return st.builds(_an_element, _TAGS, attributes, children)


def _an_element(tag: str, attributes: Iterable[str], content: str) -> str:
    return f"<{' '.join((tag, *attributes))}>{content}</{tag}>"


_xml_words = words.map(escape)
_xml_content = _xml_words | _xml_words | _MARKUP
xml_trees = st.builds(
    str.__add__, _PROLOGS, st.recursive(_xml_content, _xml_above, max_leaves=12)
)


@st.composite
def xml_lists(draw: st.DrawFn) -> str:
    """Make a list of rows of one kind, of which some may be in order."""
    name = draw(st.sampled_from([path.removesuffix("s") for path in _PATHS]))
    attributes = st.lists(_ATTRIBUTES, max_size=1)
    leaf = st.builds(_an_element, _TAGS, attributes, _xml_content)
    rows = draw(st.lists(st.lists(leaf, max_size=5), max_size=4))
    listed = "".join(
        _an_element(name, draw(attributes), f"<id>{number}</id>{''.join(fields)}")
        for number, fields in enumerate(rows)
    )
    return draw(_PROLOGS) + _an_element(f"{name}s", draw(attributes), listed)


_ENCODINGS = ("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le")


def encoded(texts: st.SearchStrategy[str]) -> st.SearchStrategy[bytes]:
    """Encode texts, mostly as UTF-8."""
    return st.builds(
        lambda text, encoding: text.encode(encoding, "surrogatepass"),
        texts,
        st.sampled_from(_ENCODINGS),
    )


# Valid answers, corrupted.


@st.composite
def corrupted_answers(draw: st.DrawFn) -> tuple[BodyFormat, bytes]:
    """Cut, reverse, repeat and replace pieces of valid answers."""
    form, whole = draw(st.sampled_from(valid_answers()))
    body = bytearray(whole)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(body)))
        end = min(len(body), start + draw(st.integers(0, 40)))
        piece = bytes(body[start:end])
        body[start:end] = draw(
            st.sampled_from((b"", piece * 2, piece * 300, piece[::-1]))
            | st.binary(max_size=4)
            | st.builds(str.encode, _TOKENS | _MARKUP | _xml_words)
        )
    if draw(st.booleans()):
        del body[draw(st.integers(0, len(body))) :]
    return draw(st.sampled_from((form, form, form, *FORMATS))), bytes(body)


_VALUES = {
    "json": re.compile(rb'(?<=":)(?: ?"[^"]*"| ?[^][{},"]+)'),
    "xml": re.compile(rb"(?<=>)[^<>]*(?=</)"),
}
LARGEST = ("9" * 400, "1e308", "-1e308", "inf", "NaN")
_ANY = (*LARGEST, *_NUMBERS, *_DATES, *_TEXTS)
TOKENS: Mapping[BodyFormat, tuple[str, ...]] = {
    "json": (
        *(token if token[-1].isdigit() else json.dumps(token) for token in LARGEST),
        *("true", "null", "[]", "{}", '""', '" "', '"\\ud800"', '"\\u0000"'),
        *(*_NUMBERS, *map(json.dumps, _ANY)),
    ),
    "xml": tuple(map(escape, _ANY)),
}
"""Replacements for values; the largest numbers come first."""


def value_count(body: bytes, form: BodyFormat) -> int:
    """Return the number of values in a body."""
    return len(_VALUES[form].findall(body))


def with_value_replaced(
    body: bytes, form: BodyFormat, number: int, token: int
) -> bytes:
    """Replace one value by a token; both numbers wrap around."""
    values = list(_VALUES[form].finditer(body))
    if not values:
        return body
    value = values[number % len(values)]
    new = TOKENS[form][token % len(TOKENS[form])].encode()
    return body[: value.start()] + new + body[value.end() :]


def short_answer(name: str, form: BodyFormat) -> bytes:
    """Return a simulated panel's answer with one row and no nested rows."""
    body = valid_answers()[FORMATS.index(form) * len(_PATHS) + [*_PATHS].index(name)][1]
    if form == "xml":
        row = name.removesuffix("s").encode()
        rows = body.split(b"</" + row + b">")
        if len(rows) < 2:
            return body
        listed = b"<%ss>%s</%s></%ss>" % (
            row,
            rows[0][rows[0].rindex(b"<" + row + b">") :],
            row,
            row,
        )
        return re.sub(rb'<(\w+) type="array">.*?</\1>', b"", listed, flags=re.DOTALL)
    answer = json.loads(body)
    wrapped = answer[0] if isinstance(answer, list) else answer
    for fields in wrapped.values():
        for key in (
            [k for k, v in fields.items() if isinstance(v, list)]
            if isinstance(fields, dict)
            else ()
        ):
            del fields[key]
    return json.dumps([wrapped] if isinstance(answer, list) else wrapped).encode()


@st.composite
def answers_with_values_replaced(draw: st.DrawFn) -> tuple[BodyFormat, bytes]:
    """Replace one or two values of a valid answer."""
    form, body = draw(st.sampled_from(valid_answers()))
    for _ in range(draw(st.integers(1, 2))):
        number, token = draw(st.integers(0, 200)), draw(st.integers(0, 200))
        body = with_value_replaced(body, form, number, token)
    return form, body


BODIES: Mapping[str, st.SearchStrategy[tuple[BodyFormat, bytes]]] = {
    "any bytes": st.tuples(st.sampled_from(FORMATS), st.binary(max_size=200)),
    "JSON trees": st.tuples(st.just("json"), encoded(json_trees)),
    "JSON lists": st.tuples(st.just("json"), encoded(json_lists())),
    "XML trees": st.tuples(st.just("xml"), encoded(xml_trees)),
    "XML lists": st.tuples(st.just("xml"), encoded(xml_lists())),
    "spoiled answers": corrupted_answers(),
    "swapped values": answers_with_values_replaced(),
}
