"""Bills that several people share."""


def with_tip(cents, percent):
    """The amount with a tip, rounded up to a whole cent."""
    return cents + -(-cents * percent // 100)


def split(cents, weights):
    """Shares by weight that add up to the amount; odd cents go to the largest remainders."""
    if not weights:
        raise ValueError("nobody to share with")
    whole = sum(weights)
    shares = [cents * weight // whole for weight in weights]
    left = cents - sum(shares)
    by_remainder = sorted(range(len(weights)), key=lambda i: (-(cents * weights[i] % whole), -i))
    for index in by_remainder[:left]:
        shares[index] += 1
    return shares
