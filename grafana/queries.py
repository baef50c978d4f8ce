"""Pieces of PromQL that are right with several replicas, shards, panels and clouds.

They read what the exporter decided and decide nothing. As in the rules, the labels of
replicas are aggregated away, then that of shards; all others stay.
"""

from __future__ import annotations

from dataclasses import dataclass

from exporter.health.conditions import SERVER_CONDITIONS, Severity

_REPLICA = "instance, pod, node"
_NAMES = "label, hostname, user_id"
_DESCRIBED = f"identifier, {_NAMES}, hypervisor_id"
_DESCRIBING = {
    "onapp_panel_info": "url, version",
    "onapp_target_expected_interval_info": "source",
    "onapp_vm_info": _DESCRIBED,
    "onapp_backup_server_info": "label",
    "onapp_schedule_info": "vm_id, target_type, target_id, period",
    "onapp_backup_info": "identifier, backup_type, initiated, target_type, target_id, "
    "backup_server_id",
}
"""The labels that describe and do not identify."""
STATES = {
    severity: [one for one in SERVER_CONDITIONS if one.severity is severity]
    for severity in sorted(Severity, reverse=True)
}
"""The states of servers, the worst first, by their severity."""


def keys(*severities: Severity) -> str:
    """Return a pattern of the states with these severities."""
    return "|".join(state.key for one in severities for state in STATES[one])


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Which series a dashboard looks at: by its variables."""

    matchers: str
    """For series of panels, besides job and instance: `panel=~"$panel"`."""

    def series(self, name: str, *matchers: str, ago: str = "") -> str:
        """Select a metric within the scope, as it is or was some time ago."""
        series = select(name, self.matchers, *matchers)
        return f"{series} offset {ago}" if ago else series

    def most(self, name: str, *matchers: str, besides: str = "") -> str:
        """Aggregate replicas: the one that says most counts."""
        return _without("max", self.series(name, *matchers), besides)

    def least(self, name: str, *matchers: str) -> str:
        """Aggregate replicas: the one that says least counts."""
        return _without("min", self.series(name, *matchers))

    def summed(
        self, name: str, *matchers: str, besides: str = "", ago: str = ""
    ) -> str:
        """Aggregate replicas, then add up the shards."""
        dropped = f"shard, {besides}" if besides else "shard"
        of_shards = _without("max", self.series(name, *matchers, ago=ago))
        return f"sum without ({dropped}) ({of_shards})"

    def info(self, name: str) -> str:
        """Return 1 with what describes each thing, once, also while replicas differ."""
        one = f"topk without ({_REPLICA}, {_DESCRIBING[name]}) (1, {self.series(name)})"
        return _without("group", one)

    # ---- Servers ----

    def state(self, *matchers: str) -> str:
        """Return the severity of each server's state, which is the label `state`.

        Where replicas differ the more severe counts.
        """
        known = keys(Severity.CRITICAL, Severity.WARNING, Severity.FINE)
        found = {
            f"{severity:d} * ": f'state=~"{keys(severity)}"'
            for severity in (Severity.CRITICAL, Severity.WARNING, Severity.FINE)
        } | {"": f'state!~"{known}"'}
        union = "\nor ".join(
            f"{factor}{self.series('onapp_vm_state', state, *matchers)}"
            for factor, state in found.items()
        )
        worst = f"topk without ({_REPLICA}, state) (1,\n{union}\n)"
        return _without("max", worst)

    def name(self, *matchers: str) -> str:
        """Return 1 with the name of each server: the newest inventory counts."""
        read = self.series("onapp_inventory_last_success_timestamp_seconds")
        newest = (
            f"topk without ({_REPLICA}, {_DESCRIBED}) (1,\n"
            f"{self.series('onapp_vm_info', *matchers)}\n"
            f"* ignoring (vm_id, {_DESCRIBED}) group_left () {read}\n)"
        )
        return _without("group", newest, "identifier, hypervisor_id")

    def listed(self, *matchers: str) -> str:
        """Return the same of all servers, also of those whose names are not known."""
        states = self.most("onapp_vm_state", *matchers, besides="state")
        return f"(\n{self.name(*matchers)}\nor ignoring ({_NAMES}) {states}\n)"


def named(expression: str, names: str) -> str:
    """Add the names of servers to what is said of them."""
    return f"{expression}\n* ignoring (state, {_NAMES}) group_left ({_NAMES})\n{names}"


def select(name: str, *matchers: str) -> str:
    """Select a metric of the chosen exporters."""
    chosen = ('job=~"$job"', 'instance=~"$instance"', *filter(None, matchers))
    return f"{name}{{{', '.join(chosen)}}}"


def _without(how: str, series: str, besides: str = "") -> str:
    dropped = f"{_REPLICA}, {besides}" if besides else _REPLICA
    return f"{how} without ({dropped}) ({series})"
