# The interpreter that warm_pool.cpp keeps: imports what programs usually import, then waits. Every program runs in a copy
# of it, as if by `python3 -I main.py`.
import atexit, ctypes, functools, gc, importlib.machinery, io, os, sys, threading, types

# Modules of the standard library only; importing them must change nothing that a program could notice. They get no names
# here: every name would have to be taken back in every copy.
for n in ("abc array ast bisect cmath collections contextlib copy dataclasses datetime decimal enum fractions functools heapq "
          "importlib.machinery itertools json math operator random re statistics string struct textwrap threading time "
          "traceback typing").split(): __import__(n)

CONTROL, MAKER, MODULE = 3, 4, 5
module = ctypes.PyDLL(f"/proc/self/fd/{MODULE}")
module.r1_run.argtypes = [ctypes.c_char_p, ctypes.py_object]
for n in ("PYTHONSAFEPATH", "PYTHONNOUSERSITE", "LD_BIND_NOW"): os.environ.pop(n, None)
sys.path[:] = [p for p in sys.path if p]
SETTINGS = {n: (getattr(sys, n).encoding, getattr(sys, n).errors) for n in ("stdin", "stdout", "stderr")}


def fresh_streams():
    """What the interpreter makes at its start, over the descriptors that the box has put into place since."""
    for fd, n in enumerate(SETTINGS):
        encoding, errors = SETTINGS[n]
        raw = open(fd, "wb" if fd else "rb", -1, closefd=False)
        raw.raw.name = f"<{n}>"
        stream = io.TextIOWrapper(raw, encoding, errors, "\n", line_buffering=fd == 2)
        stream.mode = "w" if fd else "r"
        setattr(sys, n, stream)
        setattr(sys, "__" + n + "__", stream)


def finish(error, sys=sys, modules=sys.modules, threads=threading._shutdown, handlers=atexit._run_exitfuncs, gc=gc,
           writers=(io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)):
    """What an interpreter does at its end as far as a program can tell, without taking all its own modules apart, which
    would cost more than most programs; -> the exit status. `error` is a SystemExit or None."""
    status = getattr(error, "code", None)
    if status is None: status = 0
    elif not isinstance(status, int):
        print(status, file=sys.stderr)
        status = 1
    error = None
    for step in (threads, handlers):
        try: step()
        except BaseException: sys.excepthook(*sys.exc_info())

    flushed = True
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not getattr(stream, "closed", False): stream.flush()
        except BaseException as e:
            flushed = flushed and stream is not sys.stdout
            try: print(f"Exception ignored in: {stream!r}\n{type(e).__name__}: {e}", file=sys.stderr)
            except BaseException: pass
    main = modules.pop("__main__", None)
    del main
    sys.last_value = sys.last_traceback = None
    # A stream that only a cycle keeps is flushed by nobody if the cycle's end closes its descriptor first.
    try: streams = [o for o in gc.get_objects() if type(o) in writers]
    except BaseException: streams = []
    for stream in sorted(streams, key=lambda o: writers.index(type(o))):
        try: stream.flush()
        except BaseException: pass
    del streams
    gc.collect()
    for n in ("stdout", "stderr", "__stdout__", "__stderr__"):  # what was printed by now; and what a program put aside
        try: getattr(sys, n).flush()
        except BaseException: pass
    return status & 0xFF if flushed else 120


def begin(run=module.r1_run, finish=finish, ours=globals(), fresh_streams=fresh_streams, sys=sys, types=types, path="/w/box/main.py",
          loader=importlib.machinery.SourceFileLoader, partial=functools.partial):
    fresh_streams()
    sys.argv = ["main.py"]
    sys.orig_argv = [sys.executable, "-I", "main.py"]
    sys.dont_write_bytecode = False  # as -I has it
    main = types.ModuleType("__main__")
    main.__dict__.update(__annotations__={}, __builtins__=sys.modules["builtins"], __file__=path, __cached__=None,
                         __loader__=loader("__main__", path))
    sys.modules["__main__"] = main
    ours.clear()  # whoever climbs the frames finds nothing; but C code imports through the names of the outermost one
    ours.update(__name__="__main__", __builtins__=main.__builtins__)
    return partial(run, path.encode(), finish)


gc.collect()
gc.freeze()  # the collector must not touch, and so copy, pages that all programs share
module.r1_serve(CONTROL, MAKER)
begin()()
