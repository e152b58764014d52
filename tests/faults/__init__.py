"""Faults on the real thing: recorded histories of concurrent callers, and what must be true of them."""
