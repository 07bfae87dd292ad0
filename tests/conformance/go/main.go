// The Go host of the conformance cases, over examples/go/worker; ../README.md has the protocol.
package main

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"sort"
	"strconv"
	"strings"

	"libworker.example/haiku/worker"
)

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(make([]byte, 1<<16), 1<<20)
	for in.Scan() {
		fmt.Println(answer(in.Text()))
	}
}

func answer(line string) string {
	words := strings.Split(line, "\t")
	for index, word := range words {
		words[index] = unescape(word)
	}
	fields, err := perform(words[0], words[1:])
	if err != nil {
		fields = []string{"error", strconv.Itoa(worker.CodeOf(err)), err.Error()}
	} else {
		fields = append([]string{"ok"}, fields...)
	}
	for index, field := range fields {
		fields[index] = escape.Replace(field)
	}
	return strings.Join(fields, "\t")
}

var escape = strings.NewReplacer("\\", "\\\\", "\t", "\\t", "\n", "\\n", "\r", "\\r")
var unescapes = strings.NewReplacer("\\\\", "\\", "\\t", "\t", "\\n", "\n", "\\r", "\r")

func unescape(word string) string { return unescapes.Replace(word) }

func perform(verb string, words []string) ([]string, error) {
	switch verb {
	case "version":
		header, library := worker.ABIVersion()
		return []string{fmt.Sprint(header), fmt.Sprint(library)}, nil
	case "sizes":
		return sizes(), nil
	case "load":
		device, err := strconv.ParseInt(words[1], 10, 32)
		if err != nil {
			return nil, err
		}
		model, err := worker.Load(words[0], int32(device))
		return []string{fmt.Sprint(model.Handle)}, err
	}
	if fields, err, known := withWorker(verb, words); known {
		return fields, err
	}
	handle, err := strconv.ParseUint(words[0], 10, 64)
	if err != nil {
		return nil, err
	}
	if fields, err, known := withSession(verb, &worker.Session{Handle: handle}, words[1:]); known {
		return fields, err
	}
	return withModel(verb, worker.Model{Handle: handle}, words[1:])
}

func withModel(verb string, model worker.Model, words []string) ([]string, error) {
	switch verb {
	case "unload":
		return nil, model.Unload()
	case "memory":
		memory, err := model.Memory()
		return []string{fmt.Sprint(memory.Weights)}, err
	case "residency":
		resident, err := model.Resident()
		if resident {
			return []string{"1"}, err
		}
		return []string{"0"}, err
	case "tokenize":
		tokens, err := model.Tokenize(words[0], words[1] == "1")
		return []string{strings.Trim(fmt.Sprint(tokens), "[]")}, err
	case "detokenize":
		text, err := model.Detokenize(ids(words[0]))
		return []string{text}, err
	case "chat":
		text, err := model.ApplyChatTemplate(words[0])
		return []string{text}, err
	case "start":
		return start(model, words)
	case "score":
		return score(model, ids(words[0]))
	case "embed":
		return embed(model, ids(words[0]))
	}
	return nil, fmt.Errorf("unknown verb %s", verb)
}

func withSession(verb string, session *worker.Session, words []string) (fields []string, err error, known bool) {
	switch verb {
	case "next":
		capacity, err := strconv.Atoi(words[0])
		if err != nil {
			return nil, err, true
		}
		event, err := session.NextWithin(capacity)
		if event.End {
			return []string{"end", ""}, err, true
		}
		return []string{"token", event.Text}, err, true
	case "read":
		fields, err := read(session)
		return fields, err, true
	case "cancel":
		return nil, session.Cancel(), true
	case "close":
		return nil, session.Close(), true
	}
	return nil, nil, false
}

func start(model worker.Model, words []string) ([]string, error) {
	var prompt worker.Prompt
	var options worker.Options
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		whole, _ := strconv.ParseUint(value, 10, 64)
		float, _ := strconv.ParseFloat(value, 32)
		switch key {
		case "prompt":
			prompt.Text = value
		case "chat":
			prompt.Chat = value
		case "tokens":
			prompt.Tokens = ids(value)
		case "max_tokens":
			options.MaximumTokens = uint32(whole)
		case "temperature":
			options.Temperature = float32(float)
		case "top_k":
			options.TopK = uint32(whole)
		case "top_p":
			options.TopP = float32(float)
		case "seed":
			options.Seed = &whole
		case "stop":
			options.Stop = append(options.Stop, value)
		case "schema":
			options.JSONSchema = value
		case "regex":
			options.Regex = value
		}
	}
	session, err := model.Start(prompt, options)
	return []string{fmt.Sprint(session.Handle)}, err
}

func read(session *worker.Session) ([]string, error) {
	var text strings.Builder
	for {
		event, err := session.Next()
		if err != nil {
			return nil, err
		}
		if event.End {
			break
		}
		text.WriteString(event.Text)
	}
	usage, err := session.Usage()
	return []string{text.String(), session.EndReason, fmt.Sprint(usage.PromptTokens), fmt.Sprint(usage.GeneratedTokens)}, err
}

func score(model worker.Model, tokens []uint32) ([]string, error) {
	scores, err := model.Score(tokens)
	if err != nil {
		return nil, err
	}
	sum := 0.0
	for _, logprob := range scores {
		sum += float64(logprob)
	}
	return []string{fmt.Sprintf("%.4f", sum)}, nil
}

func embed(model worker.Model, tokens []uint32) ([]string, error) {
	embedding, err := model.Embed(tokens)
	sum := 0.0
	for _, value := range embedding {
		sum += float64(value) * float64(value)
	}
	return []string{fmt.Sprint(len(embedding)), fmt.Sprintf("%.4f", math.Sqrt(sum))}, err
}

func sizes() []string {
	var fields []string
	for name, bytes := range worker.StructSizes() {
		fields = append(fields, fmt.Sprintf("%s=%d", name, bytes))
	}
	sort.Strings(fields)
	return fields
}

func ids(word string) []uint32 {
	var list []uint32
	for _, number := range strings.Fields(word) {
		id, err := strconv.ParseUint(number, 10, 32)
		if err == nil {
			list = append(list, uint32(id))
		}
	}
	return list
}
