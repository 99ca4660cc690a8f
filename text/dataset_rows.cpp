// Files to rows.
#include <algorithm>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "text/data_files.h"
#include "text/dataset.h"
#include "text/json_pieces.h"
#include "text/parquet.h"

namespace r1 {
namespace {

using Json = nlohmann::ordered_json;  // a column's text keeps the order of its fields

Row make_row(const std::string& file, std::int64_t line, const Json& object) {
  if (!object.is_object())
    throw DataError(message(file, ":", line, ": a row must be a JSON object, this is ", object.type_name()));
  Row row{file, line, {}};
  for (const auto& [name, value] : object.items()) row.columns[name] = value.dump();
  return row;
}

// The parser's message without its own prefix and position, which count inside one line.
std::string reason(const Json::parse_error& e) {
  const std::string what = e.what();
  const std::size_t colon = what.find(": ");
  return colon == std::string::npos ? what : what.substr(colon + 2);
}

DataError bad_json(const std::string& file, std::int64_t line, const Json::parse_error& e) {
  return DataError(message(file, ":", line, ": bad JSON: ", reason(e)));
}

}  // namespace

struct RowReader::Impl {
  DatasetOptions options;
  std::vector<std::string>* skipped = nullptr;
  std::vector<std::string> files;
  std::size_t next_file = 0;
  std::string file;
  std::unique_ptr<JsonPieces> json;
  std::unique_ptr<ParquetReader> parquet;
  std::int64_t rows = 0, of_file = 0, bad_of_file = 0;  // of_file: rows, and the number of Parquet's last one

  bool open_next() {
    json.reset();
    parquet.reset();
    if (next_file == files.size()) return false;
    file = files[next_file++];
    of_file = bad_of_file = 0;
    if (is_parquet(file)) parquet = std::make_unique<ParquetReader>(file);
    else json = std::make_unique<JsonPieces>(file);
    return true;
  }

  // A row of the present file; false at its end.
  bool from_file(Row& row) {
    if (parquet) {
      row = Row{file, of_file + 1, {}};
      return parquet->next(row.columns);
    }
    JsonPieces::Piece piece;
    if (!json->next(piece)) return false;
    Json value;
    try {
      value = Json::parse(piece.text);
    } catch (const Json::parse_error& e) {
      if (!json->array()) throw bad_json(file, piece.line, e);
      const auto until = piece.text.substr(0, std::min(e.byte, piece.text.size()));
      // What follows in a broken array cannot be told apart: no row to skip.
      throw Broken{bad_json(file, piece.line + std::count(until.begin(), until.end(), '\n'), e)};
    }
    row = make_row(file, piece.number, value);
    return true;
  }
  struct Broken {
    DataError error;
  };

  bool next(Row& row) {
    if (options.limit > 0 && rows >= options.limit) return false;
    while (json || parquet || open_next()) {
      try {
        if (!from_file(row)) {
          if (of_file == 0 && bad_of_file == 0) throw Broken{DataError(message(file, " holds no rows"))};
          json.reset();
          parquet.reset();
          continue;
        }
      } catch (const Broken& broken) {
        throw broken.error;
      } catch (const DataError& e) {
        if (!options.skip_bad_rows || parquet) throw;
        ++bad_of_file;
        if (skipped) skipped->push_back(e.what());
        continue;
      }
      ++of_file;
      ++rows;
      return true;
    }
    return false;
  }
};

RowReader::RowReader(const DatasetOptions& options, std::vector<std::string>* skipped) : impl_(std::make_unique<Impl>()) {
  impl_->options = options;
  impl_->skipped = skipped;
  impl_->files = expand_paths(options.paths);
}
RowReader::~RowReader() = default;
bool RowReader::next(Row& row) { return impl_->next(row); }

std::vector<Row> read_rows(const DatasetOptions& options, std::vector<std::string>* skipped) {
  RowReader reader(options, skipped);
  std::vector<Row> rows;
  for (Row row; reader.next(row);) rows.push_back(std::move(row));
  return rows;
}

}  // namespace r1
