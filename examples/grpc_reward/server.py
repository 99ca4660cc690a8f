#!/usr/bin/env python3
"""A reward service: python3 server.py [--port 50062]. Needs grpcio and grpcio-tools (pip install -r requirements.txt)."""
import argparse
import collections
import concurrent.futures
import os
import signal
import sys
import threading
import traceback

import grpc

# Compiles proto/rewards.proto on the way in; `python -m grpc_tools.protoc` would write the same as files.
sys.path.insert(0, os.environ.get("R1_PROTO_DIR", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "proto")))
pb, services = grpc.protos_and_services("rewards.proto")

MAX_MESSAGE = 64 << 20  # gRPC's own limit of 4 MiB is too little for a group of long completions


def contains_gold(prompt, completions):
    """1 where the gold answer stands in the completion's last line; abstains without a gold answer."""
    for completion in completions:
        if not prompt.reference:
            yield pb.Result(verdict=pb.VERDICT_ABSTAIN, detail="no gold answer")
            continue
        lines = completion.text.strip().splitlines()
        right = bool(lines) and prompt.reference.lower() in lines[-1].lower()
        yield pb.Result(value=float(right), verdict=pb.VERDICT_OK if right else pb.VERDICT_WRONG,
                        columns={"last_line": lines[-1][:200] if lines else ""})


def shortest(prompt, completions):
    """1 for the shortest completion of the group."""
    least = min((len(c.text) for c in completions), default=0)
    for completion in completions:
        yield pb.Result(value=float(len(completion.text) == least))


REWARDS = {"contains_gold": (contains_gold, True), "shortest": (shortest, False)}


class RewardService(services.RewardServiceServicer):
    def __init__(self):
        self.replies = collections.OrderedDict()  # by request id: a repeated request runs no reward twice
        self.lock = threading.Lock()

    def Describe(self, request, context):
        infos = [pb.RewardInfo(name=name, summary=function.__doc__.split("\n")[0], judges_answer=judges)
                 for name, (function, judges) in REWARDS.items()]
        return pb.DescribeReply(protocol=1, server="grpc_reward example", rewards=infos)

    def Score(self, request, context):
        if request.reward not in REWARDS:
            context.abort(grpc.StatusCode.NOT_FOUND, f"there is no reward '{request.reward}'; served: {', '.join(REWARDS)}")
        key = (request.reward, request.request_id)
        with self.lock:
            future = self.replies.get(key)
            mine = future is None
            if mine:
                future = self.replies[key] = concurrent.futures.Future()
                while len(self.replies) > 1000:
                    self.replies.popitem(last=False)
        if mine:
            future.set_result(self.score(request))
        return future.result()

    def score(self, request):
        try:
            results = list(REWARDS[request.reward][0](request.prompt, request.completions))
            return pb.ScoreReply(request_id=request.request_id, results=results)
        except Exception as error:  # the user of the run sees it
            return pb.ScoreReply(request_id=request.request_id, error=f"{request.reward} raised {type(error).__name__}: {error}",
                                 traceback=traceback.format_exc())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=50062, help="0: any free one")
    arguments = parser.parse_args()
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(16),
                         options=[("grpc.max_receive_message_length", MAX_MESSAGE), ("grpc.max_send_message_length", MAX_MESSAGE)])
    services.add_RewardServiceServicer_to_server(RewardService(), server)
    # The standard health service, by hand: bytes of HealthCheckResponse(status=SERVING).
    health = grpc.unary_unary_rpc_method_handler(lambda request, context: b"\x08\x01")
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": health})])
    port = server.add_insecure_port(f"127.0.0.1:{arguments.port}")  # for other machines: add_secure_port
    server.start()
    print(f"listening on 127.0.0.1:{port}", flush=True)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()
    server.stop(grace=10).wait()  # what runs may finish


if __name__ == "__main__":
    main()
