#pragma once

#include <stdexcept>
#include <vector>

// No connection is free.
struct Exhausted : std::runtime_error {
    Exhausted() : std::runtime_error("no connection is free") {}
};

// A fixed number of connections.
class Pool {
public:
    explicit Pool(int size);

    // A free connection's number; throws Exhausted.
    int take();

    // Gives one back.
    void give(int number);

    // How many are free.
    std::size_t free() const { return free_.size(); }

private:
    std::vector<int> free_;
};
