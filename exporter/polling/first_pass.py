"""When a panel's first pass is over: what is still to be tried until then."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..model.store import PanelStore
from .jobs import Errands
from .scheduler import Timetable


@dataclass(slots=True, eq=False)
class FirstPass:
    """Everything that is due at once when a poller starts, each tried once.

    A server may be due twice: read before it was clear that its schedules have to be
    asked for one by one, it is read again.
    """

    store: PanelStore
    timetable: Timetable
    errands: Errands
    _untried: set[int] | None = field(default=None, init=False)
    """Servers of the first inventory that were not read yet; None: not known."""
    _closed: bool = field(default=False, init=False)
    """Whether no server is to be read again for the first pass's sake."""

    @property
    def begun(self) -> bool:
        """Tell whether the inventory was read once."""
        return self._untried is not None

    def expect(self) -> None:
        """Take in which servers there are, after an inventory."""
        watches = self.store.watches
        if self._untried is None:
            self._untried = {v for v, watch in watches.items() if watch.failing is None}
        self._untried &= watches.keys()

    def tried(self, vm_id: int) -> None:
        """Take in that a server was read, or could not be."""
        if self._untried is not None and vm_id not in self.timetable.hurried:
            self._untried.discard(vm_id)

    def over(self) -> bool:
        """Tell whether everything was tried."""
        if self._untried is None or not self.errands.all_tried():
            return False
        if not self._closed:
            # By now it is clear what must be asked server by server.
            self._untried |= {v for v in self.timetable.hurried if self._was_read(v)}
            self._closed = True
        return not self._untried

    def _was_read(self, vm_id: int) -> bool:
        watch = self.store.watches.get(vm_id)
        return watch is not None and watch.failing is False
