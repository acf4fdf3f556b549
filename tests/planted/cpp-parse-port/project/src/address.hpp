#pragma once
#include <string>

namespace net {

// The host of "host:port"; all of it when there is no colon.
std::string host(const std::string& address);

}
