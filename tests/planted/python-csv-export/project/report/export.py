"""Reports as text for other programs."""


def to_lines(rows):
    """One `key=value` line for each row."""
    return [" ".join(f"{key}={value}" for key, value in row.items()) for row in rows]
