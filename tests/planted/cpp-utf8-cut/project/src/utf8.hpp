#pragma once
#include <cstddef>
#include <string>

// How many characters a valid UTF-8 text has.
std::size_t length(const std::string& text);
