// Storage beyond this machine: object stores, in a library of its own that is opened when a URI first names one.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "actors/storage/storage.h"

namespace troupe {

/// s3://BUCKET/KEY, by Arrow's client. Endpoint and region come from the environment, by the names that Amazon's own tools have for them (AWS_ENDPOINT_URL_S3,
/// AWS_ENDPOINT_URL; AWS_REGION, AWS_DEFAULT_REGION, else where the bucket is; with an endpoint else us-east-1), keys from there (AWS_ACCESS_KEY_ID,
/// AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN), from ~/.aws or from the machine's role. Unlike other storages:
/// - a folder is what the names of its files say: it need not be made, and a file may have the name of a folder;
/// - what Write has written is durable in any case, and is there as a whole or not at all, but Rename copies file by file, then removes: whoever looks
///   meanwhile sees both names, and after an error some may be at either; a file of more than 5 GB cannot be copied;
/// - a request that is not answered is tried three times, and given up after a minute or two: Unavailable. FailedPrecondition: there is no such bucket.
/// Errors of making one: Internal: the plugin is not there.
absl::StatusOr<std::unique_ptr<Storage>> MakeS3Storage();
/// The variables that say where, and hold no secret: a job hands them on to its processes.
inline constexpr const char* kS3Places[] = {"AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION"};

/// What libtroupe_s3.so exports as kS3PluginSymbol: `const S3Plugin*()`.
struct S3Plugin {
  uint64_t layout;   ///< kS3PluginLayout of its own build
  absl::StatusOr<std::unique_ptr<Storage>> (*open)();
};
constexpr char kS3PluginSymbol[] = "TroupeS3Plugin";
/// C++ types cross the border: a plugin of another build is refused. The first factor counts changes that sizes do not show.
constexpr uint64_t kS3PluginLayout = 1 * 1000 + sizeof(Block);
/// Opens the plugin at `path`.
absl::StatusOr<const S3Plugin*> LoadS3Plugin(const std::string& path);

}   // namespace troupe
