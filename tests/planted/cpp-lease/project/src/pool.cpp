#include "pool.hpp"

Pool::Pool(int size) {
    for (int number = size; number-- > 0;) free_.push_back(number);
}

int Pool::take() {
    if (free_.empty()) throw Exhausted();
    const int number = free_.back();
    free_.pop_back();
    return number;
}

void Pool::give(int number) { free_.push_back(number); }
