"""Settings of the application."""
