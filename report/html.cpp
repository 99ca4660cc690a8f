#include "report/html.h"

#include <cmath>
#include <cstdio>
#include <utility>

#include "core/error.h"
#include "core/json_text.h"

namespace r1::report {

std::string escape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    const int length = utf8_length(text.substr(i));
    const auto c = static_cast<unsigned char>(text[i]);
    if (length == 0 || (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f) {
      out += "\xEF\xBF\xBD";
      i += 1;
      continue;
    }
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      default: out += text.substr(i, static_cast<std::size_t>(length));
    }
    i += static_cast<std::size_t>(length);
  }
  return out;
}

HtmlTable::HtmlTable(std::string caption, std::vector<std::string> header) : caption_(std::move(caption)), header_(std::move(header)) {}

void HtmlTable::add_row(std::vector<std::string> cells) {
  cells.resize(header_.size());
  rows_.push_back(std::move(cells));
}

std::string HtmlTable::str() const {
  std::string out = message("<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"", escape(caption_), "\"><table><caption>",
      escape(caption_),
                            "</caption><thead><tr>");
  for (const auto& cell : header_) out += message("<th scope=\"col\">", cell, "</th>");
  out += "</tr></thead><tbody>\n";
  for (const auto& row : rows_) {
    out += "<tr>";
    for (std::size_t i = 0; i < row.size(); ++i) out += i == 0 ? message("<th scope=\"row\">", row[i], "</th>") : message("<td>", row[i], "</td>");
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

std::string fold(std::string_view summary, std::string_view body, bool open) {
  return message("<details", open ? " open=\"open\"" : "", "><summary>", summary, "</summary>\n", body, "</details>\n");
}

std::string section(std::string_view id, std::string_view title, std::string_view body) {
  if (body.empty()) return {};
  return message("<section id=\"", id, "\" aria-labelledby=\"", id, "-title\"><h2 id=\"", id, "-title\">", title, "</h2>\n", body, "</section>\n");
}

std::string percent(double share, int decimals) {
  if (std::isnan(share)) return "–";
  char text[40];
  std::snprintf(text, sizeof text, "%.*f %%", decimals, 100 * share);
  return text;
}

}  // namespace r1::report
