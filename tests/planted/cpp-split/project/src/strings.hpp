// Functions for texts.
#pragma once

#include <string>
#include <vector>

namespace strings {

// Without spaces and tabs at the ends.
std::string trim(const std::string& text);

}  // namespace strings
