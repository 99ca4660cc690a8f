# A worker process that calls one reward function with TRL's signature. Started by the program as `python3 -c ...`; it
# speaks JSON lines with the program on what were its stdin and stdout, which the user's code never sees.
import importlib
import importlib.util
import inspect
import json
import math
import os
import sys
import traceback


class Refused(Exception):
    """Something the user's code must not do; its text needs no traceback."""


def take_over_pipes():
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)  # what the user's code prints goes where its errors go: into the log
    return requests, replies


def user_traceback(error):
    """The traceback without this file's own frames."""
    parts = traceback.TracebackException(type(error), error, error.__traceback__)
    seen = parts
    while seen is not None:
        seen.stack = traceback.StackSummary.from_list([f for f in seen.stack if f.filename != "<string>"])
        seen = seen.__cause__ or seen.__context__
    return "".join(parts.format()).rstrip("\n")


def failure(error, where):
    if isinstance(error, Refused):
        return {"error": str(error)}
    what = "called sys.exit" if isinstance(error, SystemExit) else "raised"
    return {"error": f"{where} {what} {type(error).__name__}: {error}", "traceback": user_traceback(error)}


def load_module(source):
    if not source.endswith(".py"):
        return importlib.import_module(source)
    path = os.path.abspath(source)
    sys.path.insert(0, os.path.dirname(path))  # so that it can import its neighbours
    name = os.path.splitext(os.path.basename(path))[0]
    if name in sys.modules or name in getattr(sys, "stdlib_module_names", ()):
        name = "r1_user_" + name
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def find_function(module, source, name, arguments):
    found = module
    for part in name.split("."):
        if not hasattr(found, part):
            names = [n for n, v in vars(found).items() if callable(v) and not n.startswith("_")
                     and getattr(v, "__module__", None) == module.__name__]
            import difflib
            near = difflib.get_close_matches(part, names, 1)
            raise Refused(f"{source} has no '{name}'" + (f"; did you mean '{near[0]}'?" if near else "")
                          + (f" It has: {', '.join(sorted(names)[:20])}" if names else ""))
        found = getattr(found, part)
    if inspect.isclass(found):
        return found(**arguments), {}  # a class whose objects are called: made once
    if not callable(found):
        raise Refused(f"{source}: '{name}' is {type(found).__name__}, not a function")
    if inspect.isgeneratorfunction(found):
        raise Refused(f"{source}: '{name}' yields; it must return a list with one number or None for each completion")
    return found, arguments


# What TRL does not pass as columns, and what only functions get that ask for it by name.
DROPPED = ("prompt", "completion", "completion_ids")
TAKEN = ("prompts", "completions", "completion_ids", "log_extra", "log_metric", "trainer_state")
OURS = ("prompt_id", "task", "reference", "stop", "messages", "log_steps")


