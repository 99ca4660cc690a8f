#include <optional>
#include <vector>

#include <arrow/api.h>
#include <arrow/io/interfaces.h>
#include <nlohmann/json.hpp>
#include <parquet/arrow/writer.h>
#include <parquet/exception.h>

#include "core/error.h"
#include "core/files.h"
#include "text/json_pieces.h"
#include "text/parquet.h"

namespace r1 {
namespace {

using Json = nlohmann::ordered_json;

// What a column holds, as far as the rows so far say.
struct Kind {
  enum Is { kUnknown, kBool, kInt, kDouble, kText, kList, kObject } is = kUnknown;
  std::vector<std::pair<std::string, Kind>> parts;  // kObject: its fields in the order seen; kList: one, unnamed

  Kind& part(const std::string& name) {
    for (auto& [known, kind] : parts)
      if (known == name) return kind;
    return parts.emplace_back(name, Kind()).second;
  }
};

const char* name_of(Kind::Is is) {
  constexpr const char* kNames[] = {"nothing", "a truth value", "a whole number", "a number", "a text", "a list", "an object"};
  return kNames[is];
}

Kind::Is kind_of(const Json& v) {
  if (v.is_boolean()) return Kind::kBool;
  if (v.is_number_float()) return Kind::kDouble;
  if (v.is_number()) return Kind::kInt;
  if (v.is_string()) return Kind::kText;
  return v.is_array() ? Kind::kList : Kind::kObject;
}

// `column` names the value in errors: "provenance.rewards".
void learn(Kind& kind, const Json& value, const std::string& column) {
  if (value.is_null()) return;
  const Kind::Is is = kind_of(value);
  const bool numbers = (kind.is == Kind::kInt || kind.is == Kind::kDouble) && (is == Kind::kInt || is == Kind::kDouble);
  if (kind.is == Kind::kUnknown) kind.is = is;
  else if (numbers) kind.is = kind.is == Kind::kDouble ? Kind::kDouble : is;
  else if (kind.is != is)
    throw DataError(message("column \"", column, "\" is ", name_of(is), " here and ", name_of(kind.is),
                            " in earlier rows; a Parquet column has one type: make them alike, or write JSON lines"));
  if (is == Kind::kInt && value.is_number_unsigned() && value.get<std::uint64_t>() > std::uint64_t{INT64_MAX})
    throw DataError(message("column \"", column, "\" is ", value.dump(), ", above what a 64-bit column holds; write JSON lines"));
  if (is == Kind::kList)
    for (const Json& one : value) learn(kind.part(""), one, column + "[]");
  if (is == Kind::kObject)
    for (const auto& [name, one] : value.items()) learn(kind.part(name), one, column + "." + name);
}

// Null for an object without fields, which Parquet does not have.
std::shared_ptr<arrow::DataType> type_of(const Kind& kind) {
  switch (kind.is) {
    case Kind::kBool: return arrow::boolean();
    case Kind::kInt: return arrow::int64();
    case Kind::kDouble: return arrow::float64();
    case Kind::kUnknown:
    case Kind::kText: return arrow::utf8();
    case Kind::kList: {
      const auto item = kind.parts.empty() ? arrow::utf8() : type_of(kind.parts[0].second);
      return item ? arrow::list(item) : nullptr;
    }
    case Kind::kObject: break;
  }
  arrow::FieldVector fields;
  for (const auto& [name, part] : kind.parts)
    if (const auto type = type_of(part)) fields.push_back(arrow::field(name, type));
  return fields.empty() ? nullptr : arrow::struct_(fields);
}

void check(const arrow::Status& status) {
  if (!status.ok()) throw IoError(status.ToString());
}

void append(arrow::ArrayBuilder& b, const Json& v) {
  if (v.is_null()) return check(b.AppendNull());
  switch (b.type()->id()) {
    case arrow::Type::BOOL: return check(static_cast<arrow::BooleanBuilder&>(b).Append(v.get<bool>()));
    case arrow::Type::INT64: return check(static_cast<arrow::Int64Builder&>(b).Append(v.get<std::int64_t>()));
    case arrow::Type::DOUBLE: return check(static_cast<arrow::DoubleBuilder&>(b).Append(v.get<double>()));
    case arrow::Type::STRING: return check(static_cast<arrow::StringBuilder&>(b).Append(v.get_ref<const std::string&>()));
    case arrow::Type::LIST: {
      auto& list = static_cast<arrow::ListBuilder&>(b);
      check(list.Append());
      for (const Json& one : v) append(*list.value_builder(), one);
      return;
    }
    default: {
      auto& object = static_cast<arrow::StructBuilder&>(b);
      check(object.Append());
      for (int f = 0; f < object.num_fields(); ++f) {
        const auto it = v.find(object.type()->field(f)->name());
        append(*object.field_builder(f), it == v.end() ? Json() : *it);
      }
    }
  }
}

class Sink : public arrow::io::OutputStream {
 public:
  explicit Sink(AtomicFile& file) : file_(file) {}
  arrow::Status Write(const void* data, std::int64_t bytes) override {
    try {
      file_.write(std::string_view(static_cast<const char*>(data), static_cast<std::size_t>(bytes)));
    } catch (const IoError& e) {
      return arrow::Status::IOError(e.what());
    }
    written_ += bytes;
    return arrow::Status::OK();
  }
  arrow::Status Close() override {
    closed_ = true;
    return arrow::Status::OK();
  }
  arrow::Result<std::int64_t> Tell() const override { return written_; }
  bool closed() const override { return closed_; }

