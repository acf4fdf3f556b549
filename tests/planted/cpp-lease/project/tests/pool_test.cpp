#include <cassert>

#include "pool.hpp"

int main() {
    Pool pool(2);
    const int first = pool.take();
    assert(pool.free() == 1);
    pool.give(first);
    assert(pool.free() == 2);
}
