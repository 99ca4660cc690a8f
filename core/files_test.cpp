#include "core/files.h"

#include <cerrno>
#include <fstream>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/error.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

int entries(const fs::path& dir) {
  return static_cast<int>(std::distance(fs::directory_iterator(dir), fs::directory_iterator()));
}

// No syncs at all while it lives.
struct NoSync {
  NoSync() {
    set_file_fault_hook([](FileOp op, const fs::path&) { return op == FileOp::kSync ? kSkipSync : 0; });
  }
  ~NoSync() { set_file_fault_hook({}); }
};

// Counts operations and fails the one with the given number.
struct FailAt {
  int countdown;
  explicit FailAt(int number, int code = ENOSPC) : countdown(number) {
    set_file_fault_hook([this, code](FileOp op, const fs::path&) {
      return countdown-- == 0 ? code : op == FileOp::kSync ? kSkipSync : 0;
    });
  }
  ~FailAt() { set_file_fault_hook({}); }
  bool reached() const { return countdown < 0; }
};

TEST_CASE("write_file_atomic writes and replaces; binary content survives") {
  const test::TempDir dir;
  const std::string bytes("a\0b\r\n\xff", 6);
  write_file_atomic(dir / "f", "first");
  write_file_atomic(dir / "f", bytes);
  CHECK(read_file(dir / "f") == bytes);
  write_file_atomic(dir / "f", "");
  CHECK(read_file(dir / "f").empty());
  CHECK(entries(dir.path()) == 1);
  const std::string large(3000000, 'x');
  write_file_atomic(dir / "f", large);
  CHECK(read_file(dir / "f") == large);
}

TEST_CASE("new files get the mode that the umask says, not a private one") {
  const test::TempDir dir;
  const mode_t old = umask(022);
  write_file_atomic(dir / "f", "x");
  umask(old);
  CHECK((fs::status(dir / "f").permissions() & fs::perms::mask) == fs::perms(0644));
}

TEST_CASE("whichever operation of an atomic write fails, the old file stays whole and nothing is left over") {
  const test::TempDir dir;
  write_file_atomic(dir / "f", "old");
  int failures = 0;
  for (int at = 0;; ++at, ++failures) {
    const FailAt fault(at);
    try {
      write_file_atomic(dir / "f", "new content");
    } catch (const IoError& e) {
      CHECK(std::string(e.what()).find("free some space") != std::string::npos);
    }
    if (!fault.reached()) break;
    const std::string now = read_file(dir / "f");
    // After the rename only the folder's sync can fail: then the new content is there, whole.
    CHECK((now == "old" || now == "new content"));
    if (now == "new content") write_file_atomic(dir / "f", "old");
    CHECK(entries(dir.path()) == 1);
  }
  CHECK(failures == 5);  // create, write, sync, rename, sync of the folder
  CHECK(read_file(dir / "f") == "new content");
}

void make_checkpoint(const fs::path& target, const std::string& content) {
  AtomicDirectory folder(target);
  write_file_atomic(folder.path() / "weights", content);
  make_directories(folder.path() / "state");
  write_file_atomic(folder.path() / "state" / "step", content);
  folder.commit();
}

TEST_CASE("an atomic folder is complete or absent, whichever operation fails") {
  for (const bool replace : {false, true}) {
    const test::TempDir dir;
    int failures = 0;
    for (int at = 0;; ++at, ++failures) {
      fs::remove_all(dir / "step");
      if (replace) {
        const NoSync fast;
        make_checkpoint(dir / "step", "old");
      }
      const FailAt fault(at);
      try {
        make_checkpoint(dir / "step", "new");
      } catch (const IoError&) {
      }
      if (!fault.reached()) break;
      if (fs::exists(dir / "step")) {
        const std::string content = read_file(dir / "step/weights");
        CHECK((content == "new" || (replace && content == "old")));
        CHECK(read_file(dir / "step/state/step") == content);
      } else {
        CHECK_FALSE(replace);
      }
      CHECK(entries(dir.path()) == (fs::exists(dir / "step") ? 1 : 0));
    }
    CHECK(failures > 12);
    CHECK(read_file(dir / "step/state/step") == "new");
  }
}

