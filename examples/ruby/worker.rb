# libworker for Ruby by Fiddle, which is part of Ruby: the structs and functions of worker_ffi.h, and Model and Session
# over them. Fiddle lets go of the interpreter's lock during a call, so other Ruby threads run while one waits for a token.

require "fiddle"
require "fiddle/import"
require "json"

module Worker
  CPU = -1
  WAIT_FOREVER = -1
  SUCCESS, INVALID_DEVICE, MODEL_LOAD_FAILED, MODEL_UNSUPPORTED, INVALID_PARAMETER = 0, 1, 3, 4, 6
  BUFFER_TOO_SMALL, TIMED_OUT, INPUT_OUTPUT = 120, 121, 150
  DEVICE_CPU, DEVICE_GPU = 1, 2
  EVENT_TOKEN, EVENT_END, EVENT_ERROR = 1, 2, 3
  END_REASONS = %w[none end_of_text maximum_tokens stop_string cancelled closed deadline context_full error
                   constraint_complete].freeze
  CONSTRAINT_JSON_SCHEMA, CONSTRAINT_REGEX, CONSTRAINT_LARK = 1, 2, 3
  TOKENIZE_ADD_SPECIAL, TOKENIZE_PARSE_SPECIAL = 1, 2
  SCORE_LOGPROBS = 1

  # A failed call: its published code, and what was expected, found, and where.
  class Error < StandardError
    attr_reader :code

    def initialize(code, detail)
      super(detail.empty? ? Library.worker_error_message(code).to_s : detail)
      @code = code
    end

    def name
      Library.worker_error_name(code).to_s
    end
  end

  # The C functions by their names, and the structs.
  module Library
    extend Fiddle::Importer
    dlload ENV.fetch("WORKER_LIBRARY", "libworker.so.0")

    ErrorStruct = struct ["uint32_t struct_size", "int32_t code", "char detail[504]"]
    DeviceInfo = struct [
      "uint32_t struct_size", "int32_t ordinal", "uint32_t kind", "uint32_t compute_capability",
      "uint64_t total_memory", "uint64_t free_memory", "uint32_t threads", "uint32_t reserved",
      "char name[128]", "char kernel_path[32]"
    ]
    Memory = struct [
      "uint32_t struct_size", "uint32_t reserved", "uint64_t weights", "uint64_t kv_cache", "uint64_t workspace",
      "uint64_t other", "uint64_t total", "uint64_t allocations"
    ]
    Residency = struct [
      "uint32_t struct_size", "uint32_t resident", "uint32_t policy", "uint32_t reserved", "uint64_t checked_bytes",
      "uint64_t resident_bytes", "uint64_t allocations", "uint64_t violations", "uint64_t violating_bytes",
      "char violating[192]"
    ]
    ModelOptions = struct [
      "uint32_t struct_size", "uint32_t device_kind", "uint32_t device_ordinal", "uint32_t context_length",
      "uint32_t kv_type", "uint32_t residency", "uint32_t load_mode", "uint32_t threads", "uint32_t maximum_sessions",
      "uint32_t reserved", "uint64_t kv_budget_bytes", "void *progress", "void *progress_user_data",
      "void *progress_destroy"
    ]
    ChatOptions = struct [
      "uint32_t struct_size", "uint32_t no_generation_prompt", "void *tools_json", "uint64_t tools_json_length",
      "void *variables_json", "uint64_t variables_json_length"
    ]
    SessionOptions = struct [
      "uint32_t struct_size", "uint32_t maximum_tokens", "float temperature", "uint32_t top_k", "float top_p",
      "float min_p", "float typical_p", "float repetition_penalty", "float presence_penalty", "float frequency_penalty",
      "uint32_t penalty_window", "uint32_t seed_given", "uint64_t seed", "void *logit_bias",
      "uint64_t logit_bias_count", "void *stop", "uint64_t stop_count", "uint32_t logprobs",
      "uint32_t constraint_kind", "void *constraint", "uint64_t constraint_length", "uint64_t deadline_ms",
      "uint32_t ignore_end", "uint32_t reserved"
    ]
    Event = struct [
      "uint32_t struct_size", "uint32_t kind", "void *text", "uint64_t text_capacity", "uint64_t text_length",
      "uint64_t text_needed", "void *top", "uint32_t top_capacity", "uint32_t top_count", "uint32_t token",
      "uint32_t index", "uint32_t has_logprob", "float logprob", "uint32_t end_reason", "int32_t error_code",
      "int32_t matched_stop", "uint32_t prompt_tokens", "uint32_t cached_tokens", "uint32_t generated_tokens"
    ]
    Usage = struct [
      "uint32_t struct_size", "uint32_t prompt_tokens", "uint32_t cached_tokens", "uint32_t generated_tokens",
      "double queue_seconds", "double prefill_seconds", "double decode_seconds", "double first_token_seconds"
    ]
    ScoreOptions = struct [
      "uint32_t struct_size", "uint32_t kind", "uint32_t kv_type", "uint32_t reserved", "uint64_t last"
    ]
    EmbedOptions = struct ["uint32_t struct_size", "uint32_t pooling", "uint32_t normalize", "uint32_t reserved"]

    [
      "uint32_t worker_abi_version()",
      "const char *worker_error_name(int32_t)",
      "const char *worker_error_message(int32_t)",
      "int32_t worker_last_error(void *, size_t, void *)",
      "int32_t worker_device_info(int32_t, void *, void *)",
      "int32_t worker_model_load(void *, size_t, void *, void *, void *)",
      "int32_t worker_model_unload(uint64_t)",
      "int32_t worker_model_memory(uint64_t, void *, void *)",
      "int32_t worker_model_check_residency(uint64_t, void *, void *)",
      "int32_t worker_model_tokenize(uint64_t, void *, size_t, uint32_t, void *, size_t, void *, void *)",
      "int32_t worker_model_detokenize(uint64_t, void *, size_t, uint32_t, void *, size_t, void *, void *)",
      "int32_t worker_model_apply_chat_template(uint64_t, void *, size_t, void *, void *, size_t, void *, void *)",
      "int32_t worker_model_score(uint64_t, void *, size_t, void *, void *, size_t, void *, void *)",
      "int32_t worker_model_embed(uint64_t, void *, size_t, void *, void *, size_t, void *, void *)",
      "int32_t worker_session_start(uint64_t, void *, size_t, void *, void *, void *)",
      "int32_t worker_session_start_chat(uint64_t, void *, size_t, void *, void *, void *)",
      "int32_t worker_session_start_tokens(uint64_t, void *, size_t, void *, void *, void *)",
      "int32_t worker_session_next(uint64_t, void *, int64_t, void *)",
      "int32_t worker_session_cancel(uint64_t)",
      "int32_t worker_session_usage(uint64_t, void *, void *)",
      "int32_t worker_session_seed(uint64_t, void *, void *)",
      "int32_t worker_session_close(uint64_t)"
    ].each { |signature| extern signature }
  end

  module_function

  # A new struct, all zero but for its size.
  def sized(kind)
    memory = Fiddle::Pointer.malloc(kind.size, Fiddle::RUBY_FREE)
    memory[0, kind.size] = "\0" * kind.size
    kind.new(memory).tap { |struct| struct.struct_size = kind.size }
  end

  # Calls a function whose last parameter is an error struct; raises Error where it fails.
  def call(name, *arguments)
    error = sized(Library::ErrorStruct)
    code = Library.public_send(name, *arguments, error)
    raise Error.new(code, c_text(error.detail)) unless code == SUCCESS
  end

  # For functions without an error struct: the detail is this thread's last error.
  def check(code)
    return if code == SUCCESS

    text = "\0" * 1024
    Library.worker_last_error(text, text.bytesize, nil)
    raise Error.new(code, text.unpack1("Z*").force_encoding("UTF-8"))
  end

  # Fills a struct by `name(subject, struct, error)`.
  def read_struct(kind, name, subject)
    sized(kind).tap { |out| call(name, subject, out) }
  end

  # Calls until the buffer is large enough, and returns the bytes that were written.
  def read_bytes(element_size, guess, name, *arguments)
    needed = [guess].pack("J")
    loop do
      capacity = needed.unpack1("J")
      buffer = "\0".b * (capacity * element_size)
      begin
        call(name, *arguments, buffer, capacity, needed)
        return buffer[0, needed.unpack1("J") * element_size]
      rescue Error => e
        raise unless e.code == BUFFER_TOO_SMALL && needed.unpack1("J") > capacity
      end
    end
  end

  # As read_bytes; the text's NUL is counted.
  def read_text(name, *arguments)
    read_bytes(1, 256, name, *arguments)[0...-1].force_encoding("UTF-8")
  end

  def c_text(characters)
    characters.pack("c*").unpack1("Z*").force_encoding("UTF-8")
  end

  def device_info(device = CPU)
    read_struct(Library::DeviceInfo, :worker_device_info, device)
  end

  # A loaded model; unload it when it is not needed any more.
  class Model
    attr_reader :handle

    def initialize(path, device: CPU)
      options = Worker.sized(Library::ModelOptions)
      options.device_kind = device == CPU ? DEVICE_CPU : DEVICE_GPU
      options.device_ordinal = [device, 0].max
      handle = "\0" * 8
      Worker.call(:worker_model_load, path, path.bytesize, options, handle)
      @handle = handle.unpack1("Q")
    end

    def unload
      Worker.check(Library.worker_model_unload(@handle))
    end

    def memory
      Worker.read_struct(Library::Memory, :worker_model_memory, @handle)
    end

    def check_residency
      Worker.read_struct(Library::Residency, :worker_model_check_residency, @handle)
    end

    def tokenize(text, flags = 0)
      Worker.read_bytes(4, text.bytesize + 8, :worker_model_tokenize, @handle, text, text.bytesize, flags).unpack("L*")
    end

    def detokenize(tokens, flags = 0)
      Worker.read_text(:worker_model_detokenize, @handle, tokens.pack("L*"), tokens.size, flags)
    end

    def apply_chat_template(messages_json)
      options = Worker.sized(Library::ChatOptions)
      Worker.read_text(:worker_model_apply_chat_template, @handle, messages_json, messages_json.bytesize, options)
    end

    # The log-probability of each token but the first, after those before it.
    def score(tokens)
      options = Worker.sized(Library::ScoreOptions)
      options.kind = SCORE_LOGPROBS
      Worker.read_bytes(4, 0, :worker_model_score, @handle, tokens.pack("L*"), tokens.size, options).unpack("f*")
    end

    def embed(tokens)
      options = Worker.sized(Library::EmbedOptions)
      Worker.read_bytes(4, 0, :worker_model_embed, @handle, tokens.pack("L*"), tokens.size, options).unpack("f*")
    end

    # Continues a text, answers chat messages (JSON), or continues token ids. Options as in worker_session_options_t.
    def start(prompt = "", chat: nil, tokens: nil, stop: [], seed: nil, json_schema: nil, regex: nil, **options)
      wishes = Worker.sized(Library::SessionOptions)
      options.each { |name, value| wishes[name.to_s] = value }
      wishes.seed, wishes.seed_given = seed, 1 if seed
      # The pointers must stay reachable until the call returns: `texts` and `table` hold them.
      texts = stop.map { |text| Fiddle::Pointer[text] }
      table = texts.zip(stop).flat_map { |pointer, text| [pointer.to_i, text.bytesize] }.pack("J*")
      wishes.stop, wishes.stop_count = Fiddle::Pointer[table], stop.size
      if (constraint = json_schema || regex)
        wishes.constraint_kind = json_schema ? CONSTRAINT_JSON_SCHEMA : CONSTRAINT_REGEX
        wishes.constraint, wishes.constraint_length = Fiddle::Pointer[constraint], constraint.bytesize
      end
      session = "\0" * 8
      if tokens
        Worker.call(:worker_session_start_tokens, @handle, tokens.pack("L*"), tokens.size, wishes, session)
      else
        name = chat ? :worker_session_start_chat : :worker_session_start
        text = chat || prompt
        Worker.call(name, @handle, text, text.bytesize, wishes, session)
      end
      Session.new(session.unpack1("Q"))
    end
  end

  # A running generation: `each` gives the text of each token. Close it when it is not needed any more.
  class Session
    include Enumerable
    attr_reader :handle, :end_reason

    def initialize(handle)
      @handle = handle
      @buffer = Fiddle::Pointer.malloc(256, Fiddle::RUBY_FREE)
    end

    def each
      loop do
        event, text = next_event
        if event.kind == EVENT_END
          @end_reason = END_REASONS[event.end_reason]
          return
        end
        yield text
      end
    end

    # The next event and its text. With a capacity, a text that is longer is an Error.
    def next_event(timeout_ms: WAIT_FOREVER, capacity: nil)
      event = Worker.sized(Library::Event)
      begin
        event.text = @buffer
        event.text_capacity = capacity || @buffer.size
        Worker.call(:worker_session_next, @handle, event, timeout_ms)
      rescue Error => e
        raise if e.code != BUFFER_TOO_SMALL || capacity

        @buffer = Fiddle::Pointer.malloc(event.text_needed, Fiddle::RUBY_FREE)
        retry
      end
      raise Error.new(event.error_code, "") if event.kind == EVENT_ERROR

      [event, @buffer[0, event.text_length].force_encoding("UTF-8")]
    end

    def cancel
      Worker.check(Library.worker_session_cancel(@handle))
    end

    def close
      Worker.check(Library.worker_session_close(@handle))
    end

    def usage
      Worker.read_struct(Library::Usage, :worker_session_usage, @handle)
    end

    def seed
      out = "\0" * 8
      Worker.call(:worker_session_seed, @handle, out)
      out.unpack1("Q")
    end
  end
end
