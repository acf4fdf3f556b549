from wallet.bill import with_tip
from wallet.show import euros


def test_tip_is_rounded_up():
    assert with_tip(999, 10) == 1099


def test_euros():
    assert euros(-105) == "-1.05"
