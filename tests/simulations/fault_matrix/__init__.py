"""Every fault at every place: what ``/metrics`` says during and after it."""
