"""The control panel of a simulated cloud: OnApp's API over HTTP, in JSON and XML."""
