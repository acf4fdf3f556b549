#include <cstdio>
#include <cstdlib>

#include "stats.h"

#define CHECK(what)                                             \
    do {                                                        \
        if (!(what)) {                                          \
            std::fprintf(stderr, "%d: %s\n", __LINE__, #what);  \
            std::exit(1);                                       \
        }                                                       \
    } while (0)

int main() {
    CHECK(greatest({1, 3, 2}) == 3);
    CHECK(greatest({-5}) == -5);
    std::puts("ok");
}
