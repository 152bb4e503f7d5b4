// KJ's HTTP client over one connection, in an event loop that lives as long as the call.
#include "actors/internal/http_post.h"

#include <kj/async-io.h>
#include <kj/compat/http.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/internal/kj_error.h"

namespace troupe {
namespace {

kj::Promise<HttpReply> Post(kj::AsyncIoProvider& io, const kj::HttpHeaderTable& table, const std::string& host, const std::string& path,
                            const std::string& body) {
  return io.getNetwork()
      .parseAddress(host.c_str())
      .then([](kj::Own<kj::NetworkAddress>&& address) {
        auto connected = address->connect();
        return connected.attach(kj::mv(address));
      })
      .then([&table, &host, &path, &body](kj::Own<kj::AsyncIoStream>&& stream) {
        auto client = kj::newHttpClient(table, *stream);
        kj::HttpHeaders headers(table);
        headers.set(kj::HttpHeaderId::HOST, kj::str(host.c_str()));
        headers.set(kj::HttpHeaderId::CONTENT_TYPE, kj::str("application/json"));
        auto request = client->request(kj::HttpMethod::POST, path.c_str(), headers, body.size());
        auto written = request.body->write(body.data(), body.size()).attach(kj::mv(request.body));
        return written.then([response = kj::mv(request.response)]() mutable { return kj::mv(response); })
            .then([](kj::HttpClient::Response&& response) {
              auto text = response.body->readAllText(kHttpBodyMax);
              return text.then([code = response.statusCode](kj::String&& read) {
                           return HttpReply{code, std::string(read.begin(), read.size())};
                         })
                  .attach(kj::mv(response.body));
            })
            .attach(kj::mv(client))
            .attach(kj::mv(stream));   // ends after what uses it
      });
}

}   // namespace

absl::StatusOr<HttpReply> HttpPost(const std::string& host, const std::string& path, const std::string& body, std::chrono::milliseconds time_max) {
  try {
    auto io = kj::setupAsyncIo();
    const kj::HttpHeaderTable table;
    auto reply = Post(*io.provider, table, host, path, body);
    return io.provider->getTimer().timeoutAfter(time_max.count() * kj::MILLISECONDS, kj::mv(reply)).wait(io.waitScope);
  } catch (const kj::Exception& error) {
    if (error.getType() == kj::Exception::Type::OVERLOADED) {
      return absl::DeadlineExceededError(absl::StrCat(host, ": no answer within ", time_max.count(), " ms"));
    }
    return absl::UnavailableError(absl::StrCat(host, ": ", Describe(error)));
  }
}

}   // namespace troupe
