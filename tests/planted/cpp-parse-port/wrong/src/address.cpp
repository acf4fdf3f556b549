#include "address.hpp"

namespace net {

std::optional<int> parse_port(const std::string& text) {
    try {
        const int port = std::stoi(text);
        if (port < 1 || port > 65535) return std::nullopt;
        return port;
    } catch (const std::exception&) {
        return std::nullopt;
    }
}

std::string host(const std::string& address) {
    return address.substr(0, address.rfind(':'));
}

}
