/*
 * Streams and events of the GPU that end by themselves.
 */
#ifndef WORKER_GPU_STREAM_H
#define WORKER_GPU_STREAM_H

#include "gpu/runtime.h"

#include <utility>

namespace worker::gpu {

/* On the calling thread's device. */
class OwnedStream {
public:
    OwnedStream() { check(runtime().create_stream(&stream_), "making a stream"); }
    ~OwnedStream() {
        if (stream_ != nullptr) static_cast<void>(runtime().destroy_stream(stream_));
    }
    OwnedStream(OwnedStream &&other) noexcept : stream_(std::exchange(other.stream_, nullptr)) {}
    OwnedStream &operator=(OwnedStream &&other) noexcept {
        std::swap(stream_, other.stream_);
        return *this;
    }
    OwnedStream(const OwnedStream &) = delete;
    OwnedStream &operator=(const OwnedStream &) = delete;

    Stream get() const noexcept { return stream_; }

private:
    Stream stream_ = nullptr;
};

class OwnedEvent {
public:
    OwnedEvent() { check(runtime().create_event(&event_), "making an event"); }
    ~OwnedEvent() {
        if (event_ != nullptr) static_cast<void>(runtime().destroy_event(event_));
    }
    OwnedEvent(OwnedEvent &&other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
    OwnedEvent &operator=(OwnedEvent &&other) noexcept {
        std::swap(event_, other.event_);
        return *this;
    }
    OwnedEvent(const OwnedEvent &) = delete;
    OwnedEvent &operator=(const OwnedEvent &) = delete;

    void record(Stream stream) { check(runtime().record_event(event_, stream), "recording an event"); }
    void wait() { check(runtime().synchronise_event(event_), "waiting for an event"); }

private:
    Event event_ = nullptr;
};

} // namespace worker::gpu

#endif
