"""Small functions for texts."""
