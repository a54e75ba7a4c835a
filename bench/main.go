// Command bench prints what promlet costs, beside others where they do the same:
//
//	go run ./bench process     a whole promlet and a whole Prometheus
//	go run ./bench shipping    what both send to another engine by remote write
//	go run ./bench discovery   from informers to scrape loops
//	go run ./bench scraping    one scrape
//	go run ./bench answers     one answer, and 500 HorizontalPodAutoscalers
//	go run ./bench byurl       one answer out of another engine, beside prometheus-adapter
//	go run ./bench resources   metrics.k8s.io, beside metrics-server
//	go run ./bench soak        what promlet holds while everything comes and goes, for half an hour
//	go run ./bench engines     shards with Thanos as the engine; a shard and a receiver are killed
//
// All run from the repository's root. The figures of one command are measured in one
// run. Discovery needs the Prometheus operator's code, and is a program of the nested
// module bench/monitors.
package main

import (
	"context"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/promlet/promlet/bench/internal/answers"
	"github.com/promlet/promlet/bench/internal/engines"
	"github.com/promlet/promlet/bench/internal/harness"
	"github.com/promlet/promlet/bench/internal/process"
	"github.com/promlet/promlet/bench/internal/resources"
	"github.com/promlet/promlet/bench/internal/scraping"
	"github.com/promlet/promlet/bench/internal/soak"
)

func main() {
	harness.Main(process.Command(), process.ShippingCommand(), discovery(), scraping.Command(), answers.Command(), answers.ByURLCommand(),
		resources.Command(), soak.Command(), engines.Command())
}

// discovery runs bench/monitors/figures.
func discovery() harness.Command {
	return harness.Command{Name: "discovery", Limit: time.Hour, Run: func(ctx context.Context, out io.Writer) error {
		cmd := exec.CommandContext(ctx, "go", "-C", "bench/monitors", "run", "./figures")
		cmd.Stdout, cmd.Stderr = out, os.Stderr
		return cmd.Run()
	}}
}
