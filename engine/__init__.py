"""The pure decisions of Binkeeper: standard library only, no clock, no randomness, no input or output.

Read in this order: `entries` (what can happen), `state` (what is remembered), `commands` (what may be
asked), `decide` (what follows from asking), `apply` (what an entry does to the state).
"""
