#include <cassert>
#include "address.hpp"

int main() {
    assert(net::host("example.org:80") == "example.org");
    assert(net::host("example.org") == "example.org");
}
