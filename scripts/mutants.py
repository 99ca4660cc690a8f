"""Breaks one place at a time as a plausible mistake would, builds the test named beside it and says whether it fails: docs/mutants.md.
usage: mutants.py [-B build/release] [AREA or part of a file's name ...]     The source is put back after each, also after Ctrl-C."""
import argparse
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM_TESTS = ("pipeline_kills_3", "pipeline_faults")  # what they need is r1
# area, file, text (once in the file), broken text, test, a part of the failing case's name ("": the test is one case)
MUTANTS = [
    ("losses", "rl/policy_loss.cpp", "g += d_mean / static_cast<double>(n);", "g += d_mean;", "rl_test", ""),
    ("losses", "rl/policy_loss.cpp", "rho * (kl.slope + (within(a.log_ratio[t]) ? kl.value : 0))", "rho * kl.slope", "rl_test", ""),
    ("losses", "rl/policy_loss.cpp", "a.weights[t] *= w[t] / denominator.mismatch_mean;", "a.weights[t] *= w[t];", "rl_test", ""),
    ("losses", "rl/policy_loss.cpp", "return sum / static_cast<double>(n) > threshold;", "return sum > threshold;", "rl_test", ""),
    ("losses", "rl/policy_loss.cpp", "out.d_entropies.assign(tokens, static_cast<float>(-c));", "out.d_entropies.assign(tokens, static_cast<float>(c));", "rl_test", ""),
    ("losses", "rl/gae.cpp", "out.d_values[i] = clipped ? 0.f : static_cast<float>(share * error);", "out.d_values[i] = static_cast<float>(share * error);", "rl_test", ""),
    ("losses", "rl/learner.cpp", "denominator_of(samples_, chosen, options_.length_budget)", "denominator_of(samples_, trainable(chosen), options_.length_budget)", "rl_test", ""),
    ("losses", "kd/kd_loss.cpp", "static_cast<float>(weight * t * (g[v] - q.p(v) * sum_g));\n  return", "static_cast<float>(weight * (g[v] - q.p(v) * sum_g));\n  return", "kd_test", ""),
    ("losses", "preference/preference_loss.cpp", "1 / static_cast<double>(in.rejected_tokens[i])", "1 / static_cast<double>(in.chosen_tokens[i])", "preference_test", ""),
    ("losses", "sft/sft_objective.cpp", "pass(update_, places, 1 / static_cast<double>(update_tokens_), sums_)", "pass(update_, places, 1 / static_cast<double>(update_.size()), sums_)", "sft_test", ""),
    ("losses", "sft/training_text.cpp", "if (stops(piece[k])) kept = k + 1;", "if (stops(piece[k])) kept = k;", "sft_test", ""),
    ("advantages", "rl/advantage.cpp", "std::sqrt(sum / static_cast<double>(values.size() - 1))", "std::sqrt(sum / static_cast<double>(values.size()))", "rl_test", ""),
    ("advantages", "rl/advantage.cpp", "(weight == o.weights.end() ? 1.0 : weight->second) * own.values", "own.values", "rl_test", ""),
    ("advantages", "rl/advantage.cpp", " || completion.stop == StopReason::kAborted", "", "rl_test", ""),
    ("advantages", "rl/token_advantages.cpp", "std::sqrt(squares / (n - 1))", "std::sqrt(squares / n)", "rl_test", ""),
    ("advantages", "rl/train_samples.cpp", "if (p + t == 0 || (!c.sampled.empty() && !c.sampled[t])) continue;", "if (p + t == 0) continue;", "rl_test", ""),
    ("advantages", "rl/critic.cpp", "rewards[k] -= beta *", "rewards[k] += beta *", "rl_test", ""),
    ("parsers", "rewards/math/shape.cpp", " || u->open != v->open", "", "rewards_test", ""),
    ("parsers", "rewards/answer_extract.cpp", " && (i + 1 >= s.size() || !is_digit(s[i + 1])));", ");", "rewards_test", ""),
    ("parsers", "rewards/number.cpp", "if (fraction <= 0 || fraction >= 1) return false;", "if (fraction <= 0) return false;", "rewards_test", ""),
    ("parsers", "rewards/format.cpp", "if (stop == StopReason::kLength || stop == StopReason::kAborted) return", "if (stop == StopReason::kLength) return", "rewards_test", ""),
    ("parsers", "text/json_pieces.cpp", "      else if (c == '\\\\') escaped = true;\n", "", "text_test", ""),
    ("parsers", "text/jinja_lexer.cpp", "if (sign == '+' || kind == '{') return text.size();", "if (kind == '{') return text.size();", "text_test", ""),
    ("parsers", "text/bpe.cpp", "rank != o.rank ? rank > o.rank : at > o.at;", "rank != o.rank ? rank > o.rank : at < o.at;", "text_test", ""),
    ("parsers", "text/added_tokens.cpp", "if (word_before || word_after) continue;", "if (word_before) continue;", "text_test", ""),
    ("parsers", "text/decoder.cpp", 'out.insert(out.end(), run.size(), "\\xEF\\xBF\\xBD");', 'out.push_back("\\xEF\\xBF\\xBD");', "text_test", ""),
    ("parsers", "core/config_yaml.cpp", "!parse_bool(lower) && !parse_double(lower);", "!parse_bool(lower);", "core_test", ""),
    ("parsers", "core/config_resolved.cpp", " && key[prefix.size()] == '.')", ")", "core_test", ""),
    ("sandbox", "rewards/code/compare_output.cpp", "if (got.size() != expected.size()) return false;", "if (got.size() < expected.size()) return false;", "code_judge_test", ""),
    ("sandbox", "rewards/code/judge.cpp", "if (run.verdict == CodeVerdict::kInternalError) {", "if (false) {", "code_judge_test", ""),
    ("sandbox", "rewards/code/seccomp_filter.cpp", '"ptrace", "process_vm_readv"', '"process_vm_readv"', "code_box_test", ""),
    ("sandbox", "rewards/code/box_child.cpp", "  limit(box, RLIMIT_FSIZE, o.file_bytes, o.file_bytes);\n", "", "code_box_test", ""),
    ("sandbox", "rewards/code/tree_guard.cpp", "  use.memory_kb += files_kb;\n", "", "code_box_test", ""),
    ("sandbox", "rewards/code/build_cache.cpp", "  if (digest_of_both(found, body) != h.digest) return damaged();\n", "", "code_judge_test", ""),
    ("scheduler", "rollout/scheduler.cpp", "- 1, block_size) + partial;", "- 1, block_size);", "rollout_test", ""),
    ("scheduler", "rollout/scheduler.cpp", "(g.drawn ? g.prompt_length() : g.prompt_length() - 1) / size", "g.prompt_length() / size", "rollout_test", ""),
    ("scheduler", "rollout/scheduler.cpp", "    running_.clear();\n  }\n  blocks_.drop_cache();\n", "    running_.clear();\n  }\n", "rollout_test", ""),
    ("scheduler", "rollout/scheduler.cpp", "blocks + static_cast<std::int64_t>(running_.size());", "blocks;", "rollout_test", ""),
    ("scheduler", "rollout/block_manager.cpp", "    block = oldest_;", "    block = newest_;", "rollout_test", ""),
    ("scheduler", "rollout/stop_matcher.cpp", "new_bytes + stop.size() - 1;", "new_bytes;", "rollout_test", ""),
    ("scheduler", "rollout/stop_matcher.cpp", "    end -= held;\n", "", "rollout_test", ""),
    ("scheduler", "rollout/completion_builder.cpp", " || c.version_runs.back().digest != digest", "", "rollout_engine_test", ""),
    ("scheduler", "kernels/sample.cpp", "const double total = top_k ? mass(kept) : sum;", "const double total = sum;", "kernels_test", ""),
    ("scheduler", "kernels/sample.cpp", "- std::log(total));", "- std::log(sum));", "kernels_test", ""),
    ("resume", "core/files.cpp", "  file_.sync();\n  file_.close();\n", "  file_.close();\n", "core_test", ""),
    ("resume", "core/files.cpp", "  sync_tree(temporary_);\n", "", "core_test", ""),
    ("resume", "core/journal.cpp", "if (tail.get<std::uint32_t>() != crc32c(bytes.substr(used, kHeadBytes + length))) break;", "tail.get<std::uint32_t>();", "core_test", ""),
    ("resume", "model/checkpoint_manifest.cpp", "if (!digests) continue;", "continue;", "model_files_test", ""),
    ("resume", "model/checkpoint.cpp", "static_cast<std::size_t>(options.keep) - 1 < old.size()", "static_cast<std::size_t>(options.keep) < old.size()", "model_files_test", ""),
    ("resume", "rl/prompt_stream.cpp", "mix64(epoch ^ kStream)", "mix64(kStream)", "rl_test", ""),
    ("resume", "sft/example_stream.cpp", "shuffle(order_, seed_, kOrder ^ epoch)", "shuffle(order_, seed_, kOrder)", "sft_test", ""),
    ("resume", "rl/learner_state.cpp", "    kl_in_reward_ = values[0];\n", "", "rl_test", ""),
    ("resume", "rl/rollout_collector.cpp", "  h.update_field(options_.device);\n", "", "rl_test", ""),
    ("resume", "rl/trainer_state.cpp", '  parts_.learner->set_tokens_per_micro_batch(number(s, "tokens_per_micro_batch"));\n', "", "rl_test", ""),
    ("resume", "sft/example_trainer.cpp", "  optimizer_.set_updates(static_cast<std::int64_t>(saved.state.version));\n", "", "sft_test", ""),
    ("resume", "rl/rollout_journal.cpp", "number < rollout) old", "number <= rollout) old", "rl_test", ""),
    ("comm", "comm/communicator.cpp", "bits + 0x7FFFu + (bits >> 16 & 1u)", "bits + 0x8000u", "comm_test", ""),
    ("comm", "comm/partition.h", "std::max(begin, k * piece_)", "k * piece_", "comm_test", ""),
    ("comm", "comm/rendezvous_server.cpp", "if (run_id != launch_.run_id) why", "if (false) why", "comm_session_test", ""),
    ("comm", "rl/shard_plan.cpp", "(gradient ? own + longest : n) * 4", "(gradient ? own : n) * 4", "rl_ranks_test", ""),
    ("statistics", "rl/statistics.cpp", "const double centre = (p + z2 / (2 * count))", "const double centre = (p + z2 / count)", "rl_test", ""),
    ("statistics", "rl/statistics.cpp", "sum += p * (1 - p) / (k - 1);", "sum += p * (1 - p) / k;", "rl_test", ""),
    ("statistics", "rl/eval/paired.cpp", "static_cast<double>(1 + hits) / static_cast<double>(1 + kDraws)", "static_cast<double>(hits) / static_cast<double>(kDraws)", "eval_test", ""),
    ("statistics", "rl/eval/paired.cpp", "std::min(1.0, 2 * tail)", "std::min(1.0, tail)", "eval_test", ""),
    ("statistics", "rl/eval/elo.cpp", "(rank - 1) - tied / 2)", "(rank - 1) - tied)", "eval_test", ""),
    ("statistics", "rl/eval/vote.cpp", "c.votes > best->votes", "c.votes >= best->votes", "eval_test", ""),
    ("statistics", "rl/eval/results.cpp", "winner && right(*groups[i][*winner], lenient)", "winner && right(*groups[i][*winner], false)", "eval_test", ""),
    ("pipeline", "apps/input_digests.cpp", "    hasher.update_field(fs::relative(file, path).string());\n", "", "pipeline_faults", ""),
    ("pipeline", "apps/input_digests.cpp", " || k.changed != changed", "", "pipeline_kills_3", ""),
    ("pipeline", "apps/pipeline_state.cpp", '  for (const std::string& need : stage.needs) parts.insert("needs " + at(need).key);\n', "", "pipeline_kills_3", ""),
    ("pipeline", "apps/pipeline_state.cpp", " || s.record->inputs[need] != from.record->output", "", "pipeline_faults", ""),
    ("pipeline", "apps/pipeline_state.cpp", "if (used && all_done) fs::remove_all", "if (all_done) fs::remove_all", "pipeline_faults", ""),
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
