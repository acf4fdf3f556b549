#ifndef STATS_H
#define STATS_H

#include <vector>

// The greatest of the values; std::invalid_argument when there are none.
int greatest(const std::vector<int>& values);

// The mean, rounded towards zero; std::invalid_argument when there are no values.
int mean(const std::vector<int>& values);

#endif
