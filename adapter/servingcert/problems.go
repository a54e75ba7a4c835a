package servingcert

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// stateError is a trouble whose text stays the same for as long as it does.
type stateError string

func (e stateError) Error() string { return string(e) }

// problems are the present troubles, by what they are with. Each is logged when
// it comes, when its nature changes and when it goes.
type problems struct {
	logger *slog.Logger

	mtx     sync.Mutex
	current map[string]error
}

// set says what is wrong with something now; nil means nothing.
func (p *problems) set(subject string, err error) {
	p.mtx.Lock()
	defer p.mtx.Unlock()
	before := p.current[subject]
	if err == nil {
		delete(p.current, subject)
		if before != nil {
			p.logger.Info("serving certificate: a problem is over", "with", subject)
		}
		return
	}
	p.current[subject] = err
	if before == nil || nature(before) != nature(err) {
		p.logger.Warn("serving certificate: a problem", "with", subject, "error", err)
	}
}

func (p *problems) list() []string {
	p.mtx.Lock()
	defer p.mtx.Unlock()
	var out []string
	for _, subject := range slices.Sorted(maps.Keys(p.current)) {
		out = append(out, subject+": "+p.current[subject].Error())
	}
	return out
}

// nature is what has to differ for a trouble to be another one. The messages of
// the network are no part of it: they hold port numbers that change each time.
func nature(err error) string {
	if state, ok := errors.AsType[stateError](err); ok {
		return string(state)
	}
	return string(apierrors.ReasonForError(err))
}

// hinted adds how to mend a missing permission, which the API server's message names. That
// to create is never granted: deploy/ has the Secret.
func hinted(err error) error {
	if apierrors.IsForbidden(err) && !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return fmt.Errorf("%w; apply deploy/ again, which has the permissions and the Secret", err)
	}
	return err
}
