// A TableSet over shards that are there already, wherever they are.
#pragma once

#include <memory>
#include <vector>

#include "ps/messages.h"
#include "ps/router.h"
#include "ps/table_set.h"

namespace troupe {

/// The set is their only writer, with the number 0. Its pulls see its pushes before them, also where messages to a shard overtake each other (Pull::after).
/// options.folder and options.shards do not matter here.
std::unique_ptr<TableSet> MakeTableSet(System& system, std::vector<ShardActor> shards, const TableSetOptions& options);
/// The set is their writer `writer`, of several. The shards may be other processes', where a pull could overtake a push: it waits for the set's own ones.
/// Whoever had this number before must write no more.
std::unique_ptr<TableSet> MakeTableSet(System& system, std::vector<ShardActor> shards, const TableSetOptions& options, WriterId writer);
/// The set writes no more: everything under way, and whatever is asked of it from now on, ends with `why`.
void Abandon(const TableSet& set, const absl::Status& why);

}   // namespace troupe
