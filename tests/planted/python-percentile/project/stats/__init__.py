from .summary import mean, spread

__all__ = ["mean", "spread"]
