#include "rewards/verify/verify_stream.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <future>
#include <thread>
#include <vector>

#include "core/bounded_queue.h"
#include "core/error.h"
#include "core/signals.h"
#include "core/thread_pool.h"

namespace r1 {
namespace {

constexpr std::size_t kReadBytes = 256 << 10, kBatchBytes = 64 << 10, kWriteBytes = 64 << 10;
constexpr int kLookUpMs = 500;  // how soon a stop signal or a closed output is seen while no input comes

struct Line {
  std::int64_t number = 0;
  std::string text;
  bool too_long = false;
};

struct Replies {
  std::string text;
  std::int64_t lines = 0, errors = 0;
  std::string first_error;
};

// Pieces of input to lines.
class LineCutter {
 public:
  explicit LineCutter(std::size_t max_bytes) : max_(max_bytes) {}

  void add(std::string_view bytes, std::vector<Line>& out) {
    while (!bytes.empty()) {
      const std::size_t end = bytes.find('\n');
      grow(bytes.substr(0, end));
      if (end == bytes.npos) return;
      out.push_back(take());
      bytes.remove_prefix(end + 1);
    }
  }
  bool unfinished() const { return open_; }
  Line take() {
    Line done = std::move(line_);
    done.number = ++count_;
    line_ = {};
    open_ = false;
    return done;
  }

 private:
  void grow(std::string_view part) {
    open_ = true;
    if (line_.too_long) return;
    if (line_.text.size() + part.size() > max_) {
      line_.too_long = true;
      line_.text = {};
    } else {
      line_.text += part;
    }
  }
  std::size_t max_;
  Line line_;
  std::int64_t count_ = 0;
  bool open_ = false;
};

// Writes what is ready, in order. After the reader has gone, or an error, it still takes everything, and drops it.
class Writer {
 public:
  Writer(int fd, std::size_t window) : fd_(fd), waiting_(window), thread_([this] { run(); }) {}
  ~Writer() { finish(); }

  void add(std::future<Replies> next) { waiting_.push(std::move(next)); }
  bool broken() const { return broken_; }
  void finish() {
    waiting_.close();
    if (thread_.joinable()) thread_.join();
  }
  VerifyStreamResult result;  // read it after finish()
  int error = 0;

 private:
  void run() {
    std::string text;
    while (auto next = waiting_.pop()) {
      take(*next, text);
      // What else is ready goes out with it: one system call a piece, and no reply waits for one that is not ready.
      for (std::optional<std::future<Replies>> more; text.size() < kWriteBytes && (more = waiting_.try_pop());) {
        if (more->wait_for(std::chrono::seconds(0)) != std::future_status::ready) {
          write(text);
          text.clear();
        }
        take(*more, text);
      }
      write(text);
      text.clear();
    }
  }
  void take(std::future<Replies>& next, std::string& text) {
    const Replies r = next.get();
    text += r.text;
    result.lines += r.lines;
    result.errors += r.errors;
    if (result.first_error.empty()) result.first_error = r.first_error;
  }
  void write(std::string_view text) {
    while (!text.empty() && !broken_) {
      const ssize_t n = ::write(fd_, text.data(), text.size());
      if (n >= 0) {
        text.remove_prefix(static_cast<std::size_t>(n));
      } else if (errno == EAGAIN) {  // the other side of a terminal or socket may have set it
        pollfd p = {fd_, POLLOUT, 0};
        poll(&p, 1, kLookUpMs);
      } else if (errno != EINTR) {
        if (errno == EPIPE) result.reader_gone = true;
        else error = errno;
        broken_ = true;
      }
    }
  }

  int fd_;
  std::atomic<bool> broken_ = false;
  BoundedQueue<std::future<Replies>> waiting_;
  std::thread thread_;
};

}  // namespace

VerifyStreamResult verify_stream(const std::function<Verifier::Reply(std::string_view, std::int64_t)>& reply,
                                 const VerifyStreamOptions& o) {
  R1_CHECK(o.threads >= 1 && o.batch_lines >= 1, "verify_stream with ", o.threads, " threads, ", o.batch_lines, " lines");
  const auto judge = [&reply, &o](const std::vector<Line>& lines) {
    Replies all;
    for (const Line& line : lines) {
      Verifier::Reply r;
      try {
        r = line.too_long ? Verifier::error_reply(line.number, message("the line is longer than ", o.max_line_bytes, " bytes"))
                          : reply(line.text, line.number);
      } catch (const std::exception& e) {
        r = Verifier::error_reply(line.number, e.what());
      }
      if (r.error && all.errors++ == 0) all.first_error = r.text;
      all.text += r.text + '\n';
      ++all.lines;
    }
    return all;
  };

  const std::size_t window = static_cast<std::size_t>(o.threads) * 4;
  Writer writer(o.out, window);
  ThreadPool pool(o.threads, window, "r1-verify");  // ends before the writer, so every promise is kept
  const auto submit = [&](std::vector<Line> lines) {
    writer.add(pool.submit([&judge, lines = std::move(lines)] { return judge(lines); }));
  };
  LineCutter cutter(o.max_line_bytes);
  std::vector<char> bytes(kReadBytes);
  bool gone = false, stopped = false;
  int error = 0;
  for (bool end = false; !end && error == 0;) {
    if ((stopped = stop_requested()) || writer.broken()) break;
    pollfd ready[2] = {{o.in, POLLIN, 0}, {o.out, 0, 0}};
    if (poll(ready, 2, kLookUpMs) < 0 && errno != EINTR) throw IoError(message("cannot wait for input: ", std::strerror(errno)));
    if ((gone = ready[1].revents & POLLERR)) break;
    if (ready[0].revents == 0) continue;
    const ssize_t n = read(o.in, bytes.data(), bytes.size());
    std::vector<Line> lines;
    if (n > 0) {
      cutter.add({bytes.data(), static_cast<std::size_t>(n)}, lines);
    } else if (n == 0) {
      if (cutter.unfinished()) lines.push_back(cutter.take());
      end = true;
    } else if (errno != EINTR && errno != EAGAIN) {
      error = errno;
    }
    std::vector<Line> batch;
    std::size_t batch_bytes = 0;
    for (Line& line : lines) {
      batch_bytes += line.text.size();
      batch.push_back(std::move(line));
      if (batch.size() < o.batch_lines && batch_bytes < kBatchBytes) continue;
      submit(std::exchange(batch, {}));
      batch_bytes = 0;
    }
    if (!batch.empty()) submit(std::move(batch));
  }
  writer.finish();
  if (error != 0) throw IoError(message("cannot read the requests: ", std::strerror(error)));
  if (writer.error != 0) throw IoError(message("cannot write the replies: ", std::strerror(writer.error)));
  VerifyStreamResult result = std::move(writer.result);
  result.reader_gone = result.reader_gone || gone;
  result.stopped = stopped;
  return result;
}

}  // namespace r1
