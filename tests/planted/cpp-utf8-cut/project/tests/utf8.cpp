#include "utf8.hpp"
#include <cassert>

int main() {
    assert(length("abc") == 3);
    assert(length("h\xc3\xa9") == 2);
    return 0;
}
