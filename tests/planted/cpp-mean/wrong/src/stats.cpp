#include "stats.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>

int greatest(const std::vector<int>& values) {
    if (values.empty()) throw std::invalid_argument("no values");
    return *std::max_element(values.begin(), values.end());
}

int mean(const std::vector<int>& values) {
    if (values.empty()) throw std::invalid_argument("no values");
    const long long sum = std::accumulate(values.begin(), values.end(), 0);
    return static_cast<int>(sum / static_cast<long long>(values.size()));
}
