"""Who may call what: one table of policies, callers and requests, and the servers that must all decide as it says."""
