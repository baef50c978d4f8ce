"""The simulated cloud: rows, simulated time, schedules, backup runs and failures."""
