"""`r1 card` and `r1 push` against a hub of this test's own, which speaks the parts of the hub's HTTP API that an upload needs; then `r1 pull` from it.
Where the interpreter has huggingface_hub, its own uploader sends the same folder to the same server, and the two must ask for the same things.
usage: push.py R1_PROGRAM"""
import base64
import hashlib
import http.server
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import urllib.parse

HERE = pathlib.Path(__file__).parent
PROGRAM = sys.argv[1]
TOKEN = "hf_of_the_test"
CHUNK = 40_000  # larger files come in parts


class Hub(http.server.ThreadingHTTPServer):
    """Repositories by name: files of one branch. Large ones lie in `objects`, by their SHA-256."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories, self.objects, self.parts, self.asked, self.lose = {}, {}, {}, [], 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, status, body=b"", headers=()):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def allowed(self):
        if self.headers.get("Authorization") == f"Bearer {TOKEN}":
            return True
        self.body()
        self.reply(401, {"error": "Invalid credentials"})
        return False

    def do_POST(self):
        hub, path = self.server, urllib.parse.unquote(self.path)
        if path.startswith("/parts/"):
            given, oid = json.loads(self.body()), path.split("/")[2]
            pieces = hub.parts.pop(oid)
            assert [p["etag"] for p in given["parts"]] == [f'"{n}"' for n in sorted(pieces)], given
            hub.objects[oid] = b"".join(pieces[n] for n in sorted(pieces))
            return self.reply(200 if hashlib.sha256(hub.objects[oid]).hexdigest() == oid else 422, {})
        if not self.allowed():
            return None
        body = self.body()
        hub.asked.append((path, body))
        if path == "/api/repos/create":
            given = json.loads(body)
            name = f"{given['organization']}/{given['name']}"
            if given["organization"] == "others":
                return self.reply(403, {"error": "You don't have the rights to create a model under this namespace"})
            if name in hub.repositories:
                return self.reply(409, {"error": "You already created this model repo"})
            hub.repositories[name] = {}
            return self.reply(200, {"url": f"{hub.url}/{name}", "id": name})
        if path.endswith(".git/info/lfs/objects/batch"):
            given = json.loads(body)
            assert self.headers["Content-Type"] == self.headers["Accept"] == "application/vnd.git-lfs+json"
            return self.reply(200, {"transfer": "basic", "objects": [self.instructions(o) for o in given["objects"]]})
        if path == "/api/validate-yaml":  # huggingface_hub has cards looked at first
            return self.reply(200, {"errors": [], "warnings": []})
        if path.startswith("/verify"):
            given = json.loads(body)
            return self.reply(200 if len(hub.objects[given["oid"]]) == given["size"] else 404, {})
        _, _, _, owner, name, action, revision = path.split("/", 6)
        if f"{owner}/{name}" not in hub.repositories or revision != "main":
            return self.reply(404, {"error": "Revision not found"})
        if action == "preupload":
            files = json.loads(body)["files"]
            for f in files:
                assert len(base64.b64decode(f["sample"])) == min(512, f["size"])
            modes = [{"path": f["path"], "uploadMode": "lfs" if f["path"].endswith(".safetensors") else "regular", "shouldIgnore": False} for f in files]
            return self.reply(200, {"files": modes})
        assert action == "commit", path
        for line in body.decode().splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                hub.repositories[f"{owner}/{name}"][value["path"]] = base64.b64decode(value["content"])
            if entry["key"] == "lfsFile":
                assert value["oid"] in hub.objects, "a commit of a file that never came"
                hub.repositories[f"{owner}/{name}"][value["path"]] = value["oid"]
        return self.reply(200, {"success": True, "commitOid": "c" * 40, "commitUrl": f"{hub.url}/{owner}/{name}/commit/{'c' * 40}"})

    def instructions(self, o):
        hub, oid, size = self.server, o["oid"], o["size"]
        if oid in hub.objects:
            return o
        if size <= CHUNK:
            upload = {"href": f"{hub.url}/store/{oid}?sig=a%2Fb%2B"}
        else:
            count = -(-size // CHUNK)
            upload = {"href": f"{hub.url}/parts/{oid}", "header": {"chunk_size": str(CHUNK), **{f"{n:05}": f"{hub.url}/part/{oid}/{n}?sig=a%2Fb%2B" for n in range(1, count + 1)}}}
        return o | {"actions": {"upload": upload, "verify": {"href": f"{hub.url}/verify"}}}

    def do_PUT(self):
        hub, data = self.server, self.body()
        assert self.headers.get("Authorization") is None, "the token went to the storage"
        assert self.path.endswith("?sig=a%2Fb%2B"), self.path
        if hub.lose > 0:
            hub.lose -= 1
            return self.reply(503, b"busy")
        kind, oid, *number = self.path.split("?")[0].strip("/").split("/")
        if kind == "store":
            hub.objects[oid] = data
            return self.reply(200)
        hub.parts.setdefault(oid, {})[int(number[0])] = data
        return self.reply(200, b"", [("ETag", f'"{number[0]}"')])

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        hub, path = self.server, urllib.parse.unquote(self.path).split("?")[0]
        if not self.allowed():
            return None
        if path.startswith("/api/models/"):
            owner, name = path.split("/")[3:5]
            files = hub.repositories.get(f"{owner}/{name}")
            if files is None:
                return self.reply(404, {"error": "Repository not found"})
            return self.reply(200, {"id": f"{owner}/{name}", "sha": "c" * 40, "siblings": [{"rfilename": f} for f in sorted(files)]})
        owner, name, _, _, file = path.strip("/").split("/", 4)
        content = hub.repositories[f"{owner}/{name}"][file]
        if isinstance(content, str):
            return self.reply(200, hub.objects[content], [("ETag", f'"{content}"')])
        digest = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        return self.reply(200, content, [("ETag", f'"{digest}"')])


def r1(*args, code=0, **environment):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    done = subprocess.run([PROGRAM, *map(str, args)], capture_output=True, text=True, env=clean | environment)
    assert done.returncode == code, (args, done.returncode, done.stdout, done.stderr)
    return done.stdout + done.stderr


def check_metadata(card):
    """The front matter is YAML, and says what it should; without PyYAML its lines are looked at."""
    front = card.split("---\n")[1]
    try:
        import yaml
    except ImportError:
        assert 'base_model: "org/base"' in front and "library_name: transformers" in front
        return
    data = yaml.safe_load(front)
    assert data["base_model"] == "org/base" and data["license"] == "mit" and data["tags"][:2] == ["r1.cpp", "grpo"], data
    assert data["metrics"] == ["accuracy"] and data["model-index"][0]["results"][0]["metrics"][0]["type"] == "accuracy", data


def requests_of(hub):
    """What was asked, without the name of the client's choosing: paths and bodies, JSON in one order."""
    out = []
    for path, body in hub.asked:
        lines = [json.loads(line) for line in body.decode().splitlines()]
        for line in lines:
            line.pop("private", None), line.pop("visibility", None)
            if line.get("key") == "header":
                line["value"]["summary"] = ""
            line["transfers"] = sorted(t for t in line.get("transfers", []) if t != "xet")
            for key in ("files", "objects"):
                if key in line:
                    line[key].sort(key=lambda f: f.get("path", f.get("oid")))
        out.append((path, sorted(json.dumps(line, sort_keys=True) for line in lines)))
    return out


