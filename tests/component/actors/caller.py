"""A caller that is beside the host, without a lane between."""

from actors.requests import Request, Status


class Caller:
    """Takes what a host answers, without a lane."""

    def __init__(self) -> None:
        self.ended: list[Request] = []

    def reply(self, request: Request) -> None:
        """Take an ended request."""
        self.ended.append(request)

    def statuses(self) -> list[Status]:
        """Return how the requests ended."""
        return [request.status for request in self.ended]
