// The table of a tournament.
#pragma once

#include <string>
#include <vector>

struct Player {
    std::string name;
    int points = 0;
};

// The points of everybody together.
inline long total(const std::vector<Player>& players) {
    long sum = 0;
    for (const Player& player : players) sum += player.points;
    return sum;
}
