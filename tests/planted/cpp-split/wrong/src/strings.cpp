#include "strings.hpp"

#include <sstream>

namespace strings {

std::string trim(const std::string& text) {
    const auto first = text.find_first_not_of(" \t");
    if (first == std::string::npos) return "";
    return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::vector<std::string> split(const std::string& text, char separator) {
    std::vector<std::string> fields;
    std::istringstream stream(text);
    std::string field;
    while (std::getline(stream, field, separator)) fields.push_back(field);
    if (fields.empty()) fields.emplace_back();
    return fields;
}

}  // namespace strings
