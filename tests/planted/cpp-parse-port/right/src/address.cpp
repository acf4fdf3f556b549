#include "address.hpp"

namespace net {

std::optional<int> parse_port(const std::string& text) {
    if (text.empty()) return std::nullopt;
    int port = 0;
    for (const char c : text) {
        if (c < '0' || c > '9') return std::nullopt;
        port = port * 10 + (c - '0');
        if (port > 65535) return std::nullopt;
    }
    if (port == 0) return std::nullopt;
    return port;
}

std::string host(const std::string& address) {
    return address.substr(0, address.rfind(':'));
}

}
