"""What the dashboards ask Prometheus: pieces of PromQL that hold anywhere.

They hold with several replicas, shards, panels and clouds, and while replicas differ.
As in the rules, the labels of replicas are aggregated away and all others stay.
"""

from __future__ import annotations

from dataclasses import dataclass

_REPLICA = "instance, pod, node"
_TARGET = "target_type, target_id"
_NAMES = "label, hostname, user_id"
_DESCRIBED = f"identifier, {_NAMES}, hypervisor_id"
_DESCRIBING = {
    "onapp_vm_info": ("identifier", "label", "hostname", "user_id", "hypervisor_id"),
    "onapp_target_expected_interval_info": ("source",),
    "onapp_backup_server_info": ("label",),
    "onapp_schedule_info": ("vm_id", "target_type", "target_id", "period"),
    "onapp_backup_info": (
        *("identifier", "backup_type", "initiated"),
        *("target_type", "target_id", "backup_server_id"),
    ),
}
"""The labels that describe and do not identify."""
_WHOLE = 'target_type="VirtualMachine"'
_DISK = 'target_type="Disk"'

STALE_INTERVALS = 1.5
VERY_STALE_INTERVALS = 2.5
QUEUE_SECONDS = "3 * 3600"
STUCK_SECONDS = "6 * 3600"
STUCK_LONG_SECONDS = "24 * 3600"
YOUNG_SECONDS = "26 * 3600"
DATA_OLD_INTERVALS = 2
DATA_OLD_SECONDS = 1200
"""The thresholds of the alerts; a test holds them against the rules."""

