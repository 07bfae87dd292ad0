// Streams a haiku, then reports what it took.
//
//	PKG_CONFIG_PATH=PREFIX/lib/pkgconfig go run . rain
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"libworker.example/haiku/worker"
)

const usage = `usage: haiku [--model FILE] [--device N] [--seed N] [TOPIC...]
Streams a haiku about TOPIC, then reports what it took.

  --model FILE   a GGUF model (default examples/models/haiku.gguf)
  --device N     -1 is the CPU (default), 0 and up are GPUs
  --seed N       the same seed gives the same words (default: any)
  --help         this text
`

type wishes struct {
	model  string
	device int32
	seed   *uint64
	topic  string
}

func main() {
	wishes := parse()
	if err := run(wishes); err != nil {
		fmt.Fprintf(os.Stderr, "haiku: %v\n", err)
		if failure, ok := err.(*worker.Error); ok {
			fmt.Fprintf(os.Stderr, "haiku: %s; hint: %s\n", failure.Name(), hint(failure.Code))
		}
		os.Exit(1)
	}
}

func parse() wishes {
	flags := flag.NewFlagSet("haiku", flag.ContinueOnError)
	flags.Usage = func() {}
	flags.SetOutput(os.Stderr)
	model := flags.String("model", "examples/models/haiku.gguf", "")
	device := flags.Int("device", int(worker.CPU), "")
	seed := flags.Uint64("seed", 0, "")
	switch err := flags.Parse(os.Args[1:]); {
	case err == flag.ErrHelp:
		fmt.Print(usage)
		os.Exit(0)
	case err != nil:
		fmt.Fprint(os.Stderr, strings.Join(os.Args[1:], " "), "\n", usage)
		os.Exit(2)
	}
	wishes := wishes{model: *model, device: int32(*device), topic: strings.Join(flags.Args(), " ")}
	if wishes.topic == "" {
		wishes.topic = "the autumn moon"
	}
	flags.Visit(func(given *flag.Flag) {
		if given.Name == "seed" {
			wishes.seed = seed
		}
	})
	return wishes
}

func run(wishes wishes) error {
	begin := time.Now()
	model, err := worker.Load(wishes.model, wishes.device)
	if err != nil {
		return err
	}
	defer model.Unload()
	load := time.Since(begin)
	session, err := ask(model, wishes)
	if err != nil {
		return err
	}
	defer session.Close()
	for {
		event, err := session.Next()
		if err != nil {
			return err
		}
		if event.End {
			break
		}
		fmt.Print(event.Text)
	}
	fmt.Print("\n\n")
	return report(model, session, wishes.device, load)
}

// ask asks in the way the model was trained for: by its chat template, or in plain words where it has none.
func ask(model worker.Model, wishes wishes) (*worker.Session, error) {
	wish := "Write a haiku about " + wishes.topic
	options := worker.Options{MaximumTokens: 80, Temperature: 0.7, Seed: wishes.seed}
	messages, err := json.Marshal([]map[string]string{{"role": "user", "content": wish}})
	if err != nil {
		return nil, err
	}
	session, err := model.Start(worker.Prompt{Chat: string(messages)}, options)
	if worker.CodeOf(err) == worker.ModelUnsupported {
		return model.Start(worker.Prompt{Text: wish}, options)
	}
	return session, err
}

func report(model worker.Model, session *worker.Session, device int32, load time.Duration) error {
	information, err := worker.Describe(device)
	if err != nil {
		return err
	}
	usage, err := session.Usage()
	if err != nil {
		return err
	}
	seed, err := session.Seed()
	if err != nil {
		return err
	}
	memory, err := model.Memory()
	if err != nil {
		return err
	}
	resident, err := model.Resident()
	if err != nil {
		return err
	}
	fmt.Printf("device     %s, %d threads\n", information.Name, information.Threads)
	fmt.Printf("load       %.1f ms\n", load.Seconds()*1e3)
	fmt.Printf("tokens     %d in, %d out, %.0f tokens/s; seed %d\n", usage.PromptTokens, usage.GeneratedTokens,
		float64(usage.GeneratedTokens)/usage.DecodeSeconds, seed)
	fmt.Printf("memory     weights %.2f MB, KV cache %.2f MB, workspace %.2f MB\n", float64(memory.Weights)*1e-6,
		float64(memory.KVCache)*1e-6, float64(memory.Workspace)*1e-6)
	if resident {
		fmt.Println("residency  resident")
	} else {
		fmt.Println("residency  NOT resident")
	}
	return nil
}

func hint(code int) string {
	switch code {
	case worker.InputOutput, worker.ModelLoadFailed, worker.ModelUnsupported:
		return "give the path of a readable GGUF model with --model"
	case worker.InvalidDevice:
		return "--device -1 is the CPU, which every machine has"
	default:
		return "see the message above"
	}
}
