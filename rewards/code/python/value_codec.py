"""Python values as JSON text, by value and exact type, for two processes that do not trust each other.

A message is [table, root]. An element is null, true, false, a text, a number, or [i] = entry i of the table; entries are
["tag", [elements], ...]. Mutable containers may refer to any entry (so cycles work), others to earlier ones only. No
recursion: depth costs no stack. Nothing that is read is ever executed; text that breaks a rule raises ValueError.
What has no value (instances of the program's own classes, functions, modules) travels as a handle: a number that means
something to the side that gave it out, and equals nothing else.
"""
import builtins, collections, decimal, fractions, json, os

SMALL = 2**63
SHELLS = {list: "list", set: "set", dict: "dict", bytearray: "bytearray", collections.OrderedDict: "odict",
          collections.Counter: "counter", collections.deque: "deque"}
BUILT = {tuple: "tuple", frozenset: "frozenset", bytes: "bytes", complex: "complex", range: "range",
         decimal.Decimal: "decimal", fractions.Fraction: "fraction", slice: "slice"}
# Builtins that may travel by name: types, and functions that neither reach out nor run text.
NAMED = ["bool bytearray bytes complex dict float frozenset int list object range set slice str tuple type",
         "abs all any bin chr divmod enumerate filter format hash hex isinstance issubclass iter len map max min oct ord pow",
         "print repr reversed round sorted sum zip"]
NAMED = {n: getattr(builtins, n) for line in NAMED for n in line.split()}
NAMES = {v: n for n, v in NAMED.items()}
BASES = [int, float, str, collections.OrderedDict, collections.Counter, dict, list, tuple, set, frozenset, bytes, bytearray,
         collections.deque]


def plain(v):
    """A value of a subclass that compares as its base does is its base's value; one with its own == is not."""
    t = type(v)
    if t in (int, float, str, bool, list, tuple, dict) or v is None or t in SHELLS or t in BUILT:
        return v
    try:
        for base in BASES:
            if issubclass(t, base) and t.__eq__ is base.__eq__:
                return base.__new__(base, base.__str__(v)) if base is str else base(v)
        if t.__module__ == "numpy" and hasattr(v, "item") and not hasattr(v, "__len__"):
            return v.item()
    except Exception:
        pass
    return v


