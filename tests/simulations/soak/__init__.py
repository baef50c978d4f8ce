"""Days of faults on simulated clouds: nothing is leaked, and nothing is lost."""
