"""Who pays what, and when."""
