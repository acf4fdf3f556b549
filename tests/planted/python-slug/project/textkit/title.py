"""Titles as they are printed."""

SMALL = {"a", "an", "and", "of", "or", "the", "to"}


def headline(title: str) -> str:
    """The title in headline case; small words stay small unless they come first."""
    words = title.split()
    return " ".join(
        word if index and word in SMALL else word[:1].upper() + word[1:]
        for index, word in enumerate(words)
    )
