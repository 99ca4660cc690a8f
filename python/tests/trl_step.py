"""One real step of TRL's GRPOTrainer with the package's reward functions, on a tiny random model made here. Exit 77: the
packages or the module are not for this Python."""

import sys
import tempfile

try:
    import torch
    from datasets import Dataset
    from tokenizers import Tokenizer, models, pre_tokenizers, decoders
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
    from trl import GRPOConfig, GRPOTrainer

    import r1
    import r1.trl
except ImportError as e:
    print(f"skipped: {e}")
    sys.exit(77)

isolates = not r1.sandbox_problem()


def tokenizer():
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {c: i for i, c in enumerate(["<pad>", "<eos>", *alphabet])}
    t = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    t.pre_tokenizer, t.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=t, pad_token="<pad>", eos_token="<eos>")
    fast.chat_template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
    return fast


def step(conversational, folder):
    torch.manual_seed(0)
    tok = tokenizer()
    model = Qwen2ForCausalLM(Qwen2Config(vocab_size=len(tok), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                                         num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=256,
                                         eos_token_id=tok.eos_token_id, pad_token_id=tok.pad_token_id))
    before = [p.detach().clone() for p in model.parameters()]
    questions = ["1 + 1 = ?", "2 + 3 = ?"]
    prompts = [[{"role": "user", "content": q}] for q in questions] if conversational else questions
    tests = [{"call": "f(1)", "expected": 2}]
    data = Dataset.from_dict({"prompt": prompts, "solution": ["2", "5"], "language": ["en", "zh"], "tests": [tests, tests]})
    seen = {}

    def watched(reward):
        def call(**kwargs):
            seen[reward.__name__] = reward(**kwargs)
            return seen[reward.__name__]

        call.__name__ = reward.__name__
        return call

    # A random model is never right, so a reward that varies with its text is needed for a gradient.
    rewards = [r1.trl.accuracy_reward, r1.trl.format_reward, r1.trl.think_format_reward, r1.trl.language_reward,
               r1.trl.reward("length", unit="words", min=1, max=2)]
    if isolates:
        rewards.append(r1.trl.code_reward)
    trainer = GRPOTrainer(
        model=model, processing_class=tok, train_dataset=data, reward_funcs=[watched(r) for r in rewards[:2]] + rewards[2:],
        args=GRPOConfig(output_dir=folder, max_steps=1, per_device_train_batch_size=8, num_generations=4, max_completion_length=24,
                        learning_rate=1e-2, report_to=[], logging_steps=1, use_cpu=True, save_strategy="no", temperature=1.0))
    trainer.train()
    logs = {k: v for entry in trainer.state.log_history for k, v in entry.items()}
    for r in rewards:
        mean = logs[f"rewards/{r.__name__}/mean"]
        print(f"{'chat' if conversational else 'plain'}: {r.__name__} mean {mean:.3f}")
        assert mean == mean, f"{r.__name__} is NaN: no completion was judged"
    assert seen["accuracy_reward"] == [0.0] * 8, seen
    assert 0 < logs["accuracy_reward/unparsed"] <= 1, "our own metrics are not in TRL's log"
    changed = sum(not torch.equal(a, b) for a, b in zip(before, model.parameters()))
    print(f"{changed} of {len(before)} tensors changed, reward_std {logs['reward_std']:.3f}")
    assert trainer.state.global_step == 1
    assert (changed > 0) == (logs["reward_std"] > 0)


with tempfile.TemporaryDirectory() as folder:
    step(False, folder)
    step(True, folder)
print("ok")
