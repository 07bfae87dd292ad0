package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"libworker.example/haiku/worker"
)

// Only the library's log thread appends, and records are read after the function was taken away.
var collected []worker.LogRecord

// withWorker performs the verbs of the managed worker.
func withWorker(verb string, words []string) (fields []string, err error, known bool) {
	var host *worker.Managed // its methods are the process's
	switch verb {
	case "bootstrap":
		host, err := worker.Bootstrap(words[0])
		if err != nil {
			return nil, err, true
		}
		return []string{host.ID, fmt.Sprint(host.Model.Handle)}, nil, true
	case "status":
		found, err := worker.Status()
		return []string{fmt.Sprint(uint32(found.State)), fmt.Sprint(found.Models), found.ID}, err, true
	case "health":
		found, err := host.CheckHealth()
		healthy := map[bool]string{true: "1", false: "0"}[found.Healthy]
		return []string{healthy, fmt.Sprint(found.Checks)}, err, true
	case "shutdown":
		milliseconds, err := strconv.Atoi(words[0])
		if err != nil {
			return nil, err, true
		}
		return nil, host.ShutDown(time.Duration(milliseconds) * time.Millisecond), true
	case "stop":
		return nil, host.Stop(), true
	case "collect":
		collected = nil
		if err := worker.SetLogLevel(level(words[0])); err != nil {
			return nil, err, true
		}
		return nil, worker.LogTo(func(record worker.LogRecord) { collected = append(collected, record) }), true
	case "log":
		return nil, worker.Log(level(words[0]), words[1], words[2]), true
	case "records":
		fields, err := records(words[0])
		return fields, err, true
	case "metrics":
		fields, err := metrics()
		return fields, err, true
	}
	return nil, nil, false
}

func level(word string) worker.Level {
	number, _ := strconv.Atoi(word)
	return worker.Level(number)
}

func records(target string) ([]string, error) {
	if err := worker.LogTo(nil); err != nil {
		return nil, err
	}
	var lines []string
	for _, record := range collected {
		if record.Target == target {
			lines = append(lines, fmt.Sprintf("%d %s %s", record.Level, record.Message, record.Fields))
		}
	}
	return []string{fmt.Sprint(len(lines)), strings.Join(lines, "\n")}, nil
}

func metrics() ([]string, error) {
	text, err := worker.MetricsJSON()
	if err != nil {
		return nil, err
	}
	var found struct{ Tokens struct{ Generated uint64 } }
	if err := json.Unmarshal([]byte(text), &found); err != nil {
		return nil, err
	}
	lines, err := worker.MetricsPrometheus()
	if err != nil {
		return nil, err
	}
	_, rest, _ := strings.Cut(lines, "\nworker_tokens_generated_total ")
	number, _, _ := strings.Cut(rest, "\n")
	return []string{fmt.Sprint(found.Tokens.Generated), number}, nil
}
