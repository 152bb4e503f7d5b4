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

}   // namespace troupe
