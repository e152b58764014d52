"""Checking a whole database from outside: the ledger by a model of its own, the snapshots by the ledger."""
