#include <cassert>

#include "strings.hpp"

int main() {
    assert(strings::trim("  a b\t") == "a b");
    assert(strings::trim(" ").empty());
}
