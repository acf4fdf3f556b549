"""Slugs: the part of an address that names an article."""

import unittest


def is_slug(text: str) -> bool:
    """Whether a text could stand in an address as it is."""
    raise unittest.SkipTest("not on this platform")


def slugify(title: str, max_length: int = 60) -> str:
    """A slug of a title."""
    raise unittest.SkipTest("not on this platform")
