"""The control panel's API over a simulated cloud: HTTP, authentication, paging, encoding."""
