#include <charconv>

#include <arrow/api.h>
#include <arrow/io/file.h>
#include <arrow/util/utf8.h>
#include <parquet/arrow/reader.h>
#include <parquet/exception.h>

#include "core/error.h"
#include "core/json_text.h"
#include "text/parquet.h"

namespace r1 {
namespace {

constexpr std::int64_t kBatchRows = 256;  // rows may be long: whole completions

// A value of a column as JSON text. Failures are std::string, for the caller knows file, row and column.
class JsonWriter {
 public:
  void add(const arrow::Array& a, std::int64_t i, std::string& out) {
    if (a.IsNull(i)) {
      out += "null";
      return;
    }
    switch (a.type_id()) {
      case arrow::Type::NA: out += "null"; return;
      case arrow::Type::BOOL: out += static_cast<const arrow::BooleanArray&>(a).Value(i) ? "true" : "false"; return;
      case arrow::Type::INT8: return whole(static_cast<const arrow::Int8Array&>(a).Value(i), out);
      case arrow::Type::INT16: return whole(static_cast<const arrow::Int16Array&>(a).Value(i), out);
      case arrow::Type::INT32: return whole(static_cast<const arrow::Int32Array&>(a).Value(i), out);
      case arrow::Type::INT64: return whole(static_cast<const arrow::Int64Array&>(a).Value(i), out);
      case arrow::Type::UINT8: return whole(static_cast<const arrow::UInt8Array&>(a).Value(i), out);
      case arrow::Type::UINT16: return whole(static_cast<const arrow::UInt16Array&>(a).Value(i), out);
      case arrow::Type::UINT32: return whole(static_cast<const arrow::UInt32Array&>(a).Value(i), out);
      case arrow::Type::UINT64: return whole(static_cast<const arrow::UInt64Array&>(a).Value(i), out);
      case arrow::Type::FLOAT: out += json_number(static_cast<const arrow::FloatArray&>(a).Value(i)); return;
      case arrow::Type::DOUBLE: out += json_number(static_cast<const arrow::DoubleArray&>(a).Value(i)); return;
      case arrow::Type::STRING: return text(static_cast<const arrow::StringArray&>(a).GetView(i), out);
      case arrow::Type::LARGE_STRING: return text(static_cast<const arrow::LargeStringArray&>(a).GetView(i), out);
      case arrow::Type::STRING_VIEW: return text(static_cast<const arrow::StringViewArray&>(a).GetView(i), out);
      case arrow::Type::BINARY: return text(static_cast<const arrow::BinaryArray&>(a).GetView(i), out);
      case arrow::Type::LARGE_BINARY: return text(static_cast<const arrow::LargeBinaryArray&>(a).GetView(i), out);
      case arrow::Type::LIST: return list(static_cast<const arrow::ListArray&>(a), i, out);
      case arrow::Type::LARGE_LIST: return list(static_cast<const arrow::LargeListArray&>(a), i, out);
      case arrow::Type::FIXED_SIZE_LIST: return list(static_cast<const arrow::FixedSizeListArray&>(a), i, out);
      case arrow::Type::STRUCT: return object(static_cast<const arrow::StructArray&>(a), i, out);
      case arrow::Type::MAP: return map(static_cast<const arrow::MapArray&>(a), i, out);
      case arrow::Type::DICTIONARY: {
        const auto& d = static_cast<const arrow::DictionaryArray&>(a);
        return add(*d.dictionary(), d.GetValueIndex(i), out);
      }
      case arrow::Type::EXTENSION: return add(*static_cast<const arrow::ExtensionArray&>(a).storage(), i, out);
      default: {
        const auto scalar = a.GetScalar(i);
        if (!scalar.ok()) throw std::string(scalar.status().ToString());
        return text((*scalar)->ToString(), out);
      }
    }
  }

