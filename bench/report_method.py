"""What every report says in words: how it was measured, what it does not show, how to do it again."""

METHOD = """\
- **Rounds in turn.** Every contender has its turn in every round, A B C A B C, so that a machine that
  slows down slows all of them. A figure is the median over the rounds, beside the least and the most; a
  ratio is computed round by round, of two measurements that lie minutes apart at most.
- **Capacity by a closed loop.** So many requests are under way all the time, from processes of their own,
  after a warm-up that does not count. An operation counts when it is acknowledged, that is durable. The
  latencies beside it are those of a full server, and a slow one is asked less often: they are no measure
  of latency under a load.
- **Latency by an open loop.** Each request has a time at which it is due, whatever became of those before
  it, and its latency counts from that time: one that waits for the generator, for a connection or in a
  full socket waits all the same. There is no coordinated omission. The load is a share of Binkeeper's own
  capacity in this run; peers are offered the same requests a second, whether they can carry them or not.
  Latencies are kept by HdrHistogram, to three digits, and none is left out.
- **Commit to subscriber** counts from the caller's answer, the first moment at which anybody can know of
  the commit, until a subscriber in the same process has the entry's message.
- **The same for all.** The same bins, quantities and random keys; a key that comes again does not reserve
  again.
- **Durable, everybody.** `fsync` and `synchronous_commit` are on in Postgres, `appendfsync always` in
  Redis.
- **Audited.** After each round the audit compares, bin by bin, what callers were told with what the
  contender's storage says. Had they differed, there would be no report.
- **CPU** is that of all server processes of a contender, not that of its callers.
"""

NOT_SHOWN = """\
- **The network.** Everything goes through loopback, whose round trip is next to nothing. What takes many
  round trips looks better here than it is.
- **More than one machine.** Servers and their callers share the cores: a contender whose callers need
  much CPU has less left for itself. Absolute figures are this machine's; ratios carry over better, and
  none is a promise.
- **Hours.** A round takes seconds. Tables that grow for weeks, vacuum, and disks that run full are not in
  it.
- **Rare delays.** A p99.9 of a few thousand requests rests on a few of them.
"""


def again(commit: str, *, quick: bool) -> str:
    """Return how to run it again, and how to see what changed."""
    return f"""\
```sh
git checkout {commit}
make {"bench-quick" if quick else "bench"}
binkeeper bench compare THIS_FOLDER YOURS
```

`result.json` beside this page holds every value by round, and the histograms.
"""
