#include "hub/hub_push.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <map>
#include <optional>
#include <thread>

#include <httplib.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/signals.h"
#include "hub/digest_check.h"
#include "hub/hub_http.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
constexpr const char* kJson = "application/json";
constexpr const char* kLfs = "application/vnd.git-lfs+json";
constexpr std::size_t kSample = 512;  // first bytes, by which the hub tells text from other files

struct Reply {
  int status = 0;  // 0 = there was none
  std::string body, error, etag;
};

std::string base64(const std::string& bytes) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t n = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t v = 0;
    for (std::size_t k = 0; k < 3; ++k) v = v << 8 | (k < n ? static_cast<unsigned char>(bytes[i + k]) : 0);
    for (std::size_t k = 0; k < 4; ++k) out += k <= n ? kDigits[v >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

struct Upload {
  const PushFile* file = nullptr;
  std::uint64_t size = 0;
  bool large = false, ignored = false;
  std::string sha256;
};

class Push {
 public:
  Push(HubOptions& options, const std::string& id, const PushOptions& push, const std::function<void(const HubProgress&)>& progress)
      : options_(options), id_(id), push_(push), progress_(progress) {}

  void make_repository() {
    const std::size_t slash = id_.find('/');
    Json body = {{"name", id_.substr(slash + 1)}, {"organization", id_.substr(0, slash)}};
    if (push_.make_private) body["private"] = true;
    const Reply made = post(api("/api/repos/create"), body.dump(), kJson);
    if (made.status == 409) return;  // it is there
    // A token that may write to one repository may not make any.
    if (made.status == 403 && retried([&] { return get(api("/api/models/" + escape_hub_path(id_))); }).status == 200) return;
    expect(made, "making the repository");
  }

  void ask_modes(std::vector<Upload>& uploads) {
    constexpr std::size_t kAtOnce = 256;
    for (std::size_t first = 0; first < uploads.size(); first += kAtOnce) {
      Json files = Json::array();
      for (std::size_t i = first; i < std::min(uploads.size(), first + kAtOnce); ++i) {
        std::string sample(std::min<std::uint64_t>(kSample, uploads[i].size), '\0');
        read(uploads[i], 0, sample);
        files.push_back({{"path", uploads[i].file->path}, {"sample", base64(sample)}, {"size", uploads[i].size}});
      }
      const Json answer = expect(post(api(message("/api/models/", escape_hub_path(id_), "/preupload/", revision())), Json{{"files", files}}.dump(), kJson), "asking how to upload");
      std::map<std::string, std::pair<std::string, bool>> modes;
      for (const Json& f : answer.value("files", Json::array())) modes[f.value("path", "")] = {f.value("uploadMode", ""), f.value("shouldIgnore", false)};
      for (std::size_t i = first; i < std::min(uploads.size(), first + kAtOnce); ++i) {
        const auto mode = modes.find(uploads[i].file->path);
        if (mode == modes.end() || (mode->second.first != "lfs" && mode->second.first != "regular"))
          throw IoError(message(options_.endpoint, " does not say how to upload ", uploads[i].file->path));
        uploads[i].large = mode->second.first == "lfs", uploads[i].ignored = mode->second.second;
      }
    }
  }

  void send_large(std::vector<Upload>& uploads, PushResult& result) {
    Json objects = Json::array();
    std::map<std::string, const Upload*> by_digest;
    for (Upload& u : uploads) {
      if (!u.large || u.ignored) continue;
      throw_if_stopped();
      u.sha256 = sha256_of_file(u.file->file);
      if (by_digest.emplace(u.sha256, &u).second) objects.push_back({{"oid", u.sha256}, {"size", u.size}});
    }
    if (objects.empty()) return;
    const Json body = {{"operation", "upload"}, {"transfers", {"basic", "multipart"}}, {"objects", objects}, {"hash_algo", "sha256"}, {"ref", {{"name", push_.revision}}}};
    const Json answer = expect(post(api("/" + escape_hub_path(id_) + ".git/info/lfs/objects/batch"), body.dump(), kLfs), "asking where to upload");
    std::size_t number = 0;
    for (const Json& object : answer.value("objects", Json::array())) {
      const auto found = by_digest.find(object.value("oid", ""));
      if (found == by_digest.end()) throw IoError(message(options_.endpoint, " answers for a file that was not named: ", object.dump().substr(0, 200)));
      const Upload& u = *found->second;
      if (object.contains("error")) throw IoError(message(u.file->path, ": ", options_.endpoint, " refuses it: ", object["error"].value("message", "no reason given")));
      ++number;
      const Json actions = object.value("actions", Json::object());
      if (!actions.contains("upload")) continue;  // the hub has it
      send(u, actions["upload"], {u.file->path, number, objects.size(), 0, u.size});
      if (actions.contains("verify"))
        expect(post(actions["verify"].value("href", ""), Json{{"oid", u.sha256}, {"size", u.size}}.dump(), kJson), message("verifying ", u.file->path));
      ++result.sent, result.sent_bytes += u.size;
    }
  }

  void commit(const std::vector<Upload>& uploads, PushResult& result) {
    std::string body = Json{{"key", "header"}, {"value", {{"summary", push_.message}, {"description", ""}}}}.dump() + "\n";
    for (const Upload& u : uploads) {
      if (u.ignored) continue;
      Json value = {{"path", u.file->path}};
      if (u.large) {
        value.update({{"algo", "sha256"}, {"oid", u.sha256}, {"size", u.size}});
      } else {
        std::string text(u.size, '\0');
        read(u, 0, text);
        value.update({{"content", base64(text)}, {"encoding", "base64"}});
      }
      body += Json{{"key", u.large ? "lfsFile" : "file"}, {"value", value}}.dump() + "\n";
      ++result.files, result.bytes += u.size;
    }
    const Json answer = expect(post(api(message("/api/models/", escape_hub_path(id_), "/commit/", revision())), body, "application/x-ndjson"), "the commit");
    result.commit = answer.value("commitOid", ""), result.url = answer.value("commitUrl", "");
  }

 private:
  std::string api(const std::string& path) const { return options_.endpoint + path; }
  std::string revision() const {  // one part of a path, "refs/pr/1" too
    std::string out = escape_hub_path(push_.revision);
    for (std::size_t at = 0; (at = out.find('/', at)) != std::string::npos;) out.replace(at, 1, "%2F");
    return out;
  }

  static void read(const Upload& u, std::uint64_t from, std::string& into) {
    std::ifstream in(u.file->file, std::ios::binary);
    in.seekg(static_cast<std::streamoff>(from));
    in.read(into.data(), static_cast<std::streamsize>(into.size()));
    if (in.gcount() != static_cast<std::streamsize>(into.size())) throw IoError(message("cannot read ", u.file->file.string(), ", or it has changed"));
  }

  static Reply reply_of(const httplib::Result& result) {
    Reply out;
    if (result) out = {result->status, result->body, "", result->get_header_value("ETag")};
    else out.error = httplib::to_string(result.error());
    return out;
  }

  // What passes is tried again.
  Reply retried(const std::function<Reply()>& attempt) {
    double wait = options_.retry_wait_s;
    for (int n = 0;; ++n, wait *= 2) {
      Reply reply = attempt();
      throw_if_stopped();
      if (!hub_status_passes(reply.status) || n >= options_.retries) return reply;
      std::this_thread::sleep_for(std::chrono::duration<double>(wait));
    }
  }

  Reply get(const std::string& url) {
    const HubTarget target = hub_target(url);
    httplib::Headers headers = {{"User-Agent", "r1"}};
    add_hub_token(headers, target, options_);
    return reply_of(hub_connection(target, options_)->Get(target.rest, headers));
  }

  Reply post(const std::string& url, const std::string& body, const char* type) {
    return retried([&] {
      const HubTarget target = hub_target(url);
      httplib::Headers headers = {{"User-Agent", "r1"}};
      if (type == kLfs) headers.emplace("Accept", kLfs);
      add_hub_token(headers, target, options_);
      return reply_of(hub_connection(target, options_)->Post(target.rest, headers, body, type));
    });
  }

  // Bytes [from, from + size) of the file; no token goes along.
  Reply put(const Upload& u, const std::string& url, std::uint64_t from, std::uint64_t size, HubProgress shown) {
    return retried([&] {
      const HubTarget target = hub_target(url);
      std::ifstream in(u.file->file, std::ios::binary);
      std::vector<char> piece(1 << 20);
      const auto provide = [&](std::size_t offset, std::size_t length, httplib::DataSink& sink) {
        if (stop_requested()) return false;
        in.seekg(static_cast<std::streamoff>(from + offset));
        in.read(piece.data(), static_cast<std::streamsize>(std::min(length, piece.size())));
        if (in.gcount() <= 0) return false;
        if (progress_) shown.bytes = from + offset + static_cast<std::uint64_t>(in.gcount()), progress_(shown);
        return sink.write(piece.data(), static_cast<std::size_t>(in.gcount()));
      };
      return reply_of(hub_connection(target, options_)->Put(target.rest, {{"User-Agent", "r1"}}, size, provide, "application/octet-stream"));
    });
  }

  void send(const Upload& u, const Json& action, const HubProgress& shown) {
    const std::string href = action.value("href", "");
    const Json header = action.value("header", Json::object());
    if (!header.contains("chunk_size")) {
      expect_stored(put(u, href, 0, u.size, shown), u);
      return;
    }
    const Json& given = header["chunk_size"];
    const std::uint64_t chunk = given.is_string() ? std::strtoull(given.get<std::string>().c_str(), nullptr, 10) : given.is_number_unsigned() ? given.get<std::uint64_t>() : 0;
    if (chunk == 0) throw IoError(message(options_.endpoint, " gives no size of the parts of ", u.file->path));
    Json parts = Json::array();
    for (std::uint64_t from = 0; from < u.size; from += chunk) {
      const std::string number = std::to_string(parts.size() + 1);
      // The hub writes the numbers with zeros in front or without.
      const auto part = std::find_if(header.items().begin(), header.items().end(), [&](const auto& item) {
        const std::string& key = item.key();
        const std::size_t digits = key.find_first_not_of('0');
        return digits != std::string::npos && key.substr(digits) == number && item.value().is_string();
      });
      if (part == header.items().end()) throw IoError(message(options_.endpoint, " gives no address for part ", number, " of ", u.file->path));
      const Reply stored = put(u, part.value(), from, std::min(chunk, u.size - from), shown);
      expect_stored(stored, u);
      if (stored.etag.empty()) throw IoError(message(u.file->path, ": the storage gives no tag of part ", number));
      parts.push_back({{"partNumber", parts.size() + 1}, {"etag", stored.etag}});
    }
    expect(post(href, Json{{"oid", u.sha256}, {"parts", parts}}.dump(), kLfs), message("joining the parts of ", u.file->path));
  }

  void expect_stored(const Reply& reply, const Upload& u) const {
    if (reply.status >= 200 && reply.status < 300) return;
    throw IoError(message(u.file->path, " could not be stored (", reply.status == 0 ? reply.error : message("HTTP ", reply.status, ": ", reply.body.substr(0, 200)),
                          "); give the command again: what has arrived is not sent again"));
  }

  Json expect(const Reply& reply, const std::string& what) const {
    if (reply.status >= 200 && reply.status < 300) {
      Json j = Json::parse(reply.body, nullptr, false);
      return j.is_object() ? j : Json::object();
    }
    const Json j = Json::parse(reply.body, nullptr, false);
    const std::string why = j.is_object() && j.contains("error") && j["error"].is_string() ? j["error"].get<std::string>() : reply.body.substr(0, 200);
    const std::string where = message(id_, ": ", what, " at ", options_.endpoint);
    if (reply.status == 0) throw IoError(message(where, " failed (", reply.error, "); give the command again"));
    if (reply.status == 401 || reply.status == 403)
      throw ConfigError(message(where, " is not allowed (HTTP ", reply.status, why.empty() ? "" : ": " + why, "): HF_TOKEN must be a token with the right to write there"));
    if (reply.status == 404) throw ConfigError(message(where, ": not found", why.empty() ? "" : " (" + why + ")", "; is revision ", push_.revision, " a branch of it?"));
    if (reply.status >= 300 && reply.status < 500 && reply.status != 408 && reply.status != 429) throw ConfigError(message(where, " was refused (HTTP ", reply.status, "): ", why));
    throw IoError(message(where, " failed (HTTP ", reply.status, " after ", options_.retries, " retries); try again later"));
  }

  HubOptions& options_;
  const std::string& id_;
  const PushOptions& push_;
  const std::function<void(const HubProgress&)>& progress_;
};

}  // namespace

PushResult push_to_hub(HubOptions options, const std::string& id, const std::vector<PushFile>& files, const PushOptions& push,
                       const std::function<void(const HubProgress&)>& progress) {
  check_hub_endpoint(options);
  if (options.offline) throw ConfigError("HF_HUB_OFFLINE is set: nothing is pushed");
  if (options.token.empty()) throw ConfigError(message("pushing to ", options.endpoint, " needs a token with the right to write: set HF_TOKEN"));
  std::vector<Upload> uploads;
  for (const PushFile& file : files) uploads.push_back({&file, fs::file_size(file.file), false, false, ""});
  Push work(options, id, push, progress);
  PushResult result;
  work.make_repository();
  work.ask_modes(uploads);
  work.send_large(uploads, result);
  throw_if_stopped();
  work.commit(uploads, result);
  return result;
}

}  // namespace r1
