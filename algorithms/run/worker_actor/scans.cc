// Splits in phases without tables: batches by the dozen in one compute job.
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/status.h"
#include "algorithms/run/worker_actor/parts.h"

namespace troupe::worker_actor {
namespace {

constexpr uint64_t kScanBatches = 32;   // in one job

void ContinueScan(Self* self, uint32_t split, const std::shared_ptr<Scan>& scan) {
  scan->pace.Begin(self->clock().now());
  self->state.system->compute().Submit(Compute::Priority::kStep, [to = caf::actor(self), split, scan, algorithm = self->state.algorithm] {
    scan->status = [&]() -> absl::Status {
      if (!std::exchange(scan->begun, true)) TROUPE_RETURN_IF_ERROR(scan->source->Begin(scan->phase, scan->epoch, scan->skip));
      for (uint64_t i = 0; i < kScanBatches; ++i) {
        TROUPE_TRY(std::optional<PreparedBatch> prepared, scan->source->Next());
        if (!prepared) {
          scan->finished = true;
          break;
        }
        if (prepared->pull != nullptr) return absl::InternalError(absl::StrCat("phase '", scan->phase.name, "' pulls, but says that it uses no tables"));
        TROUPE_RETURN_IF_ERROR(WorkOn(*algorithm, scan->phase, *prepared, {}, scan->result));
        if (!scan->result.pushes.empty()) return absl::InternalError(absl::StrCat("phase '", scan->phase.name, "' pushes, but says that it uses no tables"));
      }
      return absl::OkStatus();
    }();
    System::Deliver(to, Scanned{split, scan});
  });
}

void LetGo(Self* self, Scan& scan) {
  scan.report.complete = scan.finished;
  scan.report.state = SplitReport::State::kLetGo;
  scan.report.sum = scan.result.sum;
  scan.report.collected = scan.result.collected;
  scan.hold = Hold::kNone;
  Answer(self, true);
}

}   // namespace

SplitReport ReportOf(Self* self, const Scan& scan) {
  SplitReport report = scan.report;
  if (scan.hold != Hold::kNone) scan.pace.Say(self->clock().now(), report);
  return report;
}

void OnScanned(Self* self, const Scanned& scanned) {
  WorkerState& state = self->state;
  Scan& scan = *scanned.scan;
  if (state.scans[scanned.split] != scanned.scan) return;   // of an earlier run
  scan.pace.End(self->clock().now());
  if (!scan.status.ok()) {
    Fail(self, scan.status);
    return;
  }
  scan.report.rows = scan.source->rows();
  scan.report.nonzeros = scan.source->nonzeros();
  scan.report.bad_rows = scan.source->bad_rows();
  scan.report.bytes = scan.source->bytes();
  scan.report.bytes_total = scan.source->bytes_total();
  scan.report.batches = scan.source->batches();
  if (scan.hold == Hold::kLeaving) return LetGo(self, scan);
  if (!scan.finished) {
    ContinueScan(self, scanned.split, scanned.scan);
    return;
  }
  scan.report.sum = scan.result.sum;
  scan.report.collected = scan.result.collected;
  scan.report.state = SplitReport::State::kDone;
  Answer(self, false);
}

void TakeScan(Self* self, const SplitTask& task) {
  WorkerState& state = self->state;
  std::shared_ptr<Scan>& scan = state.scans[task.split];
  if (scan != nullptr && scan->hold != Hold::kNone) {
    scan->hold = Hold::kMine;
    return;
  }
  scan = std::make_shared<Scan>();
  scan->phase = state.run.current.phase;
  scan->epoch = state.run.current.epoch;
  scan->source =
      std::make_unique<BatchSource>(state.algorithm, state.router, state.source, state.cache, task.split, state.options.splits_total, state.options.seed);
  scan->report.split = task.split;
  if (task.so_far) {
    scan->skip = task.so_far->batches;
    scan->result.sum = task.so_far->sum;
    scan->result.collected = task.so_far->collected;
    if (task.so_far->complete) {
      scan->report = *task.so_far;
      scan->report.state = SplitReport::State::kDone;
      scan->finished = true;
      return;
    }
  }
  ContinueScan(self, task.split, scan);
}

void Release(Self* self, Scan& scan) {
  if (scan.hold != Hold::kMine) return;
  scan.hold = Hold::kLeaving;
  if (scan.finished) LetGo(self, scan);
}

}   // namespace troupe::worker_actor
