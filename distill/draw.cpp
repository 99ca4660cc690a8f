#include "distill/draw.h"

#include <condition_variable>
#include <deque>
#include <exception>
#include <list>
#include <mutex>
#include <set>
#include <thread>

#include "core/digest.h"
#include "core/error.h"
#include "core/signals.h"
#include "core/thread_pool.h"
#include "core/version.h"
#include "distill/raw_json.h"
#include "rewards/completion_text.h"

namespace r1 {
namespace {

// The opening think tag that a rendered prompt ends with, and what stands behind it.
std::string prefill_of(const Prompt& prompt) {
  return prompt_opens_think(prompt) ? prompt.text.substr(prompt.text.rfind("<think>")) : "";
}

std::string digest_of_tokens(const std::vector<TokenId>& tokens) {
  if (tokens.empty()) return "";
  Hasher h;
  h.update(tokens.data(), tokens.size() * sizeof(TokenId));
  return to_hex(h.digest());
}

std::string program() {
  const std::string commit = git_commit();
  return message("r1 ", version(), commit.empty() ? "" : " " + commit);
}

// The samples of one teacher that are missing, for its engines to take.
class Desk {
 public:
  Desk(std::size_t teacher, int samples, RawFile& file) : teacher_(teacher), file_(file), open_(file.header().prompts) {
    for (std::size_t p = 0; p < open_.size(); ++p) {
      for (int s = 0; s < samples; ++s) {
        if (file.has(teacher, p, s)) continue;
        ++open_[p];
        if (!waiting_.empty() && waiting_.back().prompt == p && waiting_.back().first + waiting_.back().count == s) ++waiting_.back().count;
        else waiting_.push_back({p, s, 1});
      }
      left_ += open_[p];
    }
  }
  std::int64_t left() const { return left_; }

  std::optional<Work> next(bool wait, int most) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !wait || stopped_ || left_ == 0 || !waiting_.empty(); });
    if (stopped_ || waiting_.empty()) return std::nullopt;
    Work work = waiting_.front();
    if (work.count > most) {
      work.count = most;
      waiting_.front().first += most;
      waiting_.front().count -= most;
    } else {
      waiting_.pop_front();
    }
    return work;
  }
  // True if this was the prompt's last missing sample.
  bool done(std::size_t prompt, int sample, Drawn drawn) {
    file_.add({teacher_, prompt, sample, std::move(drawn), program()});
    const std::lock_guard lock(mutex_);
    if (--left_ == 0) changed_.notify_all();
    return --open_[prompt] == 0;
  }
  void put_back(Work work) {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(work);
    changed_.notify_all();
  }
  void stop() {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    changed_.notify_all();
  }

 private:
  std::size_t teacher_;
  RawFile& file_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Work> waiting_;
  std::vector<int> open_;  // [prompt] samples that are not there yet
  std::int64_t left_ = 0;
  bool stopped_ = false;
};

class Run {
 public:
  Run(std::vector<SampleTeacher>& teachers, RawFile& file, const Rubric* rubric, const DrawOptions& options)
      : teachers_(teachers), file_(file), rubric_(rubric), options_(options) {
    for (std::size_t t = 0; t < teachers.size(); ++t) {
      desks_.emplace_back(t, teachers[t].samples, file);
      alive_.push_back(static_cast<int>(teachers[t].engines.size()));
      total_ += static_cast<std::int64_t>(file.header().prompts) * teachers[t].samples;
      done_ -= desks_.back().left();
    }
    done_ += total_;
    if (rubric) pool_ = std::make_unique<ThreadPool>(options.reward_threads, static_cast<std::size_t>(options.reward_threads) * 4, "r1-reward");
  }

