"""Slugs: the part of an address that names an article."""

import re
import unicodedata

ALLOWED = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*\Z")


def is_slug(text: str) -> bool:
    """Whether a text could stand in an address as it is."""
    return bool(ALLOWED.match(text))


def slugify(title: str, max_length: int = 60) -> str:
    """A slug of a title, at most `max_length` characters long."""
    folded = unicodedata.normalize("NFKD", title.lower())
    plain = "".join(char for char in folded if not unicodedata.combining(char))
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    return slug[:max_length]
