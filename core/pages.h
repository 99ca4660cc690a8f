// Pages of anonymous memory: which take memory, and how they are given back.
#pragma once

#include <cstddef>

namespace r1 {

// [data, data + bytes) are zeros again; the whole pages among them take no memory until they are written.
void clear_pages(void* data, std::size_t bytes);
// Large pages cost memory where only parts of them are used. Advice.
void use_small_pages(void* data, std::size_t bytes);
// Of the pages that [data, data + bytes) touches, those that are there, in bytes, as the kernel counts them.
std::size_t resident_bytes(const void* data, std::size_t bytes);

}  // namespace r1
