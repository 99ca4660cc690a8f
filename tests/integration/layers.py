"""scripts/check_layers.py on the repository, and on tables that are wrong: it must name the include. usage: layers.py"""
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]


def check(*page):
    done = subprocess.run([sys.executable, "-B", ROOT / "scripts/check_layers.py", *page], capture_output=True, text=True)
    return done.returncode, done.stdout


code, words = check()
assert code == 0, words
with tempfile.TemporaryDirectory() as folder:
    page = pathlib.Path(folder) / "page.md"
    text = (ROOT / "docs/architecture.md").read_text()
    for row, without, names in [("| `r1_sft` | sft/ | learn, text |", "| `r1_sft` | sft/ | core |", "r1_sft includes rl/"),
                                ("| `r1_kd_gpu` |", "| `r1_other` |", "target r1_kd_gpu has no row")]:
        assert row in text, row
        page.write_text(text.replace(row, without))
        code, words = check(page)
        assert code == 1 and names in words, (code, words)
print("ok")
