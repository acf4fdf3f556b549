"""Plans and what they cost."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    name: str
    cents: int

    def yearly(self) -> int:
        """A year's price: two months are free."""
        return self.cents * 10
