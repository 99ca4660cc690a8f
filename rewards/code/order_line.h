// An order's descriptors over a SOCK_SEQPACKET line; linked into the library and into what boxes are copied out of: system calls alone.
#pragma once

#include <cstdint>

#include "rewards/code/box_child.h"

namespace r1::code {

// flags of WarmOrder: what of the last two descriptors is there. False: errno.
bool send_order(int line, std::uint8_t flags, const BoxFds& fds);
// Waits. False at the line's end, or for what is no order.
bool receive_order(int line, std::uint8_t& flags, BoxFds& fds);

}  // namespace r1::code