class Codec:
    """classes: name -> class whose instances are passed by value, attribute by attribute, known to both sides.
    give(v) -> number of a handle for v; take(number, type name) -> what such a number stands for."""

    def __init__(self, classes, give, take):
        self.classes, self.give, self.take = classes, give, take

    def apart(self, v):
        """-> tag, children, further fields, whether it is a shell that is filled later."""
        t = type(v)
        tag = SHELLS.get(t)
        if tag in ("list", "set"): return tag, list(v), [], True
        if tag in ("dict", "odict", "counter"): return tag, [x for pair in v.items() for x in pair], [], True
        if tag == "deque": return tag, list(v), [v.maxlen], True
        if tag == "bytearray": return tag, [], [v.hex()], True
        tag = BUILT.get(t)
        if tag in ("tuple", "frozenset"): return tag, list(v), [], False
        if tag == "bytes": return tag, [], [v.hex()], False
        if tag == "complex": return tag, [], [v.real, v.imag], False
        if tag in ("range", "slice"): return tag, [v.start, v.stop, v.step], [], False
        if tag == "decimal": return tag, [], [str(v)], False
        if tag == "fraction": return tag, [v.numerator, v.denominator], [], False
        if t is int: return "int", [], [hex(v)], False
        if t in (type, type(len)) and v in NAMES: return "builtin", [], [NAMES[v]], False
        known = self.classes.get(t.__name__)
        if known is t and hasattr(v, "__dict__"):
            return "object", [x for pair in vars(v).items() for x in pair], [t.__name__], True
        return "handle", [], [self.give(v), t.__name__], False

    def dump(self, root):
        table, where, keep, fills = [], {}, [], []

        def inline(v):
            t = type(v)
            return v is None or t is bool or t is str or t is float or (t is int and -SMALL < v < SMALL)

        def element(v):
            return v if inline(v) else [where[id(v)]]

        normal = {}

        def norm(v):
            if inline(v): return v
            if id(v) not in normal:
                keep.append(v)
                normal[id(v)] = plain(v)
            return normal[id(v)]

        root = norm(root)
        todo = [(root, None)]
        while todo:
            v, ready = todo.pop()
            if inline(v) or id(v) in where: continue
            if ready is None:
                tag, parts, more, shell = self.apart(v)
                keep.append(v)
                parts = [norm(p) for p in parts]
                if shell:
                    where[id(v)] = len(table)
                    table.append([tag, None, *more])
                    fills.append((len(table) - 1, parts))
                else:
                    todo.append((v, (tag, parts, more)))
                todo.extend((p, None) for p in reversed(parts))
            else:
                tag, parts, more = ready
                where[id(v)] = len(table)
                table.append([tag, [element(p) for p in parts], *more])
        for i, parts in fills: table[i][1] = [element(p) for p in parts]
        return json.dumps([table, element(root)], separators=(",", ":"))

    def load(self, text):
        try:
            table, root = json.loads(text)
            return self.build(table, root)
        except RecursionError as e:
            raise ValueError("nested too deeply") from e
        except (TypeError, LookupError, AttributeError, ArithmeticError) as e:
            raise ValueError(f"no valid message: {e}") from e

    def build(self, table, root):
        made = []

        def element(e):
            if type(e) is list:
                (i,) = e
                if type(i) is not int or i < 0: raise ValueError("a reference is a whole number")
                return made[i]
            if type(e) is dict: raise ValueError("an object is no element")
            return e

        def pairs(parts):
            parts = [element(p) for p in parts]
            return list(zip(parts[::2], parts[1::2], strict=True))

        for entry in table: made.append(self.shell(entry, element))
        for entry, v in zip(table, made):
            tag, parts = entry[0], entry[1]
            if tag in ("list", "deque"): v.extend([element(p) for p in parts])
            elif tag == "set": v.update([element(p) for p in parts])
            elif tag in ("dict", "odict"): v.update(pairs(parts))
            elif tag == "counter": dict.update(v, pairs(parts))  # its own update() counts
            elif tag == "object":
                for name, value in pairs(parts):
                    if type(name) is not str or name.startswith("__"): raise ValueError("an attribute's name")
                    vars(v)[name] = value
        return element(root)

    def shell(self, entry, element):
        tag, parts, *more = entry
        if tag == "list": return []
        if tag == "set": return set()
        if tag == "dict": return {}
        if tag == "odict": return collections.OrderedDict()
        if tag == "counter": return collections.Counter()
        if tag == "deque": return collections.deque(maxlen=more[0])
        if tag == "bytearray": return bytearray.fromhex(more[0])
        if tag == "tuple": return tuple([element(p) for p in parts])
        if tag == "frozenset": return frozenset([element(p) for p in parts])
        if tag == "bytes": return bytes.fromhex(more[0])
        if tag == "complex": return complex(float(more[0]), float(more[1]))
        if tag == "range": return range(*[element(p) for p in parts])
        if tag == "slice": return slice(*[element(p) for p in parts])
        if tag == "decimal": return decimal.Decimal(more[0])
        if tag == "fraction": return fractions.Fraction(*[element(p) for p in parts])
        if tag == "int": return int(more[0], 16)
        if tag == "builtin": return NAMED[more[0]]
        if tag == "object":
            cls = self.classes[more[0]]
            return cls.__new__(cls)
        if tag == "handle":
            if type(more[0]) is not int or type(more[1]) is not str: raise ValueError("a handle is a number and a name")
            return self.take(more[0], more[1])
        raise ValueError("unknown tag")


def read_exactly(fd, n):
    parts = []
    while n:
        part = os.read(fd, min(n, 1 << 20))
        if not part: raise EOFError
        parts.append(part)
        n -= len(part)
    return b"".join(parts)


def send(fd, text):
    data = text.encode("utf-8", "surrogatepass")
    data = len(data).to_bytes(8, "big") + data
    while data: data = data[os.write(fd, data):]


def receive(fd, most):
    """The next message's text; ValueError if it is longer than `most` bytes."""
    n = int.from_bytes(read_exactly(fd, 8), "big")
    if n > most: raise ValueError(f"a message of {n} bytes, at most {most} are read")
    return read_exactly(fd, n).decode("utf-8", "surrogatepass")
