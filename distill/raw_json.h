// The raw file's lines as JSON; internal to distill/.
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "distill/raw_file.h"

namespace r1::raw {

using Json = nlohmann::ordered_json;

std::string to_line(const Json& json);  // no line break; bytes that are no UTF-8 become U+FFFD
Json to_json(const RawHeader& header);
Json to_json(std::size_t index, const RawPrompt& prompt);
Json to_json(const RawSample& sample);
Json to_json(const Score& score);
Json to_json(const RawRewrite& rewrite);
// These throw nlohmann's exceptions for what is no such record.
RawHeader header_from(const Json& json);
RawPrompt prompt_from(const Json& json);
RawSample sample_from(const Json& json);
Score score_from(const Json& json);
RawRewrite rewrite_from(const Json& json);

Json messages_json(const std::vector<Message>& messages);
Json sampling_json(const SamplingOptions& sampling);
SamplingOptions sampling_from(const Json& json);

}  // namespace r1::raw
