#pragma once
#include <cstddef>
#include <string>

// The longest beginning of at most `bytes` bytes that ends between characters.
std::string cut(const std::string& text, std::size_t bytes);

// How many characters a valid UTF-8 text has.
std::size_t length(const std::string& text);
