// The table of a tournament.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

struct Player {
    std::string name;
    int points = 0;
};

// Orders by points, the highest first; equal players keep their order.
inline void rank(std::vector<Player>& players) {
    std::stable_sort(players.begin(), players.end(),
                     [](const Player& a, const Player& b) { return a.points > b.points; });
}

// The points of everybody together.
inline long total(const std::vector<Player>& players) {
    long sum = 0;
    for (const Player& player : players) sum += player.points;
    return sum;
}
