// The text of python_worker.py, so that the program needs no file beside it.
#pragma once

namespace r1 {

extern const char* const kPythonWorker;

}  // namespace r1
