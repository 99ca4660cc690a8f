"""Ceiling probe: GFLOP/s of LibTorch's at::linear on this CPU at the shapes of SmolLM2-135M. One JSON line a shape.

`plain` is at::linear; `prepacked` (bf16) reorders the weight once and calls the mkldnn pointwise linear.
"""

import argparse
import time

import common


def seconds_per_call(fn, budget, rounds=5):
    """(best wall seconds, best processor seconds) of a call over `rounds` rounds of about budget/rounds seconds."""
    fn()
    start = time.perf_counter()
    fn()
    calls = max(1, int(budget / rounds / max(time.perf_counter() - start, 1e-6)))
    wall, cpu = [], []
    for _ in range(rounds):
        marks = time.perf_counter(), time.process_time()
        for _ in range(calls):
            fn()
        wall.append((time.perf_counter() - marks[0]) / calls)
        cpu.append((time.process_time() - marks[1]) / calls)
    return min(wall), min(cpu)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default="1,8,32,64,512")
    parser.add_argument("--shapes", default="576x1536,1536x576,576x49152", help="KxN, y[M,N] = x[M,K] W[N,K]^T")
    parser.add_argument("--dtypes", default="bfloat16,float32")
    parser.add_argument("--threads", default="2,1")
    parser.add_argument("--budget", type=float, default=0.5, help="seconds a measurement")
    args = parser.parse_args()
    try:
        import torch
    except ImportError as error:
        common.record("linear_probe", skipped=str(error))
        return
    torch.manual_seed(0)
    for threads in (int(t) for t in args.threads.split(",")):
        torch.set_num_threads(threads)
        for dtype in args.dtypes.split(","):
            for shape in args.shapes.split(","):
                k, n = (int(v) for v in shape.split("x"))
                w = torch.randn(n, k).to(getattr(torch, dtype))
                for m in (int(v) for v in args.rows.split(",")):
                    x = torch.randn(m, k).to(w.dtype)
                    flops, load, others = 2.0 * m * n * k, common.load_average(), common.OthersMeter()
                    calls = {"plain": lambda: torch.nn.functional.linear(x, w)}
                    if dtype == "bfloat16":
                        packed = torch.ops.mkldnn._reorder_linear_weight(w, m)
                        calls["prepacked"] = lambda: torch.ops.mkldnn._linear_pointwise(
                            x, packed, None, "none", [], ""
                        )
                    row = {}
                    with torch.no_grad():
                        for name, fn in calls.items():
                            wall, cpu = seconds_per_call(fn, args.budget)
                            row.update(
                                {
                                    f"{name}_us": round(wall * 1e6, 1),
                                    f"{name}_gflops": round(flops / wall / 1e9, 1),
                                    f"{name}_gflops_per_cpu_second": round(flops / cpu / 1e9, 1),
                                }
                            )
                    common.record(
                        "linear_probe",
                        dtype=dtype,
                        m=m,
                        k=k,
                        n=n,
                        threads=threads,
                        **row,
                        load_before=load,
                        others_cores=others.cores(),
                        versions=common.versions("torch"),
                    )


if __name__ == "__main__":
    main()
