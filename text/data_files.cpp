#include "text/data_files.h"

#include <filesystem>
#include <fstream>
#include <memory>

#include <glob.h>
#include <zlib.h>
#include <zstd.h>

#include "core/error.h"
#include "core/hub_name.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kPiece = 1 << 18;

// The packed side of an archive, piece by piece.
class Packed {
 public:
  Packed(std::ifstream& in, const std::string& path) : in_(in), path_(path), buffer_(kPiece) { fill(); }
  // False at the end of the file.
  bool fill() {
    in_.read(buffer_.data(), static_cast<std::streamsize>(buffer_.size()));
    size_ = static_cast<std::size_t>(in_.gcount());
    total_ += size_;
    if (in_.bad()) throw DataError(message("cannot read ", path_));
    return size_ > 0;
  }
  char* data() { return buffer_.data(); }
  std::size_t size() const { return size_; }
  std::uint64_t total() const { return total_; }  // bytes read so far
  const std::string& path() const { return path_; }

 private:
  std::ifstream& in_;
  const std::string& path_;
  std::vector<char> buffer_;
  std::size_t size_ = 0;
  std::uint64_t total_ = 0;
};

class Gzip {
 public:
  explicit Gzip(Packed& in) : in_(in), buffer_(kPiece) {
    if (inflateInit2(&stream_, 15 + 32) != Z_OK) throw DataError(message(in.path(), ": zlib cannot start"));
    take();
  }
  ~Gzip() { inflateEnd(&stream_); }
  Gzip(const Gzip&) = delete;
  Gzip& operator=(const Gzip&) = delete;
  bool read(std::string& out) {
    while (!finished_) {
      if (stream_.avail_in == 0) {
        if (in_.fill()) take();
        else if (between_) return finished_ = true, false;
        else throw DataError(message(in_.path(), ": the gzip archive is cut off after ", in_.total(), " bytes; copy the file again"));
      }
      if (between_) inflateReset(&stream_), between_ = false;  // archives joined end to end
      stream_.next_out = reinterpret_cast<Bytef*>(buffer_.data());
      stream_.avail_out = static_cast<uInt>(buffer_.size());
      const int state = inflate(&stream_, Z_NO_FLUSH);
      if (state != Z_OK && state != Z_STREAM_END && state != Z_BUF_ERROR)
        throw DataError(message(in_.path(), ": the gzip archive is damaged (", stream_.msg ? stream_.msg : "zlib error", ")"));
      between_ = state == Z_STREAM_END;
      const std::size_t made = buffer_.size() - stream_.avail_out;
      out.append(buffer_.data(), made);
      if (made > 0) return true;
    }
    return false;
  }

 private:
  void take() {
    stream_.next_in = reinterpret_cast<Bytef*>(in_.data());
    stream_.avail_in = static_cast<uInt>(in_.size());
  }
  Packed& in_;
  std::vector<char> buffer_;
  z_stream stream_{};
  bool between_ = false, finished_ = false;
};

class Zstd {
 public:
  explicit Zstd(Packed& in) : in_(in), stream_(ZSTD_createDStream(), ZSTD_freeDStream), buffer_(ZSTD_DStreamOutSize()) {
    ZSTD_initDStream(stream_.get());
    piece_ = {in_.data(), in_.size(), 0};
  }
  bool read(std::string& out) {
    for (;;) {
      if (piece_.pos == piece_.size && !full_) {
        if (in_.fill()) piece_ = {in_.data(), in_.size(), 0};
        else if (state_ == 0) return false;
        else throw DataError(message(in_.path(), ": the zstd archive is cut off after ", in_.total(), " bytes; copy the file again"));
      }
      ZSTD_outBuffer made{buffer_.data(), buffer_.size(), 0};
      state_ = ZSTD_decompressStream(stream_.get(), &made, &piece_);
      if (ZSTD_isError(state_))
        throw DataError(message(in_.path(), ": the zstd archive is damaged (", ZSTD_getErrorName(state_), ")"));
      full_ = made.pos == made.size;
      out.append(buffer_.data(), made.pos);
      if (made.pos > 0) return true;
    }
  }

 private:
  Packed& in_;
  std::unique_ptr<ZSTD_DStream, std::size_t (*)(ZSTD_DStream*)> stream_;
  std::vector<char> buffer_;
  ZSTD_inBuffer piece_{};
  std::size_t state_ = 1;
  bool full_ = false;
};

}  // namespace

std::vector<std::string> expand_paths(const std::vector<std::string>& paths) {
  std::vector<std::string> out;
  for (const std::string& path : paths) {
    if (const auto name = parse_hub_data(path)) {
      const std::vector<std::string> files = cached_data_files(*name, hub_caches());
      out.insert(out.end(), files.begin(), files.end());
      continue;
    }
    if (fs::exists(path)) {
      out.push_back(path);
      continue;
    }
    glob_t found{};
    const int rc = ::glob(path.c_str(), GLOB_TILDE, nullptr, &found);
    const std::unique_ptr<glob_t, void (*)(glob_t*)> guard(&found, globfree);
    if (rc != 0 || found.gl_pathc == 0) {
      const bool pattern = path.find_first_of("*?[") != std::string::npos;
      throw DataError(message(pattern ? "no file matches " : "there is no file ", path, "; relative paths start at ",
                              fs::current_path().string()));
    }
    out.insert(out.end(), found.gl_pathv, found.gl_pathv + found.gl_pathc);
  }
  if (out.empty()) throw DataError("no data file is named; set data.path");
  return out;
}

struct DataStream::Impl {
  std::string path;
  std::ifstream file;
  std::unique_ptr<Packed> packed;
  std::unique_ptr<Gzip> gzip;
  std::unique_ptr<Zstd> zstd;
  bool first = true;  // the piece that the constructor read is not handed out
};

DataStream::DataStream(const std::string& path) : impl_(std::make_unique<Impl>()) {
  if (fs::is_directory(path))
    throw DataError(message(path, " is a directory; name the files, e.g. ", path, "/*.jsonl"));
  impl_->path = path;
  impl_->file.open(path, std::ios::binary);
  if (!impl_->file)
    throw DataError(
        message("cannot open ", path, fs::exists(path) ? ": no permission to read it" : ": there is no such file"));
  impl_->packed = std::make_unique<Packed>(impl_->file, impl_->path);
  const std::string_view head(impl_->packed->data(), impl_->packed->size());
  if (head.starts_with("\x1f\x8b")) impl_->gzip = std::make_unique<Gzip>(*impl_->packed);
  else if (head.starts_with("\x28\xb5\x2f\xfd")) impl_->zstd = std::make_unique<Zstd>(*impl_->packed);
  else if (head.starts_with("PAR1")) throw DataError(message(path, " is a Parquet file, text is wanted here"));
}
DataStream::~DataStream() = default;

bool DataStream::read(std::string& out) {
  if (impl_->gzip) return impl_->gzip->read(out);
  if (impl_->zstd) return impl_->zstd->read(out);
  if (!impl_->first && !impl_->packed->fill()) return false;
  impl_->first = false;
  out.append(impl_->packed->data(), impl_->packed->size());
  return impl_->packed->size() > 0;
}

std::string read_data_file(const std::string& path) {
  DataStream stream(path);
  std::string text;
  while (stream.read(text)) {}
  return text;
}

}  // namespace r1
