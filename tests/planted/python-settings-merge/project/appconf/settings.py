"""Reading settings."""


def lookup(settings, path, default=None):
    """The value at a dotted path."""
    for part in path.split("."):
        if not isinstance(settings, dict) or part not in settings:
            return default
        settings = settings[part]
    return settings
