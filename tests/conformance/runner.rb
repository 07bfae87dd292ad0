# The Ruby host of the conformance cases, over examples/ruby/worker.rb and managed.rb; README.md beside this file has the protocol.

require_relative "../../examples/ruby/managed"

STRUCTS = {
  "bootstrap" => :Bootstrap, "chat_options" => :ChatOptions, "device_info" => :DeviceInfo, "embed_options" => :EmbedOptions,
  "error" => :ErrorStruct, "event" => :Event, "health" => :Health,
  "memory" => :Memory, "model_options" => :ModelOptions,
  "overview" => :Overview, "residency" => :Residency, "score_options" => :ScoreOptions, "session_options" => :SessionOptions, "usage" => :Usage
}.freeze
HEADER_ABI_VERSION = 1
KINDS = { Worker::EVENT_TOKEN => "token", Worker::EVENT_END => "end" }.freeze

# A model by its number, which may be any: a case may name one that was never given out.
def model(handle)
  Worker::Model.allocate.tap { |found| found.instance_variable_set(:@handle, Integer(handle)) }
end

def session(handle)
  Worker::Session.new(Integer(handle))
end

def ids(word)
  word.split.map { |number| Integer(number) }
end

def start(handle, *pairs)
  options = {}
  stop = []
  pairs.each do |pair|
    key, value = pair.split("=", 2)
    case key
    when "max_tokens" then options[:maximum_tokens] = Integer(value)
    when "top_k", "seed" then options[key.to_sym] = Integer(value)
    when "temperature", "top_p" then options[key.to_sym] = value == "nan" ? Float::NAN : Float(value)
    when "schema" then options[:json_schema] = value
    when "regex", "chat" then options[key.to_sym] = value
    when "tokens" then options[:tokens] = ids(value)
    when "stop" then stop << value
    end
  end
  prompt = pairs.filter_map { |pair| pair.delete_prefix("prompt=") if pair.start_with?("prompt=") }.first || ""
  [model(handle).start(prompt, stop: stop, **options).handle]
end

def read(handle)
  found = session(handle)
  text = found.to_a.join
  usage = found.usage
  [text, found.end_reason, usage.prompt_tokens, usage.generated_tokens]
end

# A case may stop a worker that was never there.
$host = Worker::Managed.allocate
# Records since `collect`.
COLLECTED = []

def level(number)
  Worker::LEVELS.key(Integer(number))
end

def collect(number)
  COLLECTED.clear
  Worker.set_log_level(level(number))
  Worker.log_to { |record| COLLECTED << record }
  []
end

def records(target)
  Worker.log_to
  found = COLLECTED.select { |record| record.target == target }
  lines = found.map { |record| "#{Worker::LEVELS[record.level]} #{record.message} #{JSON.generate(record.fields)}" }
  [lines.size, lines.join("\n")]
end

def managed(verb, words)
  case verb
  when "bootstrap"
    $host = Worker::Managed.new(**JSON.parse(words[0], symbolize_names: true))
    [$host.id, $host.model&.handle || 0]
  when "status"
    found = Worker.overview
    [found.state, found.models, Worker.c_text(found.worker_id)]
  when "health"
    found = $host.check_health
    [found.healthy, found.checks]
  when "shutdown" then $host.shut_down(Integer(words[0]) / 1000.0) || []
  when "stop" then $host.stop || []
  when "collect" then collect(words[0])
  when "log" then Worker.log(level(words[0]), words[1], **JSON.parse(words[2], symbolize_names: true)) || []
  when "records" then records(words[0])
  when "metrics"
    [Worker.metrics[:tokens][:generated], Worker.metrics_prometheus[/^worker_tokens_generated_total (\d+)$/, 1]]
  else raise "unknown verb #{verb}"
  end
end

def perform(verb, words)
  handle, second, third = words
  case verb
  when "version" then [HEADER_ABI_VERSION, Worker::Library.worker_abi_version]
  when "sizes" then STRUCTS.map { |name, struct| "#{name}=#{Worker::Library.const_get(struct).size}" }
  when "load" then [Worker::Model.new(words[0], device: Integer(second)).handle]
  when "unload" then model(handle).unload || []
  when "memory" then [model(handle).memory.weights]
  when "residency" then [model(handle).check_residency.resident]
  when "tokenize" then [model(handle).tokenize(second, third == "1" ? Worker::TOKENIZE_ADD_SPECIAL : 0).join(" ")]
  when "detokenize" then [model(handle).detokenize(ids(second))]
  when "chat" then [model(handle).apply_chat_template(second)]
  when "start" then start(*words)
  when "next"
    event, text = session(handle).next_event(capacity: Integer(second))
    [KINDS.fetch(event.kind), text]
  when "read" then read(handle)
  when "cancel" then session(handle).cancel || []
  when "close" then session(handle).close || []
  when "score" then [format("%.4f", model(handle).score(ids(second)).sum)]
  when "embed"
    embedding = model(handle).embed(ids(second))
    [embedding.size, format("%.4f", Math.sqrt(embedding.sum { |value| value * value }))]
  else managed(verb, words)
  end
end

ESCAPES = { "\\" => "\\\\", "\t" => "\\t", "\n" => "\\n", "\r" => "\\r" }.freeze

def escape(word)
  word.to_s.gsub(/[\\\t\n\r]/, ESCAPES)
end

def unescape(word)
  word.gsub(/\\(.)/) { { "t" => "\t", "n" => "\n", "r" => "\r" }.fetch($1, $1) }
end

def answer(line)
  verb, *words = line.split("\t", -1).map { |word| unescape(word) }
  ["ok", *perform(verb, words)]
rescue Worker::Error => e
  ["error", e.code, e.message]
rescue StandardError => e
  ["error", -1, e.full_message(highlight: false)]
end

$stdin.set_encoding("UTF-8")
$stdout.set_encoding("UTF-8")
$stdout.sync = true
$stdin.each_line(chomp: true) { |line| $stdout.write(answer(line).map { |word| escape(word) }.join("\t"), "\n") }
