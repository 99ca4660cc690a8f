// Loaded by the interpreter that warm_start.py runs in (a shared object of its own, carried inside the library as bytes).
// The interpreter waits in r1_serve(); every order makes a copy of it in fresh namespaces, whose process 1 builds the box
// and whose child becomes the program. The interpreter itself runs no submission, reads no order, and is never reused.
#include <dlfcn.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <type_traits>

#include "rewards/code/box_server.h"

namespace r1::code {
namespace {

// The interpreter's own functions; it exports them, so no Python headers are needed and any version 3.7 or newer works.
struct Object;
struct Python {
  void (*before_fork)();
  void (*after_fork_in_child)();
  Object* (*import_module)(const char*);  // borrowed, as the next
  Object* (*names_of_module)(Object*);
  Object* (*run_file)(FILE*, const char*, int, Object*, Object*, int, void*);
  Object** system_exit;
  int (*error_matches)(Object*);
  void (*fetch_error)(Object**, Object**, Object**);
  void (*normalize_error)(Object**, Object**, Object**);
  void (*print_error)(int);
  Object* (*call)(Object*, ...);
  long (*as_long)(Object*);
  void (*release)(Object*);
  Object* none;
  void (*leave_call)();  // absent in versions that have it as a macro
} python;

bool find_python() {
  const auto find = [](auto& into, const char* name) {
    into = reinterpret_cast<std::remove_reference_t<decltype(into)>>(dlsym(RTLD_DEFAULT, name));
    return into != nullptr;
  };
  (void)find(python.leave_call, "Py_LeaveRecursiveCall");
  return find(python.before_fork, "PyOS_BeforeFork") && find(python.after_fork_in_child, "PyOS_AfterFork_Child") &&
         find(python.import_module, "PyImport_AddModule") && find(python.names_of_module, "PyModule_GetDict") &&
         find(python.run_file, "PyRun_FileExFlags") && find(python.system_exit, "PyExc_SystemExit") &&
         find(python.error_matches, "PyErr_ExceptionMatches") && find(python.fetch_error, "PyErr_Fetch") &&
         find(python.normalize_error, "PyErr_NormalizeException") && find(python.print_error, "PyErr_PrintEx") &&
         find(python.call, "PyObject_CallFunctionObjArgs") && find(python.as_long, "PyLong_AsLong") &&
         find(python.release, "Py_DecRef") && find(python.none, "_Py_NoneStruct");
}

// What os.fork() does. Process 1, the parent here, never runs Python again.
pid_t fork_python() {
  python.before_fork();
  const pid_t pid = fork();
  if (pid == 0) python.after_fork_in_child();
  return pid;
}

int report_fd = -1;

}  // namespace
}  // namespace r1::code

using namespace r1::code;

// Serves until the maker closes the line or dies. Returns only in copies that are to run a Python file.
extern "C" __attribute__((visibility("default"))) void r1_serve(int control, int maker) {
  if (!find_python()) {
    (void)reply(control, -1, ENOSYS);
    _exit(1);
  }
  report_fd = serve_boxes(control, maker, true, fork_python);
}

// The program's file, as `python3 FILE` would run it; finish(SystemExit or None) -> the exit status. Never returns.
extern "C" __attribute__((visibility("default"))) void r1_run(const char* path, Object* finish) {
  constexpr int kFileInput = 257;
  FILE* file = std::fopen(path, "rbe");
  close(report_fd);  // from here on nothing but stdin, stdout and stderr
  if (!file) _exit(2);
  // Three calls lead here; the program gets as much depth of recursion as it would have by itself.
  for (int i = 0; python.leave_call && i < 3; ++i) python.leave_call();
  Object* names = python.names_of_module(python.import_module("__main__"));
  Object* result = python.run_file(file, path, kFileInput, names, names, 1, nullptr);
  bool failed = false;
  Object *type = nullptr, *error = nullptr, *trace = nullptr;
  if (result) {
    python.release(result);
  } else if (python.error_matches(*python.system_exit)) {
    python.fetch_error(&type, &error, &trace);
    python.normalize_error(&type, &error, &trace);
    if (trace) python.release(trace);
  } else {
    python.print_error(1);
    failed = true;
  }
  Object* status = python.call(finish, error ? error : python.none, nullptr);
  const long code = status ? python.as_long(status) : 1;
  std::fflush(nullptr);
  _exit(failed && code == 0 ? 1 : static_cast<int>(code));  // destructors of libraries have nothing to tell
}
