// Where Arrow writes, into a sink of ours.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "arrow/io/interfaces.h"
#include "arrow/result.h"
#include "dataflow/output_file.h"

namespace troupe {

/// Passes bytes on and keeps the sink's own error, which says more than what Arrow makes of it.
class SinkStream final : public arrow::io::OutputStream {
 public:
  explicit SinkStream(ByteSink* sink) : sink_(sink) { set_mode(arrow::io::FileMode::WRITE); }
  arrow::Status Write(const void* data, int64_t bytes) override {
    if (status_.ok()) status_ = sink_->Write({static_cast<const char*>(data), static_cast<size_t>(bytes)});
    position_ += bytes;
    return status_.ok() ? arrow::Status::OK() : arrow::Status::IOError("sink");
  }
  arrow::Status Close() override { return arrow::Status::OK(); }
  bool closed() const override { return false; }
  arrow::Result<int64_t> Tell() const override { return position_; }
  const absl::Status& status() const { return status_; }

 private:
  ByteSink* sink_;
  absl::Status status_;
  int64_t position_ = 0;
};

}   // namespace troupe