  void go() {
    for (std::size_t t = 0; t < teachers_.size(); ++t)
      for (std::size_t p = 0; rubric_ && p < file_.header().prompts; ++p) score_if_whole(t, p);  // what an earlier call left
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < teachers_.size(); ++t) {
      if (desk(t).left() == 0) continue;
      for (auto& engine : teachers_[t].engines) threads.emplace_back([this, t, &engine] { run(t, *engine); });
    }
    for (std::thread& thread : threads) thread.join();
    pool_.reset();  // ends the scoring that is under way
    file_.sync();
    if (failure_) std::rethrow_exception(failure_);
    throw_if_stopped();
    for (std::size_t t = 0; t < teachers_.size(); ++t)
      R1_CHECK(desk(t).left() == 0, teachers_[t].name, " misses ", desk(t).left(), " samples");
  }

 private:
  Desk& desk(std::size_t t) { return *std::next(desks_.begin(), static_cast<std::ptrdiff_t>(t)); }

  // An engine's view of its teacher's desk: knows what it took and did not bring.
  class Seat : public WorkSource {
   public:
    Seat(Run& run, std::size_t teacher) : run_(run), teacher_(teacher) {}
    std::optional<Work> next(bool wait, int most) override {
      const auto work = run_.desk(teacher_).next(wait, most);
      if (!work) return work;
      const std::lock_guard lock(mutex_);
      for (int s = work->first; s < work->first + work->count; ++s) held_.insert({work->prompt, s});
      return work;
    }
    void done(std::size_t prompt, int sample, Drawn drawn) override {
      const bool whole = run_.desk(teacher_).done(prompt, sample, std::move(drawn));
      {
        const std::lock_guard lock(mutex_);
        held_.erase({prompt, sample});
      }
      run_.count();
      if (whole) run_.score(teacher_, prompt);
      throw_if_stopped();
    }
    void put_back() {
      for (const auto& [prompt, sample] : held_) run_.desk(teacher_).put_back({prompt, sample, 1});
    }

   private:
    Run& run_;
    std::size_t teacher_;
    std::mutex mutex_;
    std::set<std::pair<std::size_t, int>> held_;
  };

  void run(std::size_t t, SampleEngine& engine) {
    Seat seat(*this, t);
    try {
      engine.run(seat);
      return;
    } catch (const Interrupted&) {
      return fail(std::current_exception());
    } catch (const IoError&) {  // of the file: no other engine can do better
      return fail(std::current_exception());
    } catch (const ConfigError&) {
      return fail(std::current_exception());
    } catch (const std::exception& e) {
      {
        const std::lock_guard lock(mutex_);
        if (--alive_[t] > 0 && options_.warn) options_.warn(message(engine.name(), " is out of order, the others go on: ", e.what()));
        if (alive_[t] > 0) {
          seat.put_back();
          return;
        }
      }
      fail(std::current_exception());
    }
  }

  void fail(std::exception_ptr why) {
    {
      const std::lock_guard lock(mutex_);
      if (!failure_) failure_ = why;
    }
    for (Desk& d : desks_) d.stop();
  }

  void count() {
    const std::lock_guard lock(mutex_);
    ++done_;
    if (options_.progress) options_.progress(done_, total_);
  }

  void score_if_whole(std::size_t t, std::size_t p) {
    for (int s = 0; s < teachers_[t].samples; ++s)
      if (!file_.has(t, p, s)) return;
    if (file_.scores(t, p).size() != static_cast<std::size_t>(teachers_[t].samples)) score(t, p);
  }

  void score(std::size_t t, std::size_t p) {
    if (!rubric_) return;
    pool_->submit([this, t, p] {
      try {
        file_.add_scores(t, p, rubric_->score(raw_group(file_, t, p, teachers_[t].samples)));
      } catch (const std::exception&) {
        fail(std::current_exception());
      }
    });
  }

  std::vector<SampleTeacher>& teachers_;
  RawFile& file_;
  const Rubric* rubric_;
  const DrawOptions& options_;
  std::list<Desk> desks_;
  std::mutex mutex_;  // guards what follows
  std::vector<int> alive_;  // [teacher] engines in order
  std::exception_ptr failure_;
  std::int64_t done_ = 0, total_ = 0;
  std::unique_ptr<ThreadPool> pool_;  // last: its tasks use the rest
};

}  // namespace

std::vector<RawPrompt> raw_prompts(const std::vector<SampleTeacher>& teachers) {
  R1_CHECK(!teachers.empty(), "no teacher");
  std::vector<RawPrompt> out(teachers[0].prompts.size());
  for (const SampleTeacher& t : teachers) {
    if (t.prompts.size() != out.size())
      throw DataError(message(t.name, " has ", t.prompts.size(), " usable prompts and ", teachers[0].name, " ", out.size(),
                              "; teachers of one set answer the same prompts: shorten or drop the rows that one of them refuses"));
    for (std::size_t p = 0; p < out.size(); ++p) {
      const Prompt& prompt = t.prompts[p];
      if (&t == &teachers[0]) {
        out[p].prompt.id = prompt.id;
        out[p].prompt.task = prompt.task;
        out[p].prompt.reference = prompt.reference;
        out[p].prompt.messages = prompt.messages;
        out[p].prompt.columns = prompt.columns;
      } else if (prompt.id != out[p].prompt.id) {
        throw DataError(message("prompt ", p, " is \"", out[p].prompt.id, "\" of ", teachers[0].name, " and \"", prompt.id, "\" of ", t.name));
      }
      out[p].renders.push_back({digest_of_tokens(prompt.tokens), prefill_of(prompt)});
    }
  }
  return out;
}

RawHeader raw_header(const std::vector<SampleTeacher>& teachers, std::uint64_t seed, const std::string& rewards_json) {
  RawHeader h;
  h.seed = seed;
  h.rewards = rewards_json;
  h.prompts = teachers.at(0).prompts.size();
  for (const SampleTeacher& t : teachers)
    h.teachers.push_back({t.name, t.dtype, t.prompt_template, t.template_digest, t.template_variables, t.local, t.sampling});
  Hasher hash;
  hash.update_field(raw::to_line(raw::to_json(h)));
  const std::vector<RawPrompt> prompts = raw_prompts(teachers);
  for (std::size_t p = 0; p < prompts.size(); ++p) hash.update_field(raw::to_line(raw::to_json(p, prompts[p])));
  h.fingerprint = to_hex(hash.digest());
  return h;
}

SampleGroup raw_group(const RawFile& file, std::size_t teacher, std::size_t prompt, int samples) {
  RawPrompt p = file.prompt(prompt);
  SampleGroup group;
  group.prompt = std::move(p.prompt);
  group.prompt.text = p.renders.at(teacher).prefill;  // what format checks look at is how the prompt ends
  for (int s = 0; s < samples; ++s) {
    auto sample = file.sample(teacher, prompt, s);
    R1_CHECK(sample, "sample ", s, " of prompt ", prompt, " is not there");
    Completion c;
    c.text = std::move(sample->drawn.text);
    c.stop = sample->drawn.stop;
    c.tokens = std::move(sample->drawn.tokens);
    if (c.tokens.empty() && sample->drawn.num_tokens > 0)
      c.tokens.assign(static_cast<std::size_t>(sample->drawn.num_tokens), 0);  // for what counts them
    group.completions.push_back(std::move(c));
  }
  return group;
}

void draw_samples(std::vector<SampleTeacher>& teachers, RawFile& file, const Rubric* rubric, const DrawOptions& options) {
  Run(teachers, file, rubric, options).go();
}

}  // namespace r1
