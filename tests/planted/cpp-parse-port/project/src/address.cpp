#include "address.hpp"

namespace net {

std::string host(const std::string& address) {
    return address.substr(0, address.rfind(':'));
}

}