UNPROTECTED = 9
VERY_STALE = 8
STUCK_LONG = 7
DATA_OLD = 6
DISK_UNPROTECTED = 5
STUCK = 4
FAILED = 3
STALE = 2
NOTHING_DUE = 1
FRESH = 0
NEW = -1
NONE_NEEDED = -2
SUSPENDED = -3
"""The states of a server, the worst first: from 7 on critical, from 1 on a warning."""


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Which series a dashboard looks at: by its variables."""

    matchers: str
    """For series of panels, besides job and instance: `panel=~"$panel"`."""
    users: bool = False
    """Whether the dashboard has the variable `user`."""

    def series(self, name: str, *matchers: str, ago: str = "") -> str:
        """Select a metric within the scope, as it is or was some time ago."""
        return _ago(select(name, self.matchers, *matchers), ago)

    def recorded(self, name: str) -> str:
        """Select a recorded series, which has no instance."""
        return f'{name}{{job=~"$job", {self.matchers}}}'

    def most(self, name: str, *matchers: str, besides: str = "", ago: str = "") -> str:
        """Aggregate replicas: the one that says most counts."""
        return _aggregate("max", self.series(name, *matchers, ago=ago), besides)

    def least(self, name: str, *matchers: str, besides: str = "") -> str:
        """Aggregate replicas: the one that says least counts."""
        return _aggregate("min", self.series(name, *matchers), besides)

    def any(self, name: str, *matchers: str, besides: str = "") -> str:
        """Aggregate replicas into 1, whatever they say."""
        return _aggregate("group", self.series(name, *matchers), besides)

    # ---- Shards ----

    def over_shards(self, expression: str, labels: str, *, ago: str = "") -> str:
        """Add up what each shard knows a part of; of its replicas the most.

        ``labels`` are those that the expression has besides its target's; ``ago`` is
        how far back it looks: other exporters may have run then.
        """
        shard = _ago(select("onapp_exporter_shard_info"), ago)
        return (
            f"sum without (shard, total_shards) (max without ({_REPLICA}) (\n"
            f"  {expression}\n  * ignoring ({labels}, shard, total_shards) "
            f"group_left (shard, total_shards) {shard}\n))"
        )

    def info(self, name: str) -> str:
        """Return 1 with what describes each thing, once, also while replicas differ."""
        described = ", ".join(_DESCRIBING[name])
        return (
            f"group without ({_REPLICA}) "
            f"(topk without ({_REPLICA}, {described}) (1, {self.series(name)}))"
        )

    # ---- Servers ----

    def known(self) -> str:
        """Return 1 for each server that an exporter watches."""
        return self.any("onapp_vm_poll_success")

    def name(self) -> str:
        """Return 1 with the name of each server: the newest inventory counts."""
        info = self.series("onapp_vm_info")
        read = self.series("onapp_inventory_last_success_timestamp_seconds")
        newest = (
            f"group without ({_REPLICA}, identifier, hypervisor_id) (\n"
            f"  topk without ({_REPLICA}, {_DESCRIBED}) (1,\n"
            f"    {info}\n    * ignoring (vm_id, {_DESCRIBED}) group_left () {read}\n"
            f"    or {info}\n  )\n)"
        )
        if not self.users:
            return newest
        theirs = self.series("onapp_vm_info", 'user_id=~"$user"')
        ignored = f"{_REPLICA}, identifier, hypervisor_id"
        return f"({newest}\nand ignoring ({ignored}) {theirs})"

    def listed_servers(self) -> str:
        """Return 1 for each server, with its name where that is known."""
        info = self.any("onapp_vm_info", besides=_DESCRIBED)
        return (
            f"(\n{self.name()}\nor ignoring ({_NAMES}) "
            f"({self.known()} unless {info})\n)"
        )

    def named(self, expression: str, besides: str = "") -> str:
        """Add the names of servers to what is said of them."""
        ignored = f"{besides}, {_NAMES}" if besides else _NAMES
        return (
            f"({expression})\n"
            f"* ignoring ({ignored}) group_left ({_NAMES}) {self.listed_servers()}"
        )

    def success(self) -> str:
        """Return when each target was last backed up, in Unix seconds."""
        return self.most("onapp_target_last_success_timestamp_seconds")

    def interval(self) -> str:
        """Return how often each target is expected to be backed up, in seconds.

        What the rules have learned of a guessed interval counts, where they are loaded.
        """
        learned = self.recorded("target:onapp_backup_interval:seconds")
        reported = self.least("onapp_target_expected_interval_seconds")
        return f"({learned} or {reported})"

    def waited(self) -> str:
        """Return for how many seconds each target has waited for a good backup.

        The rules remember what gives a target more time, where they are loaded.
        """
        since = self.recorded("target:onapp_backup_awaited:since_timestamp_seconds")
        unbuilt = self.least("onapp_target_oldest_unbuilt_timestamp_seconds")
        return f"(time() - ({since} or {self.success()} or {unbuilt}))"

    def overdue(self, intervals: float) -> str:
        """Return what has waited longer than so many intervals and the queue."""
        return f"{self.waited()} > {self.limit(intervals)}"

    def limit(self, intervals: float) -> str:
        """Return what so many intervals and the queue are, in seconds."""
        return f"({intervals} * {self.interval()} + {QUEUE_SECONDS})"

    def very_stale(self) -> str:
        """Return the targets whose backup is much too old; a guess is not enough."""
        guess = 'source="history"'
        guessed = self.any(
            "onapp_target_expected_interval_info", guess, besides="source"
        )
        return f"({self.overdue(VERY_STALE_INTERVALS)}) unless {guessed}"

    def stuck(self) -> str:
        """Return for how many seconds a target's backup has been stuck."""
        pending = self.most("onapp_target_oldest_pending_timestamp_seconds")
        took = self.most("onapp_target_last_success_duration_seconds")
        failed = self.most("onapp_target_last_failed_timestamp_seconds")
        return (
            f"(time() - {pending} > {STUCK_SECONDS}\n"
            f"unless {self.success()} - {took} > {pending}\n"
            f"unless {failed} >= {pending}\n"
            f"unless {self._over('onapp_target_oldest_pending_timestamp_seconds')})"
        )

    def failed(self) -> str:
        """Return the targets of which a take failed after the last success."""
        failed = self.most("onapp_target_last_failed_timestamp_seconds")
        return (
            f"(({failed} > {self.success()} or ({failed} unless {self.success()}))\n"
            f"unless {self._over('onapp_target_last_failed_timestamp_seconds')})"
        )

    def _over(self, name: str) -> str:
        """Return the disks that newer backups of the whole server have replaced."""
        whole = self._newest(_WHOLE)
        of_disk = self.least(name, _DISK)
        expected = self.least("onapp_target_expected_interval_seconds")
        return (
            f"({of_disk} < ignoring ({_TARGET}) group_left () {whole} "
            f"unless {expected})"
        )

    def _newest(self, kind: str) -> str:
        """Return when any target of a kind was last backed up, server by server."""
        name = "onapp_target_last_success_timestamp_seconds"
        return self.most(name, kind, besides=_TARGET)

    def failed_servers(self) -> str:
        """Return the servers of which a take failed after any success."""
        failed = self.most("onapp_vm_last_failed_backup_timestamp_seconds")
        success = self.most("onapp_vm_last_success_timestamp_seconds")
        there = self.any("onapp_vm_backups", besides="state")
        return f"({failed} > {success} or {failed} and {there} unless {success})"

    def data_old(self) -> str:
        """Return the servers of which nothing new has been known for long."""
        read = self.most("onapp_vm_last_poll_success_timestamp_seconds")
        every = self.most("onapp_poll_interval_seconds")
        good = self.most("onapp_vm_poll_success")
        limit = f"({DATA_OLD_INTERVALS} * {every} + {DATA_OLD_SECONDS})"
        return (
            f"(time() - {read} > ignoring (vm_id) group_left () {limit}\n"
            f"or {good} == 0 unless {read})"
        )

    def unprotected(self) -> str:
        """Return the servers that must have backups, are not young, and have none."""
        given = self.recorded("vm:onapp_vm_unprotected:since_timestamp_seconds")
        return (
            f"({self._bare()}\n"
            f"unless {self._young()}\n"
            f"unless {given} > time() - {STUCK_SECONDS})"
        )

    def disk_unprotected(self) -> str:
        """Return the disks without a backup beside others of their server with some.

        Not where the server is backed up as a whole: that is expected, or happened
        after the last backup of a disk.
        """
        built = self.most(
            "onapp_target_backups", 'state="built"', _DISK, besides="state"
        )
        whole, disks = self._newest(_WHOLE), self._newest(_DISK)
        expected = self.least("onapp_target_expected_interval_seconds", _WHOLE)
        given = self.recorded("target:onapp_target_unprotected:since_timestamp_seconds")
        return (
            f"({built} == 0\n"
            f"and ignoring ({_TARGET}) {self._required()}\n"
            f"and ignoring ({_TARGET}) {built} > 0\n"
            f"unless ignoring ({_TARGET}) ({expected} or {whole} > {disks}\n"
            f"or {self._young()})\n"
            f"unless {given} > time() - {STUCK_SECONDS})"
        )

    def _young(self) -> str:
        """Return the servers that are given time for a first backup."""
        expected = self.least("onapp_target_expected_interval_seconds")
        long = f"min without ({_TARGET}) ({expected} > 86400)"
        created = self.most("onapp_vm_created_timestamp_seconds")
        return (
            f"({created} > time() - {YOUNG_SECONDS}\n"
            f"or {created} > time() - {STALE_INTERVALS} * {long})"
        )

    def _required(self) -> str:
        """Return the servers that must have backups."""
        return f"({self.most('onapp_vm_backup_required')} == 1)"

    def _bare(self) -> str:
        """Return the servers that must have backups and have none."""
        built = self.most("onapp_vm_backups", 'state="built"', besides="state")
        success = self.most("onapp_vm_last_success_timestamp_seconds")
        return f"{built} == 0 and {self._required()} unless {success}"

    def state(self) -> str:
        """Return the state of each server, by number."""
        required = self._required()
        suspended = f"{self.most('onapp_vm_suspended')} == 1"
        expected = self.least("onapp_target_expected_interval_seconds")
        success = self.most("onapp_vm_last_success_timestamp_seconds")
        found = (
            (SUSPENDED, suspended),
            (UNPROTECTED, self.unprotected()),
            (VERY_STALE, self.very_stale()),
            (STUCK_LONG, f"{self.stuck()} > {STUCK_LONG_SECONDS}"),
            (DATA_OLD, self.data_old()),
            (DISK_UNPROTECTED, self.disk_unprotected()),
            (STUCK, self.stuck()),
            (FAILED, self.failed()),
            (FAILED, self.failed_servers()),
            (STALE, self.overdue(STALE_INTERVALS)),
            (FRESH, f"{self.success()} and {expected}"),
            (NOTHING_DUE, f"{required} and {success}"),
            (NEW, required),
            (NONE_NEEDED, self.known()),
        )
        states = "\nor ".join(
            f"{number} * group without ({_TARGET}) ({expression})"
            for number, expression in found
        )
        return f"((\n{states}\n)\nand {self.known()})"


def select(name: str, *matchers: str) -> str:
    """Select a metric of the chosen exporters."""
    chosen = ('job=~"$job"', 'instance=~"$instance"', *matchers)
    return f"{name}{{{', '.join(chosen)}}}"


def _ago(series: str, ago: str) -> str:
    return f"{series} offset {ago}" if ago else series


def _aggregate(how: str, series: str, besides: str) -> str:
    dropped = f"{_REPLICA}, {besides}" if besides else _REPLICA
    return f"{how} without ({dropped}) ({series})"
