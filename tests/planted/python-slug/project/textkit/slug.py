"""Slugs: the part of an address that names an article."""

import re

ALLOWED = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*\Z")


def is_slug(text: str) -> bool:
    """Whether a text could stand in an address as it is."""
    return bool(ALLOWED.match(text))
