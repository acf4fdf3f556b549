"""What counts when nobody says anything."""

DEFAULTS = {
    "editor": {"font": {"name": "mono", "size": 11}, "wrap": True},
    "plugins": ["spell"],
    "telemetry": False,
}
