"""How many requests of this program may be under way at a host: as many as it takes without refusing any.

A host refuses what has waited too long for its turn (`actors.intake`). By then it has cost whoever sent it
nearly as much as what is done. So who sends heeds the host's word: it asks less of one that refuses, and bit
by bit more of one that does not. A host that is slow and refuses nothing is asked for as much as ever: a
commit takes many along.
"""

_WINDOW_S = 0.1
"""How often what a host said is looked at."""
_REACTION_S = 0.3
"""What a host refuses for so long after a decrease, waited there before it."""
_LEAST = 256
"""As many may wait at a host for as long as they like."""
UNDER_WAY_MAX = 50_000
"""Most requests that wait for their outcome: the full queues of five hosts."""


class Allowance:
    """Requests under way at one host, and how many may be."""

    __slots__ = ("_answered", "_is_wanted", "_lowered_s", "_refused", "_since_s", "limit", "under_way")

    def __init__(self, now_s: float) -> None:
        self.limit = UNDER_WAY_MAX
        self.under_way = 0
        self._answered = 0
        self._refused = 0
        self._is_wanted = False
        """Whether more was asked for since the last look than may be under way."""
        self._since_s = now_s
        self._lowered_s = now_s - _REACTION_S

    def ended(self, now_s: float, *, is_overloaded: bool) -> None:
        """A host has said what became of a request: it was refused for want of time, or anything else."""
        if is_overloaded:
            self._refused += 1
        else:
            self._answered += 1
        if now_s - self._since_s >= _WINDOW_S:
            self._look(now_s)

    def is_used_up(self, now_s: float, besides: int = 0) -> bool:
        """Whether no more may be sent now that somebody wants to, `besides` what is as good as sent."""
        is_full = self.is_full(now_s, besides)
        self._is_wanted |= is_full
        return is_full

    def is_full(self, now_s: float, besides: int = 0) -> bool:
        """Whether no more might be sent, if anybody wanted to."""
        if self.under_way + besides < self.limit:
            return False
        if now_s - self._since_s >= _WINDOW_S:  # It was quiet: nobody has looked.
            self._look(now_s)
        return self.under_way + besides >= self.limit

    def _look(self, now_s: float) -> None:
        """Let fewer be under way when some were refused; else more, and many more when nobody wants it."""
        if self._refused:
            if now_s - self._lowered_s >= _REACTION_S:
                share = self._answered / (self._answered + self._refused)
                self.limit = max(_LEAST, int(min(self.limit, self.under_way) * share))
                self._lowered_s = now_s
        elif self.limit < UNDER_WAY_MAX:
            windows = min(int((now_s - self._since_s) / _WINDOW_S), 8)
            raised = self.limit + (self.limit >> 5) if self._is_wanted else self.limit << windows
            self.limit = min(raised, UNDER_WAY_MAX)
        self._since_s = now_s
        self._answered = self._refused = 0
        self._is_wanted = False
