package controlplane

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// probes tell the state of a container as its HTTP probes see it. Other probes
// are not known here, and count as passed.
type probes struct {
	client *http.Client
	ports  []corev1.ContainerPort

	startup, readiness, liveness *probe

	ready   bool
	changed time.Time // when ready last changed
}

// probe is one of them, and how it went lately.
type probe struct {
	spec     *corev1.Probe
	next     time.Time
	failures int32 // in a row
	passes   int32 // in a row
}

func newProbes(spec *corev1.Container) probes {
	p := probes{
		ports: spec.Ports,
		// As the kubelet: whoever serves the certificate is not its concern.
		client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}},
	}
	for of, at := range map[*corev1.Probe]**probe{spec.StartupProbe: &p.startup, spec.ReadinessProbe: &p.readiness, spec.LivenessProbe: &p.liveness} {
		if of != nil && of.HTTPGet != nil {
			*at = &probe{spec: of}
		}
	}
	return p
}

// reset begins anew with a container that has just started.
func (p *probes) reset(now time.Time) {
	p.ready, p.changed = false, now
	for _, one := range []*probe{p.startup, p.readiness, p.liveness} {
		if one != nil {
			one.failures, one.passes = 0, 0
			one.next = now.Add(time.Duration(one.spec.InitialDelaySeconds) * time.Second)
		}
	}
}

// run makes the probes that are due, and tells whether the container must be
// restarted.
func (p *probes) run(ctx context.Context, listen map[int32]string, now time.Time) (dead bool) {
	if p.startup != nil && p.startup.passes == 0 {
		p.check(ctx, p.startup, listen, now)
		if p.startup.passes == 0 {
			return p.startup.failures >= p.startup.spec.FailureThreshold
		}
	}
	ready := true
	if p.readiness != nil {
		p.check(ctx, p.readiness, listen, now)
		ready = p.ready && p.readiness.failures < p.readiness.spec.FailureThreshold ||
			!p.ready && p.readiness.passes >= p.readiness.spec.SuccessThreshold
	}
	if ready != p.ready {
		p.ready, p.changed = ready, now
	}
	if p.liveness != nil {
		p.check(ctx, p.liveness, listen, now)
		return p.liveness.failures >= p.liveness.spec.FailureThreshold
	}
	return false
}

func (p *probes) check(ctx context.Context, one *probe, listen map[int32]string, now time.Time) {
	if now.Before(one.next) {
		return
	}
	one.next = now.Add(time.Duration(one.spec.PeriodSeconds) * time.Second)
	if p.get(ctx, one.spec, listen) == nil {
		one.failures, one.passes = 0, one.passes+1
	} else {
		one.failures, one.passes = one.failures+1, 0
	}
}

func (p *probes) get(ctx context.Context, spec *corev1.Probe, listen map[int32]string) error {
	address, ok := listen[p.port(spec.HTTPGet.Port)]
	if !ok {
		return fmt.Errorf("the container has no port %s", &spec.HTTPGet.Port)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(spec.TimeoutSeconds)*time.Second)
	defer cancel()
	url := strings.ToLower(string(spec.HTTPGet.Scheme)) + "://" + address + spec.HTTPGet.Path
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	response, err := p.client.Do(request)
	if err != nil {
		return err
	}
	if response.StatusCode >= http.StatusBadRequest {
		err = fmt.Errorf("status %d", response.StatusCode)
	}
	_ = response.Body.Close() // nothing was read from it
	return err
}

func (p *probes) port(port intstr.IntOrString) int32 {
	if port.Type == intstr.Int {
		return port.IntVal
	}
	for _, named := range p.ports {
		if named.Name == port.StrVal {
			return named.ContainerPort
		}
	}
	return 0
}
