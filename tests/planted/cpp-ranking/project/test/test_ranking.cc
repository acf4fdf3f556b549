#include <cassert>

#include "ranking.hpp"

int main() {
    assert(total({{"ann", 3}, {"bob", 4}}) == 7);
    assert(total({}) == 0);
}
