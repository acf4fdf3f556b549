from textkit.slug import is_slug


def test_what_is_a_slug():
    assert is_slug("war-and-peace")
    assert not is_slug("War and Peace")
    assert not is_slug("-war")
