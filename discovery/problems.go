package discovery

import (
	"log/slog"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// problems are the troubles a source has at the moment, by what it tried to do.
// One is logged when it comes, when its nature changes and when it goes.
type problems struct {
	logger  *slog.Logger
	message string

	mtx     sync.Mutex
	current map[string]error
}

func newProblems(logger *slog.Logger, message string) *problems {
	return &problems{logger: logger, message: message, current: map[string]error{}}
}

// set says how the last attempt at something went.
func (p *problems) set(attempt string, err error) {
	p.mtx.Lock()
	defer p.mtx.Unlock()
	before, had := p.current[attempt]
	if err == nil {
		delete(p.current, attempt)
		if had {
			p.logger.Info(p.message+" is over", "attempt", attempt)
		}
		return
	}
	p.current[attempt] = err
	// Messages of the network hold port numbers that change each time.
	if !had || apierrors.ReasonForError(before) != apierrors.ReasonForError(err) {
		p.logger.Warn(p.message, "attempt", attempt, "error", err)
	}
}

// clear forgets the attempts at a resource, which no longer is tried.
func (p *problems) clear(resource string) {
	p.mtx.Lock()
	defer p.mtx.Unlock()
	for attempt := range p.current {
		if strings.HasSuffix(attempt, " "+resource) {
			delete(p.current, attempt)
		}
	}
}

func (p *problems) list() []string {
	p.mtx.Lock()
	defer p.mtx.Unlock()
	var out []string
	for attempt, err := range p.current {
		out = append(out, attempt+": "+err.Error())
	}
	slices.Sort(out)
	return out
}
