"""What outlives a process: the ledger, the snapshots and the streams. Ports in `ports`, adapters beside."""
