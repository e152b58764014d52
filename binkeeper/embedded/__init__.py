"""Postgres and NATS as real servers from their wheels, for a machine that has neither.

Each keeps its data, its port and its password below the home folder, so that the next start continues
where the last one ended.
"""
