# The managed worker for Ruby, over worker.rb: one per process, with health, logs and metrics.
#
#   Worker.log_to(Logger.new($stderr))
#   Worker::Managed.run(model: "model.gguf", health_interval_seconds: 30) do |host|
#     host.model.start("Once upon a time").each { |text| print text }
#   end
#
# Ruby's functions must not be called from threads that are not Ruby's. So log records come through a pipe, which a Ruby
# thread reads, and health is asked for: watch_health asks on a Ruby thread.

require_relative "worker"

module Worker
  STATES = %i[stopped starting running shutting_down error].freeze
  LEVELS = { trace: 1, debug: 2, info: 3, warn: 4, error: 5 }.freeze

  # The functions and structs of this part of the header.
  module Library
    Bootstrap = struct ["uint32_t struct_size", "uint32_t reserved", "uint64_t model", "char worker_id[136]"]
    Overview = struct [
      "uint32_t struct_size", "uint32_t state", "int32_t device", "uint32_t healthy", "double uptime_seconds",
      "uint64_t steps_processed", "uint64_t steps_failed", "uint64_t sessions_running", "uint64_t sessions_queued",
      "uint64_t models", "uint64_t memory", "char worker_id[136]", "char reason[504]"
    ]
    Health = struct [
      "uint32_t struct_size", "uint32_t healthy", "uint64_t checks", "double last_check_seconds",
      "uint64_t checked_bytes", "uint64_t resident_bytes", "char reason[504]"
    ]

    [
      "int32_t worker_bootstrap(void *, size_t, void *, void *)",
      "int32_t worker_status(void *, void *)",
      "int32_t worker_status_json(void *, size_t, void *)",
      "int32_t worker_transition_to_graceful_shutdown(uint64_t)",
      "int32_t worker_stop()",
      "int32_t worker_health(void *, void *)",
      "int32_t worker_health_check(void *, void *)",
      "int32_t worker_metrics_json(void *, size_t, void *)",
      "int32_t worker_metrics_prometheus(void *, size_t, void *)",
      "int32_t worker_set_log_descriptor(int32_t)",
      "int32_t worker_set_log_level(uint32_t)",
      *LEVELS.keys.map { |level| "int32_t worker_log_#{level}(void *, size_t, void *, size_t)" }
    ].each { |signature| extern signature }
  end

  # One thing that happened; `target` is the event's stable name, `fields` a Hash.
  LogRecord = Struct.new(:timestamp, :level, :target, :message, :fields, keyword_init: true)

  module_function

  # Gives log records to a Logger, or to a block that takes a LogRecord; neither: silence. They come on a Ruby thread. When
  # this returns, the former reader has been given all that was its.
  def log_to(logger = nil, &block)
    block ||= logger && ->(record) { to_logger(logger, record) }
    reader, writer = IO.pipe if block
    check(Library.worker_set_log_descriptor(writer ? writer.fileno : -1))
    # The library has a copy of its own; the pipe ends when that is closed.
    writer&.close
    former, @log_thread = @log_thread, block && Thread.new { read_records(reader, block) }
    former&.join unless former == Thread.current
  end

  # The least level that is recorded, by its name in LEVELS.
  def set_log_level(level)
    check(Library.worker_set_log_level(LEVELS.fetch(level)))
  end

  # Adds a record of the program's own to the stream, with target "host".
  def log(level, message, **fields)
    LEVELS.fetch(level)
    text = JSON.generate(fields)
    check(Library.public_send("worker_log_#{level}", message, message.bytesize, text, text.bytesize))
  end

  # The managed worker as a Hash, whether there is one or not.
  def status
    JSON.parse(read_process_text(:worker_status_json), symbolize_names: true)
  end

  def overview
    sized(Library::Overview).tap { |out| call(:worker_status, out) }
  end

  # Counters, histograms and gauges, as a Hash.
  def metrics
    JSON.parse(read_process_text(:worker_metrics_json), symbolize_names: true)
  end

  def metrics_prometheus
    read_process_text(:worker_metrics_prometheus)
  end

  # A text that may have grown when it is asked for again, by a function without an error struct.
  def read_process_text(name)
    needed = [4096].pack("J")
    loop do
      buffer = "\0".b * needed.unpack1("J")
      code = Library.public_send(name, buffer, buffer.bytesize, needed)
      next if code == BUFFER_TOO_SMALL

      check(code)
      return buffer[0, needed.unpack1("J") - 1].force_encoding("UTF-8")
    end
  end

  def read_records(reader, block)
    reader.set_encoding("UTF-8")
    reader.each_line do |line|
      values = JSON.parse(line, symbolize_names: true)
      block.call(LogRecord.new(**values, level: values[:level].to_sym))
    rescue StandardError => e
      warn("a log record was not taken: #{e.message}")
    end
  ensure
    reader.close
  end
  private_class_method :read_records

  def to_logger(logger, record)
    # Ruby's Logger has no trace.
    severity = [LEVELS.fetch(record.level) - 2, 0].max
    logger.add(severity, "#{record.message} #{JSON.generate(record.fields)}", record.target)
  end
  private_class_method :to_logger

  # The process's one managed worker; its configuration's keys are those of worker_bootstrap.
  class Managed
    # The worker's name, and the model that the configuration named (nil where it named none), which ends with it.
    attr_reader :id, :model

    # Runs the block with a worker, which is stopped afterwards: gently where no exception ended the block.
    def self.run(deadline: 10, **configuration)
      host = new(**configuration)
      result = yield host
      host.shut_down(deadline) if Worker.status[:state] == "running"
      result
    ensure
      host.stop if host && Worker.status[:state] == "running"
    end

    def initialize(**configuration)
      text = JSON.generate(configuration)
      out = Worker.sized(Library::Bootstrap)
      Worker.call(:worker_bootstrap, text, text.bytesize, out)
      @id = Worker.c_text(out.worker_id)
      handle = out.model
      @model = Model.allocate.tap { |model| model.instance_variable_set(:@handle, handle) } unless handle.zero?
    end

    # Refuses new work, lets sessions finish for so many seconds, then stops.
    def shut_down(seconds)
      Worker.check(Library.worker_transition_to_graceful_shutdown((seconds * 1000).to_i))
    end

    def stop
      Worker.check(Library.worker_stop)
    end

    # What the last check found.
    def health
      Worker.sized(Library::Health).tap { |out| Worker.call(:worker_health, out) }
    end

    # Checks now.
    def check_health
      Worker.sized(Library::Health).tap { |out| Worker.call(:worker_health_check, out) }
    end

    # Calls the block with true or false and a reason when health changes, asking every so many seconds on a Ruby thread
    # that ends with the worker.
    def watch_health(every: 1)
      Thread.new do
        before = 1
        loop do
          found = health
          yield found.healthy == 1, Worker.c_text(found.reason) if found.healthy != before
          before = found.healthy
          sleep(every)
        end
      rescue Error
        # There is no worker any more.
      end
    end
  end
end