class Reward:
    def __init__(self, hello):
        self.source, self.name = hello["source"], hello["function"]
        self.conversational = hello["conversational"]
        self.function, self.arguments = find_function(load_module(self.source), self.source, self.name,
                                                      hello["arguments"])
        parameters = inspect.signature(self.function).parameters.values()
        if any(p.kind is p.POSITIONAL_ONLY for p in parameters):
            raise Refused(f"'{self.name}' has positional-only parameters; rewards are called with keywords")
        self.takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters)
        self.named = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        required = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
                    and p.default is p.empty}
        if "trainer_state" in required:
            raise Refused(f"'{self.name}' needs trainer_state, which there is none of here; give it a default")
        unknown = [a for a in self.arguments if a not in self.named and not self.takes_all]
        if unknown:
            raise Refused(f"'{self.name}' has no parameter '{unknown[0]}', which `arguments` sets")
        self.required = sorted(required - set(TAKEN) - set(OURS) - set(self.arguments))
        self.loop = None

    def prompt_and_completions(self, request):
        columns = request["columns"]
        own = columns.get("prompt", columns.get("messages"))
        messages = isinstance(own, list) and bool(own) and all(isinstance(m, dict) and "role" in m for m in own)
        texts = [c["text"] for c in request["completions"]]
        if self.conversational == "true" or (self.conversational == "auto" and messages):
            prompt = own if messages else request["messages"]
            return prompt, [[{"role": "assistant", "content": t}] for t in texts]
        return own if isinstance(own, str) else request["prompt"], texts

    def keywords(self, request, log_extra, log_metric, log_steps):
        columns, count = request["columns"], len(request["completions"])
        for name in TAKEN:
            if name in columns and name not in DROPPED:
                raise Refused(f"the data has a column '{name}', which is a parameter of every reward; rename it")
        prompt, completions = self.prompt_and_completions(request)
        offered = {name: [value] * count for name, value in columns.items() if name not in DROPPED}
        offered.update(prompts=[prompt] * count, completions=completions,
                       completion_ids=[c["token_ids"] for c in request["completions"]],
                       log_extra=log_extra, log_metric=log_metric)
        ours = dict(prompt_id=[request["prompt_id"]] * count, task=[request["task"]] * count,
                    reference=[request["reference"]] * count, stop=[c["stop"] for c in request["completions"]],
                    messages=[request["messages"]] * count, log_steps=log_steps)
        for name, value in ours.items():
            if name in self.named:
                offered.setdefault(name, value)
        offered.update(self.arguments)
        return offered if self.takes_all else {k: v for k, v in offered.items() if k in self.named}

    def call(self, keywords):
        result = self.function(**keywords)
        if not inspect.isawaitable(result):
            return result
        import asyncio  # costs a third of a worker's start, and few need it
        if self.loop is None:  # one for the worker's life: sessions of clients stay open between calls
            self.loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self.loop)

        async def wait():
            return await result

        return self.loop.run_until_complete(wait())

    def rewards(self, result, count):
        if hasattr(result, "tolist"):
            result = result.tolist()  # arrays and tensors
        if not isinstance(result, (list, tuple)):
            raise Refused(f"'{self.name}' returned {shown(result)}; it must return a list with one number or None "
                          "for each completion")
        if len(result) != count:
            raise Refused(f"'{self.name}' returned {len(result)} rewards for {count} completions; it must return "
                          "exactly one for each, in their order")
        return [number(value, f"sample {i}: the reward is", "or None to abstain") for i, value in enumerate(result)]

    def answer(self, request):
        count = len(request["completions"])
        columns, metrics, steps = {}, {}, []

        def log_extra(column, values):
            columns.setdefault(column, []).extend(values)

        def log_metric(name, value):
            metrics.setdefault(name, []).append(number(value, f"metric '{name}' is", "", none=False))

        def log_steps(values):
            for one in values:
                what = f"sample {len(steps)}: a step reward is"
                steps.append(None if one is None else [[int(token), number(value, what, "", none=False)] for token, value in one])

        result = self.call(self.keywords(request, log_extra, log_metric, log_steps))
        reply = {"rewards": self.rewards(result, count)}
        if steps:
            if len(steps) != count:
                raise Refused(f"log_steps(...) got {len(steps)} lists for {count} completions")
            reply["steps"] = steps
        for name, values in columns.items():
            if len(values) != count:
                raise Refused(f"log_extra('{name}', ...) got {len(values)} values for {count} completions")
        reply["columns"] = {str(n): [v if isinstance(v, str) else plain(v) for v in vs] for n, vs in columns.items()}
        reply["metrics"] = {str(n): math.fsum(vs) / len(vs) for n, vs in metrics.items()}
        return reply


def shown(value):
    text = repr(value)
    return f"{text if len(text) <= 80 else text[:80] + '...'} ({type(value).__name__})"


def number(value, what, remedy, none=True):
    if value is None and none:
        return None
    number = math.nan
    if not isinstance(value, (str, bytes)):
        try:
            number = float(value)  # bool, int, numbers of numpy and torch
        except (TypeError, ValueError, OverflowError, RuntimeError):
            pass
    if not math.isfinite(number):
        raise Refused(f"{what} {shown(value)}; it must be a finite number{', ' + remedy if remedy else ''}")
    return number


def plain(value):
    """For a table: JSON where it is JSON, else what print shows."""
    try:
        json.dumps(value, allow_nan=False)
        return value
    except (TypeError, ValueError):
        return str(value)


def main():
    requests, replies = take_over_pipes()

    def send(reply):
        replies.write(json.dumps(reply, allow_nan=False).encode() + b"\n")
        replies.flush()

    hello = json.loads(requests.readline())
    try:
        reward = Reward(hello)
    except BaseException as error:  # also SystemExit of a module's own command line
        send(failure(error, f"{hello['source']}: loading '{hello['function']}'"))
        return
    send({"ready": True, "required": reward.required})
    for line in requests:
        request = json.loads(line)
        try:
            reply = reward.answer(request)
        except BaseException as error:
            reply = failure(error, f"'{reward.name}'")
        sys.stdout.flush()
        sys.stderr.flush()
        send({"id": request["id"], **reply})


main()
