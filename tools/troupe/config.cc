// troupe config explain: every setting, its value, and where it comes from.
#include "actors/config.h"

#include <cstdio>

#include "actors/status.h"
#include "actors/storage/storage.h"
#include "actors/text.h"
#include "tools/troupe/commands.h"
#include "tools/troupe/options.h"
#include "tools/troupe/table.h"

namespace troupe {

absl::Status RunConfig(const Arguments& arguments) {
  CommandLine line(
      "config", "explain [FLAGS]",
      "Shows every setting, its value, and where that comes from: a default, the settings file, the environment (TROUPE_WORKERS and so on) or a flag;\n"
      "the later of these wins.",
      "  troupe config explain\n  TROUPE_WORKERS=2 troupe config explain --seed 7\n");
  std::string action;
  line.Argument("explain", &action, "the one thing to do with settings");
  std::vector<std::string> names;
  for (const Knob& knob : Knobs()) names.emplace_back(knob.name);
  line.Settings(names);
  TROUPE_TRY(const bool go_on, line.Parse(arguments));
  if (!go_on) return absl::OkStatus();
  if (action != "explain") return absl::InvalidArgumentError(UnknownName("action", action, std::vector<std::string>{"explain"}));
  TROUPE_TRY(const Config config, line.LoadConfig(*MakeStorage()));
  TextTable table;
  table.Row({"setting", "value", "from", "what it is"});
  for (const Config::Row& row : config.Explain()) table.Row({row.name, row.value, row.from, row.doc});
  std::fputs(table.Text().c_str(), stdout);
  return absl::OkStatus();
}

}   // namespace troupe
