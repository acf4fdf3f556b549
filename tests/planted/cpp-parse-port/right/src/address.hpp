#pragma once
#include <optional>
#include <string>

namespace net {

// A port's number, or nothing when the text is not exactly one.
std::optional<int> parse_port(const std::string& text);

// The host of "host:port"; all of it when there is no colon.
std::string host(const std::string& address);

}
