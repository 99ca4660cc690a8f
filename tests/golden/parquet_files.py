"""Parquet between this program and pyarrow, pandas and datasets.
usage: parquet_files.py make FOLDER        writes theirs: NAME.parquet, and NAME.jsonl with what it must be read as
       parquet_files.py check (FILE LINES)...   reads FILE (ours) by all three and compares with the JSON lines it was made from
Seen with pyarrow 26.0.1, pandas 3.1.1, datasets 5.2.0, trl 1.16.0."""
import datetime
import decimal
import json
import sys

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = [{"id": i, "messages": [{"role": "user", "content": f"q{i} ä中"}, {"role": "assistant", "content": "<think>a</think> b"}],
         "score": i / 4, "ok": i % 2 == 0, "tags": ["x", "y"][: i % 3], "meta": {"n": i, "deep": {"t": None if i % 2 else "v"}}} for i in range(700)]


def put(folder, name, rows):
    with open(f"{folder}/{name}.jsonl", "w", encoding="utf-8") as f:
        for row in rows:
            f.write(json.dumps(row, ensure_ascii=False) + "\n")


def make(folder):
    import datasets
    import pandas
    table = pa.Table.from_pylist(ROWS)
    for name, options in {"snappy": {"compression": "snappy"}, "zstd_small_groups": {"compression": "zstd", "row_group_size": 33},
                          "gzip_v1": {"compression": "gzip", "version": "1.0"},
                          "plain": {"compression": "none", "use_dictionary": False}, "v2_pages": {"data_page_version": "2.0"}}.items():
        pq.write_table(table, f"{folder}/{name}.parquet", **options)
        put(folder, name, ROWS)
    pandas.DataFrame([{"prompt": r["messages"][0]["content"], "n": r["id"], "x": r["score"]} for r in ROWS]).to_parquet(f"{folder}/pandas.parquet")
    put(folder, "pandas", [{"prompt": r["messages"][0]["content"], "n": r["id"], "x": r["score"]} for r in ROWS])
    datasets.Dataset.from_list(ROWS).to_parquet(f"{folder}/datasets.parquet")
    put(folder, "datasets", ROWS)
    kinds = {"i8": pa.array([1, None], pa.int8()), "u64": pa.array([2**64 - 1, 0], pa.uint64()), "f32": pa.array([0.1, float("nan")], pa.float32()),
             "large": pa.array(["a", None], pa.large_string()), "category": pa.array(["k", "l"]).dictionary_encode(),
             "bytes": pa.array([b"text", b""], pa.binary()), "map": pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int64())),
             "fixed": pa.array([[1, 2], [3, 4]], pa.list_(pa.int32(), 2)), "date": pa.array([datetime.date(2026, 1, 2), None]),
             "decimal": pa.array([decimal.Decimal("1.50"), None])}
    pq.write_table(pa.table(kinds), f"{folder}/kinds.parquet")
    put(folder, "kinds", [{"i8": 1, "u64": 2**64 - 1, "f32": 0.1, "large": "a", "category": "k", "bytes": "text", "map": {"a": 1},
                           "fixed": [1, 2], "date": "2026-01-02", "decimal": "1.50"},
                          {"i8": None, "u64": 0, "f32": None, "large": None, "category": "l", "bytes": "", "map": {},
                           "fixed": [3, 4], "date": None, "decimal": None}])


def same(ours, wanted):
    """Equal but for nulls, which a column has where a row lacks the field."""
    if isinstance(wanted, dict) or isinstance(ours, dict):
        keys = set(ours or {}) | set(wanted or {})
        return all(same((ours or {}).get(k), (wanted or {}).get(k)) for k in keys)
    if isinstance(wanted, (list, tuple)):
        return ours is not None and len(ours) == len(wanted) and all(same(a, b) for a, b in zip(ours, wanted))
    return ours == wanted


def check(*paths):
    for path, lines in zip(paths[::2], paths[1::2]):
        check_one(path, lines)


def check_one(path, lines):
    import datasets
    import pandas
    wanted = [json.loads(line) for line in open(lines, encoding="utf-8")]
    read = {"pyarrow": pq.read_table(path).to_pylist(), "datasets": datasets.load_dataset("parquet", data_files=path, split="train").to_list(),
            "pandas": json.loads(pandas.read_parquet(path).to_json(orient="records", double_precision=15))}
    for name, rows in read.items():
        assert len(rows) == len(wanted), (name, len(rows), len(wanted))
        for i, (a, b) in enumerate(zip(rows, wanted)):
            assert same(a, b), (name, i, a, b)
    try:
        from trl import is_conversational
    except ImportError:
        return
    if "messages" in wanted[0]:
        assert is_conversational(read["datasets"][0]), read["datasets"][0]
        as_lines = datasets.load_dataset("json", data_files=lines, split="train")
        assert is_conversational(as_lines[0])


{"make": make, "check": check}[sys.argv[1]](*sys.argv[2:])
