"""The production code on a seeded event loop, over storage, streams and a network that misbehave.

`loop` is time and processes; `network`, `storage` and `broadcast` are the world outside, with its faults;
`world` starts real hosts, gateways and supervisors in it; `clients` do what the plan says; `referee` judges
what they saw. It knows nothing of the engine but its public names.
"""
