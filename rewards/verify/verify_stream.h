// Lines in, replies out, in order, over file descriptors: the loop of `r1 verify`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "rewards/verify/verifier.h"

namespace r1 {

struct VerifyStreamOptions {
  int in = 0, out = 1;                      // file descriptors, borrowed
  int threads = 1;                          // lines judged at a time
  std::size_t batch_lines = 1;              // cheap lines that came in together are handed to a thread together
  std::size_t max_line_bytes = 16u << 20;   // a longer line is an error reply
};

struct VerifyStreamResult {
  std::int64_t lines = 0, errors = 0;  // replies, and how many were errors
  std::string first_error;             // the first error reply
  bool reader_gone = false;            // nobody reads the replies any more (SIGPIPE must be ignored)
  bool stopped = false;                // a stop signal came (core/signals.h)
};

// One reply a line of input, an unfinished last line too, in the order of the lines; each is written as soon as it and
// those before it are there, so a client may wait for a reply before it sends on. At most a few batches a thread are read
// ahead. Ends at the end of input, at a stop signal, or when the reader is gone; what was read is answered first.
// `reply` is called from several threads. Throws IoError if reading or writing fails otherwise.
VerifyStreamResult verify_stream(const std::function<Verifier::Reply(std::string_view line, std::int64_t number)>& reply,
                                 const VerifyStreamOptions& options);

}  // namespace r1