TEST_CASE("a process killed at any operation leaves the old or the new folder, and its leftovers can be removed") {
  const test::TempDir dir;
  bool finished = false;
  for (int at = 0; !finished; ++at) {
    fs::remove_all(dir / "step");
    {
      const NoSync fast;
      make_checkpoint(dir / "step", "old");
    }
    const pid_t child = fork();
    if (child == 0) {
      set_file_fault_hook([n = at](FileOp op, const fs::path&) mutable {
        if (n-- == 0) _exit(9);
        return op == FileOp::kSync ? kSkipSync : 0;
      });
      make_checkpoint(dir / "step", "new");
      _exit(0);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    finished = WEXITSTATUS(status) == 0;
    const std::string content = read_file(dir / "step/weights");
    CHECK((content == "new" || content == "old"));
    CHECK(read_file(dir / "step/state/step") == content);
    remove_temporaries(dir.path());
    CHECK(entries(dir.path()) == 1);
  }
  CHECK(read_file(dir / "step/weights") == "new");
}

TEST_CASE("replace_symlink swaps in one step") {
  const test::TempDir dir;
  replace_symlink(dir / "latest", "step_1");
  replace_symlink(dir / "latest", "step_2");
  CHECK(fs::read_symlink(dir / "latest") == "step_2");
  {
    const FailAt fault(1);
    CHECK_THROWS_AS(replace_symlink(dir / "latest", "step_3"), IoError);
  }
  CHECK(fs::read_symlink(dir / "latest") == "step_2");
  CHECK(entries(dir.path()) == 1);
}

TEST_CASE("errors name the path, the cause and a remedy") {
  const test::TempDir dir;
  const auto text_of = [](auto&& action) -> std::string {
    try {
      action();
    } catch (const IoError& e) {
      return e.what();
    }
    return "no error";
  };
  CHECK(text_of([&] { read_file(dir / "absent"); }) ==
        "cannot open " + (dir / "absent").string() + ": No such file or directory; check the spelling and that the folder exists");
  CHECK(text_of([&] { read_file(dir.path()); }).find("Is a directory; that is a folder, give a file") != std::string::npos);
  CHECK(text_of([&] { write_file_atomic(dir / "no/f", "x"); }).find("No such file or directory") != std::string::npos);
  write_file_atomic(dir / "file", "x");
  CHECK(text_of([&] { make_directories(dir / "file/below"); }).find("a part of that path is a file") != std::string::npos);
  CHECK(text_of([&] { make_directories(dir / "file"); }).find("a part of that path is a file") != std::string::npos);
  if (geteuid() != 0) {
    fs::permissions(dir.path(), fs::perms::owner_read | fs::perms::owner_exec);
    CHECK(text_of([&] { write_file_atomic(dir / "f", "x"); }).find("you lack the permission") != std::string::npos);
    fs::permissions(dir.path(), fs::perms::owner_all);
  }
}

TEST_CASE("a really full device and a real file size limit") {
  if (fs::exists("/dev/full")) {
    File full("/dev/full", File::Mode::kAppend);
    CHECK_THROWS_WITH_AS(full.write("x"), doctest::Contains("No space left on device; free some space"), IoError);
  }
  const test::TempDir dir;
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1000, 1000};
    setrlimit(RLIMIT_FSIZE, &limit);
    try {
      write_file_atomic(dir / "f", std::string(5000, 'x'));
    } catch (const IoError& e) {
      _exit(std::string(e.what()).find("ulimit -f") != std::string::npos ? 3 : 4);
    }
    _exit(5);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WEXITSTATUS(status) == 3);
  CHECK(entries(dir.path()) == 0);
}

TEST_CASE("File appends, truncates and reports its size") {
  const test::TempDir dir;
  {
    File file(dir / "log", File::Mode::kAppend);
    file.write("12345");
    file.sync();
    CHECK(file.size() == 5);
    file.truncate(3);
    file.write("x");
    file.close();
  }
  CHECK(read_file(dir / "log") == "123x");
  CHECK_THROWS_AS(File(dir / "log", File::Mode::kCreateNew), IoError);
}

TEST_CASE("nothing is added behind a half-written record") {
  const test::TempDir dir;
  File file(dir / "f", File::Mode::kAppend);
  file.write("one\n");
  set_file_fault_hook([](FileOp op, const fs::path&) { return op == FileOp::kWrite ? ENOSPC : 0; });
  CHECK_THROWS_AS(file.write("two\n"), IoError);
  set_file_fault_hook({});
  CHECK_THROWS_WITH_AS(file.write("three\n"), doctest::Contains("cannot write on after a failed write to"), IoError);
  CHECK(read_file(dir / "f") == "one\ntw");
  file.truncate(4);
  file.write("three\n");
  CHECK(read_file(dir / "f") == "one\nthree\n");
}

TEST_CASE("free_bytes answers for a path that does not exist yet") {
  const test::TempDir dir;
  CHECK(free_bytes(dir / "a/b/c") > 0);
}

}  // namespace
}  // namespace r1
