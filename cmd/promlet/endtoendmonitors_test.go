package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// behind is how long promlet's targets may differ from the EndpointSlices on a
// loaded machine. They follow within a second.
const behind = 15 * time.Second

// promletTargets are those a pod of promlet has for a job.
func (e *endToEnd) promletTargets(ctx context.Context, pod, job string) ([]v1.ActiveTarget, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, e.web(pod)+"/api/v1/targets", http.NoBody)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var answer struct {
		Data struct{ ActiveTargets []v1.ActiveTarget }
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(answer.Data.ActiveTargets, func(t v1.ActiveTarget) bool { return t.ScrapePool != job }), nil
}

// truth are the URLs of a Service's endpoints as the API server has them, sorted.
func (e *endToEnd) truth(ctx context.Context, namespace, service string) ([]string, error) {
	list, err := e.client.DiscoveryV1().EndpointSlices(namespace).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + service})
	if err != nil {
		return nil, err
	}
	var urls []string
	for _, slice := range list.Items {
		for _, endpoint := range slice.Endpoints {
			for _, port := range slice.Ports {
				urls = append(urls, fmt.Sprintf("http://%s:%d/metrics", endpoint.Addresses[0], *port.Port))
			}
		}
	}
	slices.Sort(urls)
	return urls, nil
}

// targetsFollowPods compares the targets with the truth five times a second while
// pods come and go: a rolling update, more replicas, fewer.
func (e *endToEnd) targetsFollowPods(t *testing.T) {
	e.eventually(t, "4 replicas to begin with", func(ctx context.Context) error { return e.replicas(ctx, "monitors", "rolling", 4) })
	pod := e.promletPods(t)[0]
	const job = "serviceMonitor/monitors/rolling/0"
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan followed, 1)
	go func() { done <- e.follow(ctx, pod, job) }()

	e.kubectl(t, "-n", "monitors", "rollout", "restart", "deployment/rolling")
	e.kubectl(t, "-n", "monitors", "rollout", "status", "deployment/rolling", "--timeout=3m")
	for _, replicas := range []int32{7, 2} {
		e.kubectl(t, "-n", "monitors", "scale", "deployment/rolling", "--replicas="+strconv.Itoa(int(replicas)))
		e.eventually(t, fmt.Sprintf("%d replicas", replicas), func(ctx context.Context) error { return e.replicas(ctx, "monitors", "rolling", replicas) })
	}
	e.eventually(t, "two targets, scraped", func(ctx context.Context) error {
		targets, err := e.promletTargets(ctx, pod, job)
		if err != nil {
			return err
		}
		if len(targets) != 2 || targets[0].Health != "up" || targets[1].Health != "up" {
			return fmt.Errorf("%d targets: %+v: %w", len(targets), targets, errNotYet)
		}
		for _, target := range targets {
			if got := string(target.Labels["service"]) + " " + string(target.Labels["endpoint"]) + " " + string(target.Labels["job"]); got != "rolling web rolling" {
				return errors.New(got)
			}
		}
		return nil
	})
	stop()
	f := <-done
	t.Logf("%d comparisons, %d sets of targets; they differed for %s at most", f.comparisons, f.sets, f.longest.Round(time.Millisecond))
	require.NoError(t, f.err)
	require.Greater(t, f.sets, 4, "pods came and went")
	require.Less(t, f.longest, behind, f.difference)
}

// followed is how targets compared with the truth.
type followed struct {
	comparisons, sets int
	longest           time.Duration // that they differed
	difference        string        // then
	err               error
}

