"""Input that means harm: seeded fuzzers, short in the tests, long by `make fuzz`."""
