"""A tiny run looked at: what it records, `r1 replay`, `r1 reward-diff`, `r1 watch` in a terminal and as a page, also in headless Chromium where
it is installed. usage: looking.py R1_PROGRAM [FOLDER for screenshots]"""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request

HERE = pathlib.Path(__file__).parent
PROGRAM = sys.argv[1]
SHOTS = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else None


def r1(*args, code=0):
    done = subprocess.run([PROGRAM, *map(str, args)], capture_output=True, text=True)
    assert done.returncode == code, (args, done.returncode, done.stdout, done.stderr)
    return done.stdout + (done.stderr if code else "")


def train(folder, name, seed):
    recipe = folder / "recipe.yaml"
    recipe.write_text(f"""schema: 1
kind: grpo
model: {{path: {folder}/tiny, dtype: float32}}
data: {{generate: {{task: add, level: 1, n: 50}}}}
rollout: {{samples_per_prompt: 8, max_new_tokens: 12}}
rewards: [{{name: math, extract: last_number}}, {{name: regex, pattern: '[0-9]', weight: 0.5}}]
rl: {{steps: 6, prompts_per_rollout: 6, updates_per_rollout: 2, learning_rate: 0.01, warmup_steps: 0}}
output: {{tensorboard: false, samples_every: 2}}
""")
    r1("-q", "train", recipe, f"output.dir={folder}/{name}", f"seed={seed}")
    return folder / name


def looked_at(run, folder):
    names = sorted(os.listdir(run / "rollouts"))
    assert names == sorted([f"step_{s:06}.rollout" for s in (1, 3, 5)] + [f"step_{s:06}.tokens" for s in range(1, 7)]), names
    text = r1("replay", run, "--step", 4, "--sample", 9)
    for words in ("step 3, rollout 1", "sample 1 of 8", "loss of this sample in update", "learner logp", "what the rewards read"):
        assert words in text, (words, text)
    # An eye for bytes: the tokenizer's texts stand beside the numbers.
    assert re.search(r'\n +0 +"', text), text
    text = r1("replay", run, "--step", 3, "--sample", 0, "--rewards", "{name: regex, pattern: 'zz'}")
    assert "by the other rewards: reward 0" in text and "new advantage" in text, text
    assert "begin at steps 1, 3, 5" in r1("replay", run, "--step", 99, code=2)

    same = json.loads(r1("reward-diff", run, "recorded", run / "config.yaml", "--json"))
    assert same["completions"] == 3 * 6 * 8 and same["flips"] == same["values"] == 0, same
    flips = folder / "flips.jsonl"
    looser = "[{name: regex, pattern: '[0-9]', verdict: true}]"
    diff = json.loads(r1("reward-diff", run, "recorded", looser, "--json", "-o", flips))
    lines = [json.loads(line) for line in open(flips, encoding="utf-8")]
    assert diff["flips"] == len(lines) > 0, diff
    assert all(("ok" == line["new"]["verdict"]) == bool(re.search("[0-9]", line["completion"])) for line in lines)
    assert "flipped  " in r1("reward-diff", run, "recorded", looser, "--show", 2)
    shutil.move(run / "rollouts", folder / "aside")
    assert json.loads(r1("reward-diff", run, "recorded", looser, "--json"))["completions"] > 0  # by the transcripts
    shutil.move(folder / "aside", run / "rollouts")
    screen = r1("watch", run, "--once")
    assert "update 6 of 6  finished" in screen and "sample 0 of 48" in screen and "\x1b" not in screen, screen


def dom(url, *flags):
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=4000", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
               *flags, url]
    return subprocess.run(command, capture_output=True, text=True, timeout=120).stdout


CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


def page(runs):
    server = subprocess.Popen([PROGRAM, "watch", *map(str, runs), "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
    try:
        url = re.search(r"http://[^ ]+", server.stdout.readline()).group(0)
        get = lambda path: urllib.request.urlopen(url + path).read().decode()
        assert [r["step"] for r in json.loads(get("api/state"))["runs"]] == [6, 6]
        curves = get("api/curves")
        assert curves.count("data-chart") > 5
        size = len(get("")) + len(get("style.css")) + len(get("app.js"))
        print(f"page {size} bytes, curves {len(curves)} bytes")
        row = json.loads(get("api/samples?run=1&step=3&limit=1"))["rows"][0]
        where = f"#run=1&step=3&filter=&q=&group={row['group']}&sample={row['sample']}"
        if not CHROMIUM:
            print("no chromium: the page was not drawn")
            return
        html = dom(url + where, "--dump-dom")
        assert html.count("<figure") > 5, html[:3000]
        assert "of 48 tokens" not in html and re.search(r'id="detail-title">[^<]+/0, update 3<', html), html[-3000:]
        tokens = json.loads(get("api/sample?run=1&step=3&group=0&sample=0"))["tokens_shown"]
        assert len(re.findall(r'class="token[ "]', html)) == len(tokens), (len(re.findall(r'class="token[ "]', html)), len(tokens))
        assert html.count('<tr') > 40 and "all samples (48)" in html
        right = json.loads(get("api/samples?run=0&step=5&filter=unparsed"))["total"]
        html = dom(url + "#run=0&step=5&filter=unparsed&q=", "--dump-dom")
        assert f'role="status">{right} sample' in html, html[-2000:]
        if SHOTS:
            for name, flags in (("wide", ["--window-size=1280,2600"]), ("phone", ["--window-size=500,3600"]), ("dark", ["--window-size=1280,2600", "--blink-settings=preferredColorScheme=0"])):
                dom(url + where, f"--screenshot={SHOTS}/watch_{name}.png", "--hide-scrollbars", *flags)
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(20) == 0


def main():
    with tempfile.TemporaryDirectory() as tmp:
        folder = pathlib.Path(tmp)
        subprocess.run([sys.executable, HERE / "tiny_model.py", folder / "tiny"], check=True)
        runs = [train(folder, "one", 0), train(folder, "two", 1)]
        looked_at(runs[0], folder)
        page(runs)
    print("looked at")


if __name__ == "__main__":
    main()
