// Functions for texts.
#pragma once

#include <string>
#include <vector>

namespace strings {

// Without spaces and tabs at the ends.
std::string trim(const std::string& text);

// The fields between separators, empty ones too.
std::vector<std::string> split(const std::string& text, char separator);

}  // namespace strings
