"""Reports as text for other programs."""


def to_lines(rows):
    """One `key=value` line for each row."""
    return [" ".join(f"{key}={value}" for key, value in row.items()) for row in rows]


def _field(value):
    text = "" if value is None else str(value)
    if "," in text or '"' in text:
        return '"' + text.replace('"', '""') + '"'
    return text


def to_csv(rows):
    """The rows as CSV text with a header; nothing for no rows."""
    rows = list(rows)
    if not rows:
        return ""
    keys = list(rows[0])
    lines = [keys] + [[row[key] for key in keys] for row in rows]
    return "".join(",".join(_field(value) for value in line) + "\r\n" for line in lines)
