"""Tests for what of XML reaches xmltodict."""

from __future__ import annotations

from typing import Any

import pytest
import xmltodict

from exporter.onapp.xml_filter import FieldFilter

WANTED = frozenset({"id", "label", "size"})


def sifted(document: str) -> Any:
    """Return what xmltodict makes of what is passed on."""
    return xmltodict.parse(document, expat=FieldFilter(WANTED), strip_whitespace=False)


def test_fields_that_are_not_wanted_do_not_appear() -> None:
    """Nor does what stands in them, however deep, and whatever it is called."""
    rows = sifted(
        "<rows><row><id>1</id><secret>s</secret>"
        "<log><entry><id>9</id><label>no</label></entry>text</log>"
        "<label>one</label></row></rows>"
    )

    assert rows == {"rows": {"row": {"id": "1", "label": "one"}}}


def test_rows_and_fields_of_the_root_are_passed_on_whatever_they_are_called() -> None:
    """That a list holds what it should not must be seen."""
    assert sifted("<rows><other><x>1</x></other><more>2</more></rows>") == {
        "rows": {"other": None, "more": "2"}
    }
    assert sifted("<row><other>1</other></row>") == {"row": {"other": "1"}}


@pytest.mark.parametrize("nil", ['nil="true"', 'type="integer" nil="TRUE"'])
def test_what_is_nil_has_no_text(nil: str) -> None:
    """Not even white space; what is not nil keeps its own."""
    rows = sifted(f"<rows><row><size {nil}>\n </size><label> a </label></row></rows>")

    assert rows == {"rows": {"row": {"size": None, "label": " a "}}}


def test_attributes_that_matter_are_kept() -> None:
    """A type that the field's name does not tell, and any that is not known."""
    rows = sifted(
        '<rows><row><size type="integer">1</size><label type="symbol">a</label>'
        '<id nil="false">2</id></row></rows>'
    )

    assert rows["rows"]["row"] == {
        "size": "1",
        "label": {"@type": "symbol", "#text": "a"},
        "id": {"@nil": "false", "#text": "2"},
    }


def test_entities_stay_forbidden() -> None:
    """A few lines of them could fill the memory."""
    with pytest.raises(ValueError, match="document type"):
        sifted('<!DOCTYPE r [<!ENTITY a "aaaa">]><rows><row><id>&a;</id></row></rows>')