def compare_with_peer(folder, ours, cache):
    try:
        import huggingface_hub
    except ImportError:
        print("no huggingface_hub here: not compared with it")
        return
    hub = Hub()
    script = ("import sys, huggingface_hub as h; a = h.HfApi(endpoint=sys.argv[1], token=sys.argv[2]); a.create_repo('me/tiny', exist_ok=True);"
              "a.upload_folder(repo_id='me/tiny', folder_path=sys.argv[3], ignore_patterns=['state/*', 'manifest.json'], commit_message='x')")
    environment = os.environ | {"HF_HUB_DISABLE_XET": "1", "HF_HOME": str(cache), "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    done = subprocess.run([sys.executable, "-c", script, hub.url, TOKEN, folder], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert hub.repositories["me/tiny"] == ours.repositories["me/tiny"]
    theirs, mine = requests_of(hub), requests_of(ours)
    theirs = [r for r in theirs if not r[0].startswith("/api/validate-yaml")]
    assert theirs == mine, "\n".join(map(str, [*theirs, "---", *mine]))[:6000]
    print(f"huggingface_hub {huggingface_hub.__version__} asks for the same {len(mine)} things")


def main():
    with tempfile.TemporaryDirectory() as tmp:
        folder = pathlib.Path(tmp)
        subprocess.run([sys.executable, HERE / "tiny_model.py", folder / "tiny"], check=True)
        (folder / "recipe.yaml").write_text(f"""schema: 1
model: {{path: {folder}/tiny, dtype: float32}}
data: {{generate: {{task: add, level: 1, n: 20}}}}
rollout: {{samples_per_prompt: 4, max_new_tokens: 8}}
rewards: [math, {{name: regex, pattern: '[0-9]', weight: 0.5}}]
rl: {{steps: 2, prompts_per_rollout: 4, learning_rate: 0.01, warmup_steps: 0}}
eval: {{generate: {{task: add, level: 1, n: 8, seed: 5}}}}
output: {{tensorboard: false, dir: {folder}/run}}
""")
        r1("-q", "train", folder / "recipe.yaml")
        run, hub = folder / "run", Hub()
        model = run / "checkpoints" / "latest"

        assert "no model folder" in r1("card", run, "--checkpoint", "step_9", code=2)
        r1("card", run, "--name", "me/tiny", "--base-model", "org/base", "--license", "mit")
        card = (model / "README.md").read_text()
        check_metadata(card)
        assert str(folder) not in card and "accuracy, greedy" in card and "rewards | math x 1, regex x 0.5" in card, card
        r1("-q", "train", folder / "recipe.yaml", "rl.steps=3")  # a card is no damage to the checkpoint
        model.joinpath("README.md").write_text(card)

        assert "set HF_TOKEN" in r1("push", run, "me/tiny", code=2, HF_ENDPOINT=hub.url, HOME=tmp)
        there = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HOME": str(folder / "cache")}
        assert "write OWNER/NAME" in r1("push", run, "tiny", code=2, **there)
        assert "neither a run nor a model folder" in r1("push", folder, "me/tiny", code=2, **there)
        assert "right to write" in r1("push", run, "me/tiny", code=2, **there | {"HF_TOKEN": "another"})
        assert "rights to create" in r1("push", run, "others/tiny", code=2, **there)
        assert not hub.repositories and not hub.objects
        hub.asked.clear()
        hub.lose = 1  # is tried again
        assert "commit " + "c" * 40 in r1("push", run, "me/tiny", **there)
        files = hub.repositories["me/tiny"]
        assert sorted(files) == ["README.md", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"], sorted(files)
        assert hub.objects[files["model.safetensors"]] == (model / "model.safetensors").read_bytes() and len(hub.objects[files["model.safetensors"]]) > 2 * CHUNK
        compare_with_peer(model.resolve(), hub, folder / "peer")

        assert "0 large ones sent" in r1("push", model, "me/tiny", **there)  # the hub has them
        snapshot = pathlib.Path(r1("-q", "pull", "me/tiny", **there).strip().splitlines()[-1])
        for name in files:
            assert (snapshot / name).read_bytes() == (model / name).read_bytes(), name
        assert "is revision v2 a branch" in r1("push", run, "me/tiny", "--revision", "v2", code=2, **there)
    print("pushed")


if __name__ == "__main__":
    main()
