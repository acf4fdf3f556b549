from appconf.defaults import DEFAULTS
from appconf.settings import lookup


def test_a_path():
    assert lookup(DEFAULTS, "editor.font.size") == 11


def test_no_such_path():
    assert lookup(DEFAULTS, "editor.colour") is None
    assert lookup(DEFAULTS, "telemetry.level", 3) == 3
