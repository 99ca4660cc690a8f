#include "preference/preference_loss.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace r1 {

double log_sigmoid(double x) { return std::min(x, 0.0) - std::log1p(std::exp(-std::abs(x))); }

double sigmoid(double x) {
  const double e = std::exp(-std::abs(x));
  return x >= 0 ? 1 / (1 + e) : e / (1 + e);
}

PairLoss bradley_terry_loss(std::span<const double> chosen, std::span<const double> rejected, double centring, std::int64_t update_size) {
  R1_CHECK(chosen.size() == rejected.size() && update_size > 0, chosen.size(), " chosen and ", rejected.size(), " rejected scores of ", update_size);
  PairLoss out;
  const double n = static_cast<double>(update_size);
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    const double margin = chosen[i] - rejected[i], sum = chosen[i] + rejected[i];
    out.loss += (-log_sigmoid(margin) + centring * sum * sum) / n;
    out.d_chosen.push_back((-sigmoid(-margin) + 2 * centring * sum) / n);
    out.d_rejected.push_back((sigmoid(-margin) + 2 * centring * sum) / n);
  }
  return out;
}

PointLoss pointwise_loss(std::span<const double> scores, std::span<const double> labels, std::int64_t update_size) {
  R1_CHECK(scores.size() == labels.size() && update_size > 0, scores.size(), " scores, ", labels.size(), " labels of ", update_size);
  PointLoss out;
  const double n = static_cast<double>(update_size);
  for (std::size_t i = 0; i < scores.size(); ++i) {
    out.loss -= (labels[i] * log_sigmoid(scores[i]) + (1 - labels[i]) * log_sigmoid(-scores[i])) / n;
    out.d_scores.push_back((sigmoid(scores[i]) - labels[i]) / n);
  }
  return out;
}

DpoLoss parse_dpo_loss(std::string_view name) {
  if (name == "sigmoid") return DpoLoss::kSigmoid;
  if (name == "hinge") return DpoLoss::kHinge;
  if (name == "ipo") return DpoLoss::kIpo;
  throw ConfigError(message("dpo.loss is \"", name, "\"; it can be sigmoid, hinge, ipo"));
}

DpoOutput dpo_loss(const DpoInput& in, const DpoOptions& o, std::int64_t update_size) {
  const std::size_t pairs = in.chosen.size();
  R1_CHECK(in.rejected.size() == pairs && in.ref_chosen.size() == pairs && in.ref_rejected.size() == pairs &&
               in.chosen_tokens.size() == pairs && in.rejected_tokens.size() == pairs && update_size > 0,
           "the DPO loss of ", pairs, " pairs got vectors of other lengths");
  DpoOutput out;
  const double n = static_cast<double>(update_size);
  for (std::size_t i = 0; i < pairs; ++i) {
    const double c = in.chosen[i] - in.ref_chosen[i], r = in.rejected[i] - in.ref_rejected[i];
    const double scale_c = o.kind == DpoLoss::kIpo ? 1 / static_cast<double>(in.chosen_tokens[i]) : 1;
    const double scale_r = o.kind == DpoLoss::kIpo ? 1 / static_cast<double>(in.rejected_tokens[i]) : 1;
    const double h = c * scale_c - r * scale_r;
    double loss = 0, slope = 0;  // of h
    switch (o.kind) {
      case DpoLoss::kSigmoid:
        loss = -(1 - o.label_smoothing) * log_sigmoid(o.beta * h) - o.label_smoothing * log_sigmoid(-o.beta * h);
        slope = o.beta * (-(1 - o.label_smoothing) * sigmoid(-o.beta * h) + o.label_smoothing * sigmoid(o.beta * h));
        break;
      case DpoLoss::kHinge:
        loss = std::max(0.0, 1 - o.beta * h);
        slope = o.beta * h < 1 ? -o.beta : 0;
        break;
      case DpoLoss::kIpo: {
        const double miss = h - 1 / (2 * o.beta);
        loss = miss * miss, slope = 2 * miss;
        break;
      }
    }
    out.loss += loss / n;
    out.d_chosen.push_back(slope * scale_c / n);
    out.d_rejected.push_back(-slope * scale_r / n);
    out.reward_chosen.push_back(o.beta * c);
    out.reward_rejected.push_back(o.beta * r);
  }
  return out;
}

}  // namespace r1
