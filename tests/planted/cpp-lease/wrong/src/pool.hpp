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

    // Calls job(number) with a connection that is given back whatever happens.
    template <typename Job>
    auto with(Job job) -> decltype(job(0)) {
        const int number = take();
        auto result = job(number);
        give(number);
        return result;
    }

    // How many are free.
    std::size_t free() const { return free_.size(); }

private:
    std::vector<int> free_;
};
