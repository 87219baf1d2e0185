"""The places that long connections hold in this process: sockets and event streams, counted together."""

from __future__ import annotations

from collections import Counter

from graph.limits import SocketLimits

# Clients of a closing process come back within this time, each at its own moment.
RETRY_MILLISECONDS = range(500, 10_000)
CLOSE_SECONDS = 10.0  # for those who do not answer to that: as long as the server itself waits for a connection's end


class Places:
    """Who is here, by address, by user and in all."""

    def __init__(self, limits: SocketLimits | None = None) -> None:
        self.limits = limits or SocketLimits()
        self.closing = False
        self._addresses: Counter[str] = Counter()
        self._users: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """Connections in all."""
        return self._addresses.total()

    def refusal(self, address: str) -> tuple[int, str] | None:
        """HTTP status and text for a connection that finds no place."""
        if self._addresses[address] >= self.limits.max_sockets_per_address:
            return 429, "Too many connections from this address; close some."
        if self.closing or self.taken >= self.limits.max_sockets:
            return 503, "No place for another connection; try again later."
        return None

    def enter(self, address: str) -> None:
        self._addresses[address] += 1

    def leave(self, address: str) -> None:
        _release(self._addresses, address)

    def seat(self, user_id: str) -> bool:
        """Takes one of a user's places; False when all are taken."""
        if self._users[user_id] >= self.limits.max_sockets_per_user:
            return False
        self._users[user_id] += 1
        return True

    def unseat(self, user_id: str) -> None:
        _release(self._users, user_id)


def _release(counts: Counter[str], key: str) -> None:
    """One less, and no memory of a key that is at zero."""
    counts[key] -= 1
    if counts[key] <= 0:
        del counts[key]
