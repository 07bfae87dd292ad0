# Streams a haiku, then reports what it took. Run with the library where the loader finds it (LD_LIBRARY_PATH).

require "optparse"
require_relative "worker"

HINTS = {
  Worker::INPUT_OUTPUT => "give the path of a readable GGUF model with --model",
  Worker::MODEL_LOAD_FAILED => "give the path of a readable GGUF model with --model",
  Worker::MODEL_UNSUPPORTED => "give the path of a readable GGUF model with --model",
  Worker::INVALID_DEVICE => "--device -1 is the CPU, which every machine has"
}.freeze

# Asks in the way the model was trained for: by its chat template, or in plain words where it has none.
def ask(model, topic, seed)
  wish = "Write a haiku about #{topic}"
  options = { maximum_tokens: 80, temperature: 0.7, seed: seed }
  model.start(chat: JSON.generate([{ role: "user", content: wish }]), **options)
rescue Worker::Error => e
  raise unless e.code == Worker::MODEL_UNSUPPORTED

  model.start(wish, **options)
end

def report(model, session, device, load_seconds)
  information, usage, memory = Worker.device_info(device), session.usage, model.memory
  speed = usage.generated_tokens / [usage.decode_seconds, 1e-9].max
  puts format("device     %s, %d threads", Worker.c_text(information.name), information.threads)
  puts format("load       %.1f ms", load_seconds * 1e3)
  puts format("tokens     %d in, %d out, %.0f tokens/s; seed %d", usage.prompt_tokens, usage.generated_tokens, speed,
              session.seed)
  puts format("memory     weights %.2f MB, KV cache %.2f MB, workspace %.2f MB", memory.weights / 1e6,
              memory.kv_cache / 1e6, memory.workspace / 1e6)
  puts "residency  #{model.check_residency.resident == 1 ? 'resident' : 'NOT resident'}"
end

def run(options, topic)
  begin_time = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  model = Worker::Model.new(options[:model], device: options[:device])
  load_seconds = Process.clock_gettime(Process::CLOCK_MONOTONIC) - begin_time
  session = ask(model, topic, options[:seed])
  session.each do |text|
    print text
    $stdout.flush
  end
  print "\n\n"
  report(model, session, options[:device], load_seconds)
  session.close
  model.unload
end

options = { model: "examples/models/haiku.gguf", device: Worker::CPU, seed: nil }
parser = OptionParser.new do |on|
  on.banner = "usage: haiku.rb [--model FILE] [--device N] [--seed N] [TOPIC...]\n" \
              "Streams a haiku about TOPIC, then reports what it took.\n\n"
  on.on("--model FILE", "a GGUF model (default #{options[:model]})") { |value| options[:model] = value }
  on.on("--device N", Integer, "the CPU is -1 (default), GPUs are 0 and up") { |value| options[:device] = value }
  on.on("--seed N", Integer, "the same seed gives the same words (default: any)") { |value| options[:seed] = value }
  on.on("--help", "this text") do
    puts on
    exit 0
  end
end

begin
  topic = parser.parse(ARGV)
rescue OptionParser::ParseError => e
  warn "haiku.rb: #{e.message}\n#{parser}"
  exit 2
end

begin
  run(options, topic.empty? ? "the autumn moon" : topic.join(" "))
rescue Worker::Error => e
  warn "haiku.rb: #{e.message}\nhaiku.rb: #{e.name}; hint: #{HINTS.fetch(e.code, 'see the message above')}"
  exit 1
end
