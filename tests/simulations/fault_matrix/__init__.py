"""Every fault in every part of a panel: what ``/metrics`` says during and after it."""
