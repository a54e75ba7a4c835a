package engines

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"time"

	"github.com/promlet/promlet/bench/internal/harness"
)

const (
	// readyTimeout is for a program to become ready. A shard first scrapes all its targets.
	readyTimeout = 2 * time.Minute
	// stopGrace is for a program to stop.
	stopGrace = 10 * time.Second
)

// program runs until it is killed, and can be started again.
type program struct {
	name, binary, log string
	args              []string
	ready             string           // URL that answers 200
	running           *harness.Program // nil while it is killed
}

func (p *program) start(ctx context.Context) (err error) {
	// The context must not kill it: stop lets it end by itself first.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), p.binary, p.args...)
	p.running, err = harness.StartProgram(p.name, cmd, p.log)
	return err
}

// waitReady waits until the program is ready.
func (p *program) waitReady(ctx context.Context, client *http.Client) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	return p.running.Wait(ctx, 100*time.Millisecond, func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.ready, http.NoBody)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		if response.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %s", p.ready, response.Status)
		}
		_ = response.Body.Close() // only the status counts
		return err
	})
}

// kill ends the program as if its node had failed.
func (p *program) kill() {
	p.running.Kill()
	p.running = nil
}

// ended returns an error if the program has ended without being killed.
func (p *program) ended() error {
	if p.running == nil {
		return nil
	}
	return p.running.Ended()
}

func (p *program) stop() { p.running.Stop(stopGrace) }
