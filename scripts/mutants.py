"""Breaks one place at a time as a plausible mistake would, builds the test named beside it and says whether it fails: docs/mutants.md.
usage: mutants.py [-B build/release] [AREA or part of a file's name ...]     The source is put back after each, also after Ctrl-C."""
import argparse
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM_TESTS = ("pipeline_kills_3", "pipeline_keys")  # what they need is r1
# area, file, text (once in the file), broken text, test, a part of the failing case's name ("": the test is one case)
MUTANTS = [
    ("losses", "rl/policy_loss.cpp", "g += d_mean / static_cast<double>(n);", "g += d_mean;", "rl_test", "gradients are the slopes of the loss"),
    ("losses", "rl/policy_loss.cpp", "rho * (kl.slope + (within(a.log_ratio[t]) ? kl.value : 0))", "rho * kl.slope", "rl_test", "KL estimators against the exact categorical KL"),
    ("losses", "rl/policy_loss.cpp", "a.weights[t] *= w[t] / denominator.mismatch_mean;", "a.weights[t] *= w[t];", "rl_test", "covariance control and every mismatch correction"),
    ("losses", "rl/policy_loss.cpp", "return sum / static_cast<double>(n) > threshold;", "return sum > threshold;", "rl_test", "the off-policy mask looks at the mean"),
    ("losses", "rl/policy_loss.cpp", "out.d_entropies.assign(tokens, static_cast<float>(-c));", "out.d_entropies.assign(tokens, static_cast<float>(c));", "rl_test", "the entropy bonus is a token mean"),
    ("losses", "rl/gae.cpp", "out.d_values[i] = clipped ? 0.f : static_cast<float>(share * error);", "out.d_values[i] = static_cast<float>(share * error);", "rl_test", "the value loss: slopes"),
    ("losses", "rl/learner.cpp", "denominator_of(samples_, chosen, options_.length_budget)", "denominator_of(samples_, trainable(chosen), options_.length_budget)", "rl_test", "leaving out zero advantages changes neither"),
    ("losses", "kd/kd_loss.cpp", "static_cast<float>(weight * t * (g[v] - q.p(v) * sum_g));\n  return", "static_cast<float>(weight * (g[v] - q.p(v) * sum_g));\n  return", "kd_test", "distillation: zero at the teacher"),
    ("losses", "preference/preference_loss.cpp", "1 / static_cast<double>(in.rejected_tokens[i])", "1 / static_cast<double>(in.chosen_tokens[i])", "preference_test", "DPO: loss"),
    ("losses", "sft/sft_objective.cpp", "pass(update_, places, 1 / static_cast<double>(update_tokens_), sums_)", "pass(update_, places, 1 / static_cast<double>(update_.size()), sums_)", "sft_test", "metrics by hand on a table of logits"),
    ("losses", "sft/training_text.cpp", "if (stops(piece[k])) kept = k + 1;", "if (stops(piece[k])) kept = k;", "sft_test", "each assistant turn is trained with its stop token"),
    ("advantages", "rl/advantage.cpp", "std::sqrt(sum / static_cast<double>(values.size() - 1))", "std::sqrt(sum / static_cast<double>(values.size()))", "rl_test", "group z-score divides by the sample standard deviation"),
    ("advantages", "rl/advantage.cpp", "(weight == o.weights.end() ? 1.0 : weight->second) * own.values", "own.values", "rl_test", "GDPO of a single reward"),
    ("advantages", "rl/advantage.cpp", " || completion.stop == StopReason::kAborted", "", "rl_test", "dynamic sampling keeps mixed verdicts"),
    ("advantages", "rl/token_advantages.cpp", "std::sqrt(squares / (n - 1))", "std::sqrt(squares / n)", "rl_test", "whitening gives mean 0 and std 1"),
    ("advantages", "rl/train_samples.cpp", "if (p + t == 0 || (!c.sampled.empty() && !c.sampled[t])) continue;", "if (p + t == 0) continue;", "rl_test", "forced tokens"),
    ("advantages", "rl/critic.cpp", "rewards[k] -= beta *", "rewards[k] += beta *", "rl_test", "advantages by hand: the outcome at the last trained token"),
    ("parsers", "rewards/math/shape.cpp", " || u->open != v->open", "", "rewards_test", "full checker: sets"),
    ("parsers", "rewards/number.cpp", "if (fraction <= 0 || fraction >= 1) return false;", "if (fraction <= 0) return false;", "rewards_test", "numbers as people write them"),
    ("parsers", "rewards/format.cpp", "if (stop == StopReason::kLength || stop == StopReason::kAborted) return", "if (stop == StopReason::kLength) return", "rewards_test", "a completion that did not end gets nothing"),
    ("parsers", "text/json_pieces.cpp", "      else if (c == '\\\\') escaped = true;\n", "", "text_test", "archives"),
    ("parsers", "text/jinja_lexer.cpp", "if (sign == '+' || kind == '{') return text.size();", "if (kind == '{') return text.size();", "text_test", "blanks before a block stay"),
    ("parsers", "text/bpe.cpp", "rank != o.rank ? rank > o.rank : at > o.at;", "rank != o.rank ? rank > o.rank : at < o.at;", "text_test", "merging equals the textbook loop"),
    ("parsers", "text/added_tokens.cpp", "if (word_before || word_after) continue;", "if (word_before) continue;", "text_test", "small tokenizers equal the Python package"),
    ("parsers", "text/decoder.cpp", 'out.insert(out.end(), run.size(), "\\xEF\\xBF\\xBD");', 'out.push_back("\\xEF\\xBF\\xBD");', "text_test", "a run of byte tokens is text"),
    ("parsers", "core/config_yaml.cpp", "!parse_bool(lower) && !parse_double(lower);", "!parse_bool(lower);", "core_test", "strings of every kind survive YAML"),
    ("parsers", "core/config_resolved.cpp", " && key[prefix.size()] == '.')", ")", "core_test", "the digest sees meaning"),
    ("sandbox", "rewards/code/compare_output.cpp", "if (got.size() != expected.size()) return false;", "if (got.size() < expected.size()) return false;", "code_judge_test", "values are compared whole"),
    ("sandbox", "rewards/code/judge.cpp", "if (run.verdict == CodeVerdict::kInternalError) {", "if (false) {", "code_judge_test", "a test that cannot be judged decides"),
    ("sandbox", "rewards/code/seccomp_filter.cpp", '"ptrace", "process_vm_readv"', '"process_vm_readv"', "code_box_test", "reaching out"),
    ("sandbox", "rewards/code/build_cache.cpp", "  if (digest_of_both(found, body) != h.digest) return damaged();\n", "", "code_judge_test", "the cache gives back what was stored"),
    ("scheduler", "rollout/scheduler.cpp", "- 1, block_size) + partial;", "- 1, block_size);", "rollout_test", "the smallest pool that add() allows"),
    ("scheduler", "rollout/scheduler.cpp", "(g.drawn ? g.prompt_length() : g.prompt_length() - 1) / size", "g.prompt_length() / size", "rollout_test", "equal beginnings are found"),
    ("scheduler", "rollout/scheduler.cpp", "    running_.clear();\n  }\n  blocks_.drop_cache();\n", "    running_.clear();\n  }\n", "rollout_test", "new weights drop prompts"),
    ("scheduler", "rollout/scheduler.cpp", "blocks + static_cast<std::int64_t>(running_.size());", "blocks;", "rollout_test", "a group that would take the blocks"),
    ("scheduler", "rollout/block_manager.cpp", "    block = oldest_;", "    block = newest_;", "rollout_test", "published blocks are found"),
    ("scheduler", "rollout/stop_matcher.cpp", "new_bytes + stop.size() - 1;", "new_bytes;", "rollout_test", "a stop string across tokens cuts"),
    ("scheduler", "rollout/stop_matcher.cpp", "    end -= held;\n", "", "rollout_test", "text that may begin a stop string"),
    ("scheduler", "rollout/completion_builder.cpp", " || c.version_runs.back().digest != digest", "", "rollout_engine_test", "tokens of other weights begin a run"),
    ("scheduler", "kernels/sample.cpp", "const double total = top_k ? mass(kept) : sum;", "const double total = sum;", "rollout_engine_test", "filtered sampling reports"),
    ("scheduler", "kernels/sample.cpp", "- std::log(total));", "- std::log(sum));", "rollout_engine_test", "filtered sampling reports"),
    ("resume", "core/files.cpp", "  file_.sync();\n  file_.close();\n", "  file_.close();\n", "core_test", "whichever operation of an atomic write fails"),
    ("resume", "core/files.cpp", "  sync_tree(temporary_);\n", "", "core_test", "what a name will lead to is on the disk"),
    ("resume", "core/journal.cpp", "if (tail.get<std::uint32_t>() != crc32c(bytes.substr(used, kHeadBytes + length))) break;", "tail.get<std::uint32_t>();", "core_test", "a flipped bit anywhere never yields"),
    ("resume", "model/checkpoint_manifest.cpp", "if (!digests) continue;", "continue;", "model_files_test", "every kind of damage is found"),
    ("resume", "model/checkpoint.cpp", "static_cast<std::size_t>(options.keep) - 1 < old.size()", "static_cast<std::size_t>(options.keep) < old.size()", "model_files_test", "only the newest `keep` stay"),
    ("resume", "rl/prompt_stream.cpp", "mix64(epoch ^ kStream)", "mix64(kStream)", "rl_test", "prompts: each epoch shows all"),
    ("resume", "sft/example_stream.cpp", "shuffle(order_, seed_, kOrder ^ epoch)", "shuffle(order_, seed_, kOrder)", "sft_test", "an epoch has each example as often"),
    ("resume", "rl/learner_state.cpp", "    kl_in_reward_ = values[0];\n", "", "rl_test", "resume with critic"),
    ("resume", "rl/rollout_collector.cpp", "  h.update_field(options_.device);\n", "", "rl_test", "what the journal holds is gone on with"),
    ("resume", "rl/trainer_state.cpp", '  parts_.learner->set_tokens_per_micro_batch(number(s, "tokens_per_micro_batch"));\n', "", "rl_test", "another budget of the micro-batches"),
    ("resume", "sft/example_trainer.cpp", "  optimizer_.set_updates(static_cast<std::int64_t>(saved.state.version));\n", "", "sft_test", "killed after any step and started again"),
    ("resume", "rl/rollout_journal.cpp", "number < rollout) old", "number <= rollout) old", "rl_test", "the journal keeps rollouts until they are dropped"),
    ("comm", "comm/communicator.cpp", "bits + 0x7FFFu + (bits >> 16 & 1u)", "bits + 0x8000u", "comm_test", "the tree adds neighbours first"),
    ("comm", "comm/rendezvous_server.cpp", "if (run_id != launch_.run_id) why", "if (false) why", "comm_session_test", "a rank that never comes"),
    ("comm", "rl/shard_plan.cpp", "(gradient ? own + longest : n) * 4", "(gradient ? own : n) * 4", "rl_ranks_test", "ZeRO 3: what a rank holds"),
    ("statistics", "rl/statistics.cpp", "const double centre = (p + z2 / (2 * count))", "const double centre = (p + z2 / count)", "rl_test", "Wilson interval at known points"),
    ("statistics", "rl/statistics.cpp", "sum += p * (1 - p) / (k - 1);", "sum += p * (1 - p) / k;", "eval_test", "standard errors: the definitions"),
    ("statistics", "rl/eval/paired.cpp", "static_cast<double>(1 + hits) / static_cast<double>(1 + kDraws)", "static_cast<double>(hits) / static_cast<double>(kDraws)", "eval_test", "the permutation test"),
    ("statistics", "rl/eval/paired.cpp", "std::min(1.0, 2 * tail)", "std::min(1.0, tail)", "eval_test", "McNemar and Wilson equal scipy"),
    ("statistics", "rl/eval/elo.cpp", "(rank - 1) - tied / 2)", "(rank - 1) - tied)", "eval_test", "contest files"),
    ("statistics", "rl/eval/vote.cpp", "c.votes > best->votes", "c.votes >= best->votes", "eval_test", "the largest group wins"),
    ("statistics", "rl/eval/results.cpp", "winner && right(*groups[i][*winner], lenient)", "winner && right(*groups[i][*winner], false)", "eval_test", "pass@1"),
    ("pipeline", "apps/input_digests.cpp", "    hasher.update_field(fs::relative(file, path).string());\n", "", "pipeline_keys", ""),
    ("pipeline", "apps/input_digests.cpp", " || k.changed != changed", "", "pipeline_kills_3", ""),
    ("pipeline", "apps/pipeline_state.cpp", '  for (const std::string& need : stage.needs) parts.insert("needs " + at(need).key);\n', "", "pipeline_keys", ""),
    ("pipeline", "apps/pipeline_state.cpp", " || s.record->inputs[need] != from.record->output", "", "pipeline_keys", ""),
    ("pipeline", "apps/pipeline_state.cpp", "if (used && all_done) fs::remove_all", "if (all_done) fs::remove_all", "pipeline_keys", ""),
]


