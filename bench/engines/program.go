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
	// patience is how long a program may take to get ready: a shard scrapes all its targets first.
	patience = 2 * time.Minute
	// stopGrace is how long one may take to end.
	stopGrace = 10 * time.Second
)

// program is a program that runs until it is killed, and can be started again.
type program struct {
	name, binary, log string
	args              []string
	ready             string           // URL that answers 200
	running           *harness.Program // nil while it is killed
}

func (p *program) start(ctx context.Context) (err error) {
	// Its end is that of stop, which asks before it kills.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), p.binary, p.args...)
	p.running, err = harness.StartProgram(p.name, cmd, p.log)
	return err
}

// waitReady waits until the program is ready.
func (p *program) waitReady(ctx context.Context, client *http.Client) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
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

// ended returns how the program has ended, unless it was killed.
func (p *program) ended() error {
	if p.running == nil {
		return nil
	}
	return p.running.Ended()
}

func (p *program) stop() { p.running.Stop(stopGrace) }
