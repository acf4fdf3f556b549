#include "utf8.hpp"

static bool continues(unsigned char byte) { return (byte & 0xC0) == 0x80; }

std::string cut(const std::string& text, std::size_t bytes) {
    if (text.size() <= bytes) return text;
    std::string start = text.substr(0, bytes);
    while (!start.empty() && continues(static_cast<unsigned char>(start.back()))) start.pop_back();
    return start;
}

std::size_t length(const std::string& text) {
    std::size_t count = 0;
    for (const char byte : text) count += !continues(static_cast<unsigned char>(byte));
    return count;
}
