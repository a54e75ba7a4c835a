package objects

import (
	"log/slog"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Problems are what keeps a source from knowing the objects as they are now. Each is
// logged when it comes, when its nature changes and when it is over.
type Problems struct {
	logger  *slog.Logger
	message string

	mtx     sync.Mutex
	current map[string]error // by what fails, such as "list pods"; nil where that says all
}

// NewProblems returns empty Problems, which are logged with message.
func NewProblems(logger *slog.Logger, message string) *Problems {
	return &Problems{logger: logger, message: message, current: map[string]error{}}
}

// Set records how the last attempt at something went.
func (p *Problems) Set(attempt string, err error) {
	p.mtx.Lock()
	defer p.mtx.Unlock()
	before, had := p.current[attempt]
	if err == nil {
		if had {
			p.over(attempt)
		}
		return
	}
	p.current[attempt] = err
	// Messages of the network hold port numbers that change each time.
	if !had || apierrors.ReasonForError(before) != apierrors.ReasonForError(err) {
		p.logger.Warn(p.message, "problem", attempt, "error", err)
	}
}

// Replace records lines as all there are: what is not among them is over.
func (p *Problems) Replace(lines []string) {
	p.mtx.Lock()
	defer p.mtx.Unlock()
	for what := range p.current {
		if !slices.Contains(lines, what) {
			p.over(what)
		}
	}
	for _, line := range lines {
		if _, had := p.current[line]; !had {
			p.current[line] = nil
			p.logger.Warn(p.message, "problem", line)
		}
	}
}

func (p *Problems) over(what string) {
	delete(p.current, what)
	p.logger.Info(p.message+" is over", "problem", what)
}

// Forget drops the problems of a resource that is no longer read, without a word.
func (p *Problems) Forget(resource string) {
	p.mtx.Lock()
	defer p.mtx.Unlock()
	for attempt := range p.current {
		if strings.HasSuffix(attempt, " "+resource) {
			delete(p.current, attempt)
		}
	}
}

// List returns one line for each, sorted.
func (p *Problems) List() []string {
	p.mtx.Lock()
	defer p.mtx.Unlock()
	var out []string
	for what, err := range p.current {
		if err != nil {
			what += ": " + err.Error()
		}
		out = append(out, what)
	}
	slices.Sort(out)
	return out
}
