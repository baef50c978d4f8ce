"""Which alerts nobody is notified of, by the shipped configuration of Alertmanager."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import yaml
from checkout import DEPLOY

from alert_fidelity.rule_evaluation import FiredAlert

_CONFIGURATION = DEPLOY / "prometheus" / "alertmanager.yml"
_MATCHER = re.compile(r"""(\w+)\s*(=~|!~|!=|=)\s*["']?(.*?)["']?""")


@dataclass(frozen=True)
class Matcher:
    """A matcher of Alertmanager; a label that is absent is empty."""

    label: str
    operator: str
    value: str

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether labels match."""
        value = labels.get(self.label, "")
        pattern = self.value if "~" in self.operator else re.escape(self.value)
        return bool(re.fullmatch(pattern, value)) != self.operator.startswith("!")


@dataclass(frozen=True)
class InhibitRule:
    """Alerts that inhibit others with the same values of some labels."""

    sources: tuple[Matcher, ...]
    targets: tuple[Matcher, ...]
    equal: tuple[str, ...]

    def inhibits(self, source: FiredAlert, target: FiredAlert) -> bool:
        """Return whether one alert inhibits another while it fires."""
        one, other = dict(source.labels), dict(target.labels)
        return (
            source.labels != target.labels
            and all(one.get(name, "") == other.get(name, "") for name in self.equal)
            and all(matcher.matches(one) for matcher in self.sources)
            and all(matcher.matches(other) for matcher in self.targets)
        )


def inhibit_rules() -> tuple[InhibitRule, ...]:
    """Return the shipped rules."""
    shipped = yaml.safe_load(_CONFIGURATION.read_text("utf-8"))["inhibit_rules"]
    return tuple(
        InhibitRule(
            tuple(_matchers(rule["source_matchers"])),
            tuple(_matchers(rule["target_matchers"])),
            tuple(rule["equal"]),
        )
        for rule in shipped
    )


def _matchers(texts: Sequence[str]) -> Iterator[Matcher]:
    for text in texts:
        found = _MATCHER.fullmatch(text)
        if found is None:
            raise ValueError(f"no matcher: {text}")
        yield Matcher(*found.groups())