 private:
  AtomicFile& file_;
  std::int64_t written_ = 0;
  bool closed_ = false;
};

template <class F>
void each_row(const std::string& path, F&& use) {
  JsonPieces pieces(path);
  for (JsonPieces::Piece piece; pieces.next(piece);) {
    const Json row = Json::parse(piece.text, nullptr, false);
    if (!row.is_object()) throw DataError(message(path, ":", piece.number, ": a row must be a JSON object"));
    with_context(message(path, ":", piece.number), [&] { use(row, piece.text.size()); });
  }
}

void write_rows(const std::string& from, const std::shared_ptr<arrow::Schema>& schema, AtomicFile& file) {
  constexpr std::size_t kGroupBytes = std::size_t{32} << 20;  // of JSON, a row group
  const auto properties = parquet::WriterProperties::Builder().compression(parquet::Compression::SNAPPY)->build();
  auto opened = parquet::arrow::FileWriter::Open(*schema, arrow::default_memory_pool(), std::make_shared<Sink>(file), properties);
  check(opened.status());
  const std::unique_ptr<parquet::arrow::FileWriter> writer = std::move(opened).ValueUnsafe();
  std::vector<std::unique_ptr<arrow::ArrayBuilder>> builders(static_cast<std::size_t>(schema->num_fields()));
  for (std::size_t c = 0; c < builders.size(); ++c)
    check(arrow::MakeBuilder(arrow::default_memory_pool(), schema->field(static_cast<int>(c))->type(), &builders[c]));
  std::int64_t rows = 0;
  std::size_t bytes = 0;
  const auto flush = [&] {
    if (rows == 0) return;
    arrow::ArrayVector arrays(builders.size());
    for (std::size_t c = 0; c < builders.size(); ++c) check(builders[c]->Finish(&arrays[c]));
    check(writer->WriteTable(*arrow::Table::Make(schema, arrays, rows), rows));
    rows = 0;
    bytes = 0;
  };
  each_row(from, [&](const Json& row, std::size_t size) {
    for (std::size_t c = 0; c < builders.size(); ++c) {
      const auto it = row.find(schema->field(static_cast<int>(c))->name());
      append(*builders[c], it == row.end() ? Json() : *it);
    }
    ++rows;
    if ((bytes += size) >= kGroupBytes) flush();
  });
  flush();
  check(writer->Close());
}

}  // namespace

void json_lines_to_parquet(const std::string& json_lines, const std::string& path) {
  Kind all;
  all.is = Kind::kObject;
  each_row(json_lines, [&](const Json& row, std::size_t) {
    for (const auto& [name, value] : row.items()) learn(all.part(name), value, name);
  });
  arrow::FieldVector fields;
  for (const auto& [name, kind] : all.parts)
    if (const auto type = type_of(kind)) fields.push_back(arrow::field(name, type));
  with_context(path, [&] {
    AtomicFile file(path);
    try {
      write_rows(json_lines, arrow::schema(fields), file);
    } catch (const parquet::ParquetException& e) {
      throw IoError(e.what());
    }
    file.commit();
  });
}

}  // namespace r1
