#include "gpu/staging.h"

#include <algorithm>
#include <cstring>
#include <string>

namespace worker::gpu {

Staging::PinnedBuffer::PinnedBuffer() {
    const Status status = runtime().allocate_pinned(&address_, buffer_bytes);
    if (status == Status::Success) return;
    static_cast<void>(runtime().take_last_error());
    check(status, std::to_string(buffer_bytes) + " bytes of page-locked host memory for copies");
}

Staging::PinnedBuffer::~PinnedBuffer() {
    if (address_ != nullptr) static_cast<void>(runtime().release_pinned(address_));
}

Staging::Staging() = default;

void Staging::upload(void *to, const void *from, size_t bytes, Stream stream) {
    size_t turn = 0;
    for (size_t done = 0; done < bytes; done += buffer_bytes, ++turn) {
        Buffer &buffer = buffers_[turn % buffers_.size()];
        if (turn >= buffers_.size()) buffer.travelled.wait();
        const size_t length = std::min(buffer_bytes, bytes - done);
        std::memcpy(buffer.memory.get(), static_cast<const char *>(from) + done, length);
        check(runtime().copy(static_cast<char *>(to) + done, buffer.memory.get(), length, CopyKind::HostToDevice, stream),
              "copying " + std::to_string(length) + " bytes to the device");
        buffer.travelled.record(stream);
    }
    check(runtime().synchronise_stream(stream), "copying " + std::to_string(bytes) + " bytes to the device");
}

void Staging::download(void *to, const void *from, size_t bytes, Stream stream) {
    const auto start = [&](size_t turn) {
        const size_t offset = turn * buffer_bytes;
        Buffer &buffer = buffers_[turn % buffers_.size()];
        const size_t length = std::min(buffer_bytes, bytes - offset);
        check(runtime().copy(buffer.memory.get(), static_cast<const char *>(from) + offset, length, CopyKind::DeviceToHost, stream),
              "copying " + std::to_string(length) + " bytes from the device");
        buffer.travelled.record(stream);
    };
    const size_t turns = (bytes + buffer_bytes - 1) / buffer_bytes;
    for (size_t turn = 0; turn < std::min(turns, buffers_.size()); ++turn) start(turn);
    for (size_t turn = 0; turn < turns; ++turn) {
        Buffer &buffer = buffers_[turn % buffers_.size()];
        buffer.travelled.wait();
        const size_t offset = turn * buffer_bytes;
        std::memcpy(static_cast<char *>(to) + offset, buffer.memory.get(), std::min(buffer_bytes, bytes - offset));
        if (turn + buffers_.size() < turns) start(turn + buffers_.size());
    }
}

} // namespace worker::gpu
