#include "utf8.hpp"

static bool continues(unsigned char byte) { return (byte & 0xC0) == 0x80; }

std::string cut(const std::string& text, std::size_t bytes) {
    if (text.size() <= bytes) return text;
    while (bytes > 0 && continues(static_cast<unsigned char>(text[bytes]))) --bytes;
    return text.substr(0, bytes);
}

std::size_t length(const std::string& text) {
    std::size_t count = 0;
    for (const char byte : text) count += !continues(static_cast<unsigned char>(byte));
    return count;
}
