"""Measures Binkeeper against its peers and against bare limits, and audits what it measured.

`python -m bench figures` starts the product by its own command on a fresh home on disk, with its own Postgres
and NATS, and measures everything on that one server, `fsync` and `synchronous_commit` on. How to read it:

- Every contender has its turn in every round; a figure is the median over the rounds of ours / theirs, beside
  its least and most. Load comes from processes of their own, closed loop, with a warm-up that does not count.
- Lanes and HTTP carry one reserve of one unit each, with a random key, as the ledger's rows in the bare COPY
  have. The peer is a stored procedure driven by the pgbench of the embedded Postgres, statements prepared.
- An operation counts when it is acknowledged, that is durable. Snapshots and broadcast follow behind: partly
  within the round, the rest before the next contender's turn. How long that takes is in `..._rest_s`.
- `bytes_per_bin` is the growth of the hosts' own memory (USS) by all bins, all of them active, once snapshots
  and broadcast are done; the window of command keys is in it. `bytes_per_bin_second_half` is without it.
- `recovery_200k_s` is from the kill of the host until all of 64 reserves in as many bins, sent at once, are
  answered. With other sizes than the full plan's, `resting_bins` says how many bins there were.
- After each round the audit compares what callers were told, what the engine answers and what the ledger adds
  up to, bin by bin. If they differ, there are no figures.
"""