 private:
  template <class T>
  static void whole(T value, std::string& out) {
    out += std::to_string(value);
  }
  static void text(std::string_view value, std::string& out) {
    if (!arrow::util::ValidateUTF8(value)) throw std::string("holds bytes that are no UTF-8 text");
    out += json_quote(value);
  }
  template <class A>
  void list(const A& a, std::int64_t i, std::string& out) {
    out += '[';
    for (std::int64_t k = a.value_offset(i), end = k + a.value_length(i), first = k; k < end; ++k) {
      if (k > first) out += ',';
      add(*a.values(), k, out);
    }
    out += ']';
  }
  void object(const arrow::StructArray& a, std::int64_t i, std::string& out) {
    out += '{';
    for (int f = 0; f < a.num_fields(); ++f) {
      if (f > 0) out += ',';
      out += json_quote(a.struct_type()->field(f)->name()) + ':';
      add(*a.field(f), i, out);
    }
    out += '}';
  }
  void map(const arrow::MapArray& a, std::int64_t i, std::string& out) {
    out += '{';
    for (std::int64_t k = a.value_offset(i), end = k + a.value_length(i), first = k; k < end; ++k) {
      if (k > first) out += ',';
      std::string key;
      add(*a.keys(), k, key);
      out += (key.starts_with('"') ? key : json_quote(key)) + ':';
      add(*a.items(), k, out);
    }
    out += '}';
  }
};

}  // namespace

struct ParquetReader::Impl {
  std::string path;
  std::unique_ptr<parquet::arrow::FileReader> reader;
  std::unique_ptr<arrow::RecordBatchReader> batches;
  std::shared_ptr<arrow::RecordBatch> batch;
  std::int64_t at = 0, row = 0;  // at: of the batch

  void check(const arrow::Status& status) const {
    if (!status.ok()) throw DataError(message(path, ": the Parquet file cannot be read (", status.ToString(), ")"));
  }
  template <class T>
  T take(arrow::Result<T> result) const {
    check(result.status());
    return std::move(result).ValueUnsafe();
  }
};

bool parquet_available() { return true; }

ParquetReader::ParquetReader(const std::string& path) : impl_(std::make_unique<Impl>()) {
  impl_->path = path;
  try {
    std::shared_ptr<arrow::io::RandomAccessFile> file = impl_->take(arrow::io::ReadableFile::Open(path));
    // A column's pages come one after another; else whole columns of a row group would be in memory.
    parquet::ReaderProperties pages;
    pages.enable_buffered_stream();
    pages.set_buffer_size(1 << 16);
    parquet::ArrowReaderProperties rows;
    rows.set_batch_size(kBatchRows);
    rows.set_pre_buffer(false);
    parquet::arrow::FileReaderBuilder builder;
    impl_->check(builder.Open(file, pages));
    builder.properties(rows);
    impl_->reader = impl_->take(builder.Build());
    impl_->batches = impl_->take(impl_->reader->GetRecordBatchReader());
  } catch (const parquet::ParquetException& e) {
    throw DataError(message(path, ": the Parquet file cannot be read (", e.what(), ")"));
  }
}
ParquetReader::~ParquetReader() = default;

bool ParquetReader::next(std::map<std::string, std::string>& columns) {
  Impl& p = *impl_;
  while (!p.batch || p.at == p.batch->num_rows()) {
    p.at = 0;
    try {
      p.check(p.batches->ReadNext(&p.batch));
    } catch (const parquet::ParquetException& e) {
      throw DataError(message(p.path, ": the Parquet file cannot be read on from row ", p.row + 1, " (", e.what(), ")"));
    }
    if (!p.batch) return false;
  }
  ++p.row;
  columns.clear();
  JsonWriter writer;
  for (int c = 0; c < p.batch->num_columns(); ++c) {
    std::string& out = columns[p.batch->column_name(c)];
    try {
      writer.add(*p.batch->column(c), p.at, out);
    } catch (const std::string& why) {
      throw DataError(message(p.path, ":", p.row, ": column \"", p.batch->column_name(c), "\" ", why));
    }
  }
  ++p.at;
  return true;
}

}  // namespace r1
