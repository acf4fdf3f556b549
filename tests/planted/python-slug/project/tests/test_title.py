from textkit.title import headline


def test_small_words_stay_small():
    assert headline("the lord of the rings") == "The Lord of the Rings"


def test_nothing_gives_nothing():
    assert headline("") == ""
