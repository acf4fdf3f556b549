#include "stats.h"

#include <algorithm>
#include <stdexcept>

int greatest(const std::vector<int>& values) {
    if (values.empty()) throw std::invalid_argument("no values");
    return *std::max_element(values.begin(), values.end());
}
