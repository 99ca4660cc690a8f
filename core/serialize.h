// Sample groups as bytes and back, every float bit for bit: for journals, caches and messages between processes.
#pragma once

#include <string>
#include <string_view>

#include "core/types.h"

namespace r1 {

std::string to_bytes(const SampleGroup& group);
std::string to_bytes(const ScoredGroup& group);
// Throw DataError on damaged bytes, on another kind of record and on another version of the format.
SampleGroup sample_group_from_bytes(std::string_view bytes);
ScoredGroup scored_group_from_bytes(std::string_view bytes);

// Records one behind another, each with its length.
void append_record(std::string& to, std::string_view record);
// Takes the first off. Throws DataError where it is cut off.
std::string_view take_record(std::string_view& from);

}  // namespace r1
