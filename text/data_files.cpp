#include "text/data_files.h"

#include <filesystem>
#include <fstream>
#include <memory>

#include <glob.h>
#include <zlib.h>
#include <zstd.h>

#include "core/error.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

std::string inflate_gzip(const std::string& packed, const std::string& path) {
  z_stream stream{};
  if (inflateInit2(&stream, 15 + 32) != Z_OK) throw DataError(message(path, ": zlib cannot start"));
  const std::unique_ptr<z_stream, int (*)(z_stream*)> guard(&stream, inflateEnd);
  std::string out;
  std::vector<char> buffer(1 << 18);
  const auto* input = reinterpret_cast<const Bytef*>(packed.data());
  std::size_t used = 0;
  int state = Z_OK;
  while (used < packed.size() || state == Z_OK) {
    const std::size_t piece = std::min<std::size_t>(packed.size() - used, 1 << 30);
    stream.next_in = const_cast<Bytef*>(input + used);
    stream.avail_in = static_cast<uInt>(piece);
    stream.next_out = reinterpret_cast<Bytef*>(buffer.data());
    stream.avail_out = static_cast<uInt>(buffer.size());
    state = inflate(&stream, Z_NO_FLUSH);
    used += piece - stream.avail_in;
    out.append(buffer.data(), buffer.size() - stream.avail_out);
    if (state == Z_STREAM_END) {
      if (used == packed.size()) return out;
      inflateReset(&stream);  // archives joined end to end
      state = Z_OK;
    } else if (state == Z_BUF_ERROR || (state == Z_OK && used == packed.size() && stream.avail_out > 0)) {
      throw DataError(
          message(path, ": the gzip archive is cut off after ", packed.size(), " bytes; copy the file again"));
    } else if (state != Z_OK) {
      throw DataError(message(path, ": the gzip archive is damaged (", stream.msg ? stream.msg : "zlib error", ")"));
    }
  }
  return out;
}

std::string inflate_zstd(const std::string& packed, const std::string& path) {
  const std::unique_ptr<ZSTD_DStream, std::size_t (*)(ZSTD_DStream*)> stream(ZSTD_createDStream(), ZSTD_freeDStream);
  ZSTD_initDStream(stream.get());
  std::string out;
  std::vector<char> buffer(ZSTD_DStreamOutSize());
  ZSTD_inBuffer in{packed.data(), packed.size(), 0};
  std::size_t state = 1;
  bool full = false;
  while (in.pos < in.size || full) {
    ZSTD_outBuffer piece{buffer.data(), buffer.size(), 0};
    state = ZSTD_decompressStream(stream.get(), &piece, &in);
    if (ZSTD_isError(state))
      throw DataError(message(path, ": the zstd archive is damaged (", ZSTD_getErrorName(state), ")"));
    out.append(buffer.data(), piece.pos);
    full = piece.pos == piece.size;
  }
  if (state != 0)
    throw DataError(
        message(path, ": the zstd archive is cut off after ", packed.size(), " bytes; copy the file again"));
  return out;
}

}  // namespace

std::vector<std::string> expand_paths(const std::vector<std::string>& paths) {
  std::vector<std::string> out;
  for (const std::string& path : paths) {
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

std::string read_data_file(const std::string& path) {
  if (fs::is_directory(path))
    throw DataError(message(path, " is a directory; name the files, e.g. ", path, "/*.jsonl"));
  std::ifstream in(path, std::ios::binary);
  if (!in)
    throw DataError(
        message("cannot open ", path, fs::exists(path) ? ": no permission to read it" : ": there is no such file"));
  std::string text((std::istreambuf_iterator<char>(in)), {});
  if (in.bad()) throw DataError(message("cannot read ", path));
  if (text.starts_with("\x1f\x8b")) return inflate_gzip(text, path);
  if (text.starts_with("\x28\xb5\x2f\xfd")) return inflate_zstd(text, path);
  if (text.starts_with("PAR1"))
    throw DataError(message(path, " is a Parquet file, which is not read yet; convert it to JSON lines"));
  return text;
}

}  // namespace r1
