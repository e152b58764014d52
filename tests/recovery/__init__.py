"""How long service is away with a million bins, the worst of many tries: `make recovery`."""