func (e *endToEnd) follow(ctx context.Context, pod, job string) followed {
	var (
		f     followed
		since time.Time
		last  []string
	)
	for ; ctx.Err() == nil; time.Sleep(200 * time.Millisecond) {
		want, err1 := e.truth(ctx, "monitors", "rolling")
		targets, err2 := e.promletTargets(ctx, pod, job)
		if err := errors.Join(err1, err2); err != nil {
			if ctx.Err() == nil {
				f.err = errors.Join(f.err, err)
			}
			continue
		}
		var got []string
		for _, target := range targets {
			got = append(got, target.ScrapeURL)
		}
		slices.Sort(got)
		f.comparisons++
		if !slices.Equal(got, last) {
			last = got
			f.sets++
		}
		if slices.Equal(got, want) {
			since = time.Time{}
			continue
		}
		if since.IsZero() {
			since = time.Now()
		}
		if differed := time.Since(since); differed > f.longest {
			f.longest, f.difference = differed, fmt.Sprintf("targets %v, endpoints %v", got, want)
		}
	}
	return f
}

// credentialsFromSecrets has an application scraped over TLS with a password: first
// promlet may not read the Secret, then it may, then the Secret changes.
func (e *endToEnd) credentialsFromSecrets(t *testing.T) {
	const job = "podMonitor/monitors/secure/0"
	pod := e.promletPods(t)[0]
	e.eventually(t, "an Event says that the Secret cannot be read", func(ctx context.Context) error {
		return e.event(ctx, "PodMonitor", "secure", "Secret monitors/secure cannot be read")
	})
	components := repository(t, "deploy/components")
	e.kubectl(t, "apply", "--server-side", "-f", components+"/scrape-secrets/rbac.yaml")
	up := func(ctx context.Context) error {
		targets, err := e.promletTargets(ctx, pod, job)
		if err != nil {
			return err
		}
		if len(targets) != 1 || targets[0].Health != "up" {
			return fmt.Errorf("targets: %+v: %w", targets, errNotYet)
		}
		return nil
	}
	e.eventually(t, "it is scraped over TLS with the password", up)

	secret := secureAppFiles(t, e.logs, "second")
	e.eventually(t, "it is down with another certificate and password", func(ctx context.Context) error {
		targets, err := e.promletTargets(ctx, pod, job)
		if err != nil {
			return err
		}
		if len(targets) != 1 || targets[0].Health != "down" || !strings.Contains(targets[0].LastError, "certificate") {
			return fmt.Errorf("targets: %+v: %w", targets, errNotYet)
		}
		return nil
	})
	patch, err := json.Marshal(map[string]any{"data": secret})
	require.NoError(t, err)
	_, err = e.client.CoreV1().Secrets("monitors").Patch(t.Context(), "secure", types.MergePatchType, patch, metav1.PatchOptions{})
	require.NoError(t, err)
	e.eventually(t, "it is scraped again once the Secret has changed", up)
}

// wrongMonitor: the reason is told on the monitor itself and in the status. That the
// log has it once is for the tests of discovery.
func (e *endToEnd) wrongMonitor(t *testing.T) {
	const reason = "spec.endpoints[0].scrapeTimeout: 20s is above the interval of 10s"
	e.eventually(t, "an Event says why the monitor is rejected", func(ctx context.Context) error { return e.event(ctx, "ServiceMonitor", "wrong", reason) })
	t.Log(e.kubectl(t, "-n", "monitors", "get", "events", "--field-selector=involvedObject.name=wrong"))
	require.Contains(t, e.page(t, "/"), "ServiceMonitor monitors/wrong is rejected: "+reason)
}

// page returns a status page of a promlet.
func (e *endToEnd) page(t *testing.T, path string) string {
	response, err := http.Get(e.web(e.promletPods(t)[0]) + path)
	require.NoError(t, err)
	defer response.Body.Close()
	page, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return string(page)
}

// event is an error unless there is an Event on a monitor that says so.
func (e *endToEnd) event(ctx context.Context, kind, name, message string) error {
	events, err := e.client.CoreV1().Events("monitors").List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + name + ",involvedObject.kind=" + kind})
	if err != nil {
		return err
	}
	for _, event := range events.Items {
		if event.Type == corev1.EventTypeWarning && event.Source.Component == "promlet" && strings.Contains(event.Message, message) {
			return nil
		}
	}
	return fmt.Errorf("%d events on %s %s, none of which says %q: %w", len(events.Items), kind, name, message, errNotYet)
}
