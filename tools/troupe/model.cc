// troupe model show: what a model folder holds, for people and as exact text.
#include <cstdio>

#include "actors/status.h"
#include "actors/storage/storage.h"
#include "actors/text.h"
#include "algorithms/model.h"
#include "tools/troupe/commands.h"
#include "tools/troupe/options.h"

namespace troupe {

absl::Status RunModel(const Arguments& arguments) {
  CommandLine line("model", "show DIR [--csv]", "Shows a model, after verifying every file of it: its manifest, or its weights or counts.",
                   "  troupe model show model\n  troupe model show model --csv > weights.csv\n");
  std::string action, folder;
  bool csv = false;
  line.Argument("show", &action, "the one thing to do with a model");
  line.Argument("DIR", &folder, "folder that troupe train made");
  line.Switch("--csv", &csv, "table,key,value...: sorted by key, every number exact");
  TROUPE_TRY(const bool go_on, line.Parse(arguments));
  if (!go_on) return absl::OkStatus();
  if (action != "show") return absl::InvalidArgumentError(UnknownName("action", action, std::vector<std::string>{"show"}));
  const std::unique_ptr<Storage> storage = MakeStorage();
  TROUPE_TRY(const std::unique_ptr<const Model> model, LoadModel(*storage, folder));
  const std::string text = ShowModel(*model, csv);
  std::fwrite(text.data(), 1, text.size(), stdout);
  return absl::OkStatus();
}

}   // namespace troupe
