"""The control panel's API over a simulated cloud: HTTP, accounts, paging, encoding."""
