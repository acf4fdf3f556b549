"""Bills that several people share."""


def with_tip(cents, percent):
    """The amount with a tip, rounded up to a whole cent."""
    return cents + -(-cents * percent // 100)
