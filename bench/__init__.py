"""Measures Binkeeper against its peers and against bare limits, and audits what it measured."""