def run_test(build, test, case):
    """Whether it fails, and the cases that do."""
    command = ["ctest", "--test-dir", str(build), "-R", f"^{test}$", "--output-on-failure"]
    if case:
        command = [str(build / "bin" / test), f"-tc=*{case}*"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    text = done.stdout + done.stderr
    return done.returncode != 0, list(dict.fromkeys(re.findall(r"TEST CASE:\s+(.*)", text))) or text.splitlines()[-12:]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-B", dest="build", default=ROOT / "build/release", type=pathlib.Path)
    parser.add_argument("chosen", nargs="*")
    args = parser.parse_args()
    survivors = 0
    for area, name, old, new, test, case in MUTANTS:
        if args.chosen and not any(c == area or c in name for c in args.chosen):
            continue
        file = ROOT / name
        source = file.read_text()
        if source.count(old) != 1:
            sys.exit(f"{name} has {source.count(old)} times: {old}")
        target = "r1" if test in PROGRAM_TESTS else test
        try:
            file.write_text(source.replace(old, new))
            built = subprocess.run(["cmake", "--build", args.build, "--target", target], capture_output=True, text=True)
            fails, cases = run_test(args.build.resolve(), test, case) if built.returncode == 0 else (True, ["does not build", built.stdout[-1500:]])
        finally:
            file.write_text(source)
        survivors += not fails
        print(f"{'caught' if fails else 'SURVIVED'}\t{area}\t{name}\t{old.strip()!r} -> {new.strip()!r}\t{test}: {' | '.join(cases) if fails else ''}", flush=True)
    print(f"{survivors} survived")
    sys.exit(survivors > 0)


main()
