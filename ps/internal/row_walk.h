// Many keys of many ranges, as one message brings them: their rows are brought near in steps, each some keys ahead of the next, so that the processor waits for
// few of them.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

#include "ps/internal/row_store.h"

namespace troupe::internal {

/// Distinct keys of one range.
struct KeyRun {
  RowStore* store;
  const Key* keys;
  size_t n;
  uint32_t place = 0;   // of its range among those that are held
};

/// Rows that are used at once, at most.
inline constexpr size_t kWalkBlock = 64;

/// One step of a walk: goes from key to key, run by run.
struct WalkCursor {
  std::span<const KeyRun> runs;
  size_t run = 0, at = 0, done = 0;
  /// each(run, i, number of the key among all) up to number `end`.
  template <class Each>
  [[gnu::always_inline]] void Until(size_t end, const Each& each) {
    Parts(end, [&](const KeyRun& now, size_t first, size_t n, size_t number) {
      for (size_t i = 0; i < n; ++i) each(now, first + i, number + i);
    });
  }
  /// The same by parts of runs: each(run, i, how many keys from there on, number of the first).
  template <class Each>
  [[gnu::always_inline]] void Parts(size_t end, const Each& each) {
    while (done < end) {
      const KeyRun& now = runs[run];
      const size_t n = std::min(end - done, now.n - at);
      each(now, at, n, done);
      done += n;
      at += n;
      if (at == now.n) {
        ++run;
        at = 0;
      }
    }
  }
};

/// WalkRows where most keys lie in arrays, in their places: there is nothing to search.
template <bool kMake, class Made, class Use>
void WalkNumbered(std::span<const KeyRun> runs, size_t total, const Made& made, const Use& use) {
  constexpr size_t kAhead = 64, kPart = 16;
  const bool asks = !runs[0].store->is_near();
  WalkCursor asking{runs};
  std::array<float*, kWalkBlock> rows;
  size_t done = 0;
  for (size_t r = 0; r < runs.size(); ++r) {
    const KeyRun& run = runs[r];
    for (size_t at = 0, n; at < run.n; at += n) {
      n = std::min(kWalkBlock, run.n - at);
      if constexpr (kMake) run.store->MakeRoom(n);
      bool others = false;
      for (size_t i = 0, m; i < n; i += m) {
        m = std::min(kPart, n - i);
        done += m;
        if (asks) {   // (inlined at once: GCC drops calls of functions that do nothing else)
          asking.Parts(
              std::min(done + kAhead, total), [](const KeyRun& ahead, size_t first, size_t keys, size_t) __attribute__((always_inline)) {
                ahead.store->AskNumbered({ahead.keys + first, keys});
              });
        }
        others |= run.store->FindNumbered({run.keys + at + i, m}, rows.data() + i);
      }
      if (others) {
        for (size_t i = 0; i < n; ++i) {
          if (rows[i] != nullptr) continue;
          if constexpr (kMake) {
            bool fresh;
            rows[i] = run.store->Row(run.store->FindOrMake(run.keys[at + i], &fresh));
            if (fresh) made(r, at + i, rows[i]);
          } else {
            const RowStore::Slot slot = run.store->Find(run.keys[at + i]);
            rows[i] = slot == RowStore::kMissing ? nullptr : run.store->Row(slot);
          }
        }
      }
      use(r, at, std::span<float* const>(rows.data(), n));
    }
  }
}

/// Calls use(run, at, rows) for every run's keys [at, at + rows.size()), at most kWalkBlock at a time and all of one run, with their rows. kMake: rows that are
/// missing are made, and made(run, i, row) is called for each before use; else they are null. No two runs may be of one store.
template <bool kMake, class Made, class Use>
void WalkRows(std::span<const KeyRun> runs, const Made& made, const Use& use) {
  constexpr size_t kRing = 128, kHashAhead = 64, kGuessAhead = 32;   // keys on their way, and how far
  constexpr size_t kFound = 512, kBlock = 16;
  constexpr size_t kNear = 1024;   // bytes of rows that are asked for before the ones before them are used: as much as the processor waits for at once
  std::array<uint64_t, kRing> hashes;
  std::array<RowStore::Slot, kRing> guesses;
  std::array<float*, kFound> rows;
  size_t total = 0, numbered = 0;
  for (const KeyRun& run : runs) run.store->PrefetchSelf();
  for (const KeyRun& run : runs) {
    total += run.n;
    if (run.store->mostly_numbered()) numbered += run.n;
  }
  if (total == 0) return;
  if (numbered > total / 2 && runs[0].store->rows_in_slots()) return WalkNumbered<kMake>(runs, total, made, use);
  WalkCursor hashing{runs}, guessing{runs}, finding{runs}, using_rows{runs};
  size_t ready = 0;   // runs whose stores have been asked for what their rows need

  const auto hash = [&](size_t end) {
    for (; ready < std::min(hashing.run + 2, runs.size()); ++ready) runs[ready].store->PrefetchSlabs();
    hashing.Until(std::min(end, total), [&](const KeyRun& run, size_t i, size_t number) { hashes[number % kRing] = run.store->Ask(run.keys[i]); });
  };
  const auto guess = [&](size_t end) {
    guessing.Until(std::min(end, total),
                   [&](const KeyRun& run, size_t i, size_t number) { guesses[number % kRing] = run.store->Guess(run.keys[i], hashes[number % kRing]); });
  };
  const auto find = [&](size_t end) {
    size_t room_for = SIZE_MAX;   // the run that has been made room for, so that its rows stay where they are until they are used
    finding.Until(end, [&](const KeyRun& run, size_t i, size_t number) {
      float*& row = rows[number % kFound];
      const uint64_t h = hashes[number % kRing];
      if constexpr (kMake) {
        if (room_for != finding.run) {
          run.store->MakeRoom(std::min(kBlock, run.n - i));
          room_for = finding.run;
        }
        bool fresh;
        row = run.store->Row(run.store->FindOrMake(run.keys[i], h, guesses[number % kRing], &fresh));
        if (fresh) made(finding.run, i, row);
      } else {
        const RowStore::Slot slot = run.store->Find(run.keys[i], h, guesses[number % kRing]);
        row = slot == RowStore::kMissing ? nullptr : run.store->Row(slot);
      }
    });
  };

  // Rows in slots move when their store grows, so they are used at once. Of others many are found first: searches and long rows at a time would leave each
  // other no room in the processor's questions to memory.
  const RowStore& first = *runs[0].store;
  const bool in_slots = first.rows_in_slots();
  const size_t part = in_slots ? kBlock : kFound;
  const size_t block = in_slots ? kBlock : std::clamp<size_t>(kNear / first.row_bytes(), 1, kBlock);
  size_t asked = 0;
  const auto ask = [&](size_t end) {
    for (; asked < end; ++asked) {
      if (const float* row = rows[asked % kFound]; row != nullptr) first.PrefetchRow(row);
    }
  };
  for (size_t begin = 0; begin < total; begin += part) {
    const size_t end = std::min(begin + part, total);
    for (size_t at = begin; at < end; at += kBlock) {
      hash(at + kBlock + kHashAhead);
      guess(at + kBlock + kGuessAhead);
      find(std::min(at + kBlock, end));
    }
    while (using_rows.done < end) {
      const KeyRun& run = runs[using_rows.run];
      if (!in_slots) ask(std::min(using_rows.done + 2 * block, end));
      const size_t n = std::min({end - using_rows.done, run.n - using_rows.at, block});
      if (n > 0) use(using_rows.run, using_rows.at, std::span<float* const>(rows.data() + using_rows.done % kFound, n));
      using_rows.done += n;
      using_rows.at += n;
      if (using_rows.at == run.n) {
        ++using_rows.run;
        using_rows.at = 0;
      }
    }
  }
}

}   // namespace troupe::internal
