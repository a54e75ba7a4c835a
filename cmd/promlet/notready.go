package main

import (
	"errors"
	"net/http"

	"k8s.io/apiserver/pkg/server/healthz"
)

// notReady is why promlet cannot answer yet. The details name targets, namespaces and
// Secrets.
type notReady struct{ public, details string }

// Error implements error.
func (e *notReady) Error() string { return e.public + e.details }

// readyCheck makes a check of /readyz, which anyone may ask for: the kubelet's probes have
// no credentials. It leaves out the details of a notReady.
func readyCheck(ready func() error) healthz.HealthChecker {
	return healthz.NamedCheck("samples", func(*http.Request) error {
		err := ready()
		if reason, ok := errors.AsType[*notReady](err); ok {
			return errors.New(reason.public)
		}
		return err
	})
}
