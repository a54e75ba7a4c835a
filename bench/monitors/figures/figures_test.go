package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func sameJSON(t *testing.T, a, b any) bool {
	t.Helper()
	x, err := json.Marshal(a)
	require.NoError(t, err)
	y, err := json.Marshal(b)
	require.NoError(t, err)
	return string(x) == string(y)
}

// A pod is as large as they are on a cluster: what both sides are made to hold decides
// the memory.
func TestPodIsOfRealisticSize(t *testing.T) {
	text, err := json.Marshal(newPod(0, 0))
	require.NoError(t, err)
	require.Greater(t, len(text), 6_000)
	require.Less(t, len(text), 12_000)
}

// testChild runs a child within the test, and asks it as a parent does.
func testChild(t *testing.T, s *setup) func(command string, answer any) {
	t.Helper()
	in, commands := io.Pipe()
	answers, out := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := runChild(context.WithoutCancel(t.Context()), in, out)
		out.CloseWithError(err)
		done <- err
	}()
	lines := bufio.NewReader(answers)
	ask := func(command string, answer any) {
		_, err := io.WriteString(commands, command+"\n")
		require.NoError(t, err)
		line, err := lines.ReadBytes('\n')
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(line, answer))
	}
	t.Cleanup(func() {
		require.NoError(t, commands.Close())
		require.NoError(t, <-done)
	})
	line, err := json.Marshal(s)
	require.NoError(t, err)
	ask(string(line), &reading{})
	return ask
}

// Both sides find the population's targets, with the same labels, follow its changes,
// and scrape what is new.
func TestSidesAgree(t *testing.T) {
	api := startAPIServer(t)
	p := populate(api, services, "5s")
	all := map[string]func(string, any){}
	scraped := map[string]*targetServer{}
	for _, name := range []string{sidePromlet, sidePrometheus} {
		scraped[name] = newTargetServer()
		t.Cleanup(scraped[name].Close)
		s, err := p.setup(name, scraped[name])
		require.NoError(t, err)
		s.Batch = batch
		all[name] = testChild(t, s)
	}
	agree := func() {
		t.Helper()
		want := p.targets()
		var ours, theirs, addresses []string
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
			all[sidePromlet](askTargets, &ours)
			all[sidePrometheus](askTargets, &theirs)
			addresses = nil
			for _, target := range ours {
				addresses = append(addresses, addressIn(target))
			}
			slices.Sort(addresses)
			if slices.Equal(ours, theirs) && slices.Equal(addresses, want) {
				return
			}
		}
		require.Equal(t, want, addresses)
		require.Equal(t, ours, theirs)
	}
	agree()
	var r reading
	all[sidePrometheus](askCount, &r)
	require.Equal(t, services, r.Targets)

	updates := map[string]int{}
	for name, ask := range all {
		ask(askAll, &r)
		require.Positive(t, r.Heap)
		require.Positive(t, r.Stacks)
		require.Positive(t, r.CPU)
		updates[name] = r.Updates
	}
	p.flip(1)
	p.replace(1)
	var fresh []string
	p.add(0, 2, func(addresses []string) { fresh = addresses })
	agree()
	for name, ask := range all {
		ask(askAll, &r)
		require.Greater(t, r.Updates, updates[name])
		for _, address := range fresh {
			require.Eventually(t, func() bool {
				_, ok := scraped[name].asked(address)
				return ok
			}, time.Minute, 10*time.Millisecond)
		}
	}
}

func TestChildRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"":            "read setup: unexpected EOF",
		"no setup \n": "read setup: invalid character",
		`{"Side":"prometheus","Config":"no: configuration"}` + "\n":            "start prometheus: load configuration",
		`{"Side":"promlet","APIServer":"http://127.0.0.1:1"}` + "\nnonsense\n": "nonsense: unknown command",
	} {
		err := runChild(t.Context(), strings.NewReader(in), io.Discard)
		require.ErrorContains(t, err, want)
	}
}

func TestReport(t *testing.T) {
	side := func(scale float64) measured {
		return measured{
			alone: alone{
				Heap: 2048 * scale, Stacks: 1024 * scale,
				Flip: time.Duration(scale * 1e6), Replace: time.Duration(scale * 2e6), Flips: 50, Replaces: 49,
			},
			live: live{
				Rollout: time.Duration(scale * 3e6),
				First:   []time.Duration{time.Second, 2 * time.Second}, FirstInRollout: []time.Duration{time.Second, 4 * time.Second},
			},
		}
	}
	f := func(theirs float64) string {
		var out strings.Builder
		require.NoError(t, report(&out, []*result{
			{pods: 200, promlet: side(1), prometheus: side(20)},
			{pods: 2000, promlet: side(1), prometheus: side(theirs)},
		}))
		return out.String()
	}
	text := f(1000)
	require.Contains(t, text, "2,000 pods")
	require.Regexp(t, `heap +KiB +2\.00 +40\.0 +20\.0 +2\.00 +2,000 +1,000`, text)
	require.Regexp(t, `the event: median +s +1\.50 +1\.50 +1\.00 `, text)
	require.Contains(t, text, "50+49 and 50+49 with 200 pods")
	require.Contains(t, text, "1/3 of the memory: it holds.\n")

	text = f(2)
	require.Contains(t, text, "1/3 of the memory: missed: memory held per pod: heap (2,000 pods); CPU: one pod's readiness changes (2,000 pods)")
	require.NotContains(t, text, "(200 pods)")
}

func TestSameTargets(t *testing.T) {
	f := func(ours, theirs []string) error {
		r := result{pods: 7, promlet: measured{alone: alone{targets: ours}}, prometheus: measured{alone: alone{targets: theirs}}}
		return r.sameTargets()
	}
	require.NoError(t, f([]string{"a", "b"}, []string{"a", "b"}))
	require.ErrorContains(t, f([]string{"a", "b"}, []string{"a", "c"}), "promlet's target b")
	require.ErrorContains(t, f([]string{"a", "b"}, []string{"a"}), "promlet's target b")
	require.ErrorContains(t, f([]string{"a"}, []string{"a", "b"}), "more targets than promlet: 2")
}

func TestQuantileAndAddress(t *testing.T) {
	seconds := []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}
	require.InDelta(t, 2, quantile(seconds, 0.5), 1e-9)
	require.InDelta(t, 3, quantile(seconds, 0.75), 1e-9)
	require.InDelta(t, 4, quantile(seconds, 1), 1e-9)
	require.Zero(t, quantile(nil, 0.5))
	require.Equal(t, "10.0.0.1:9090", addressIn(fmt.Sprintf("serviceMonitor/a/b/0 http://10.0.0.1:9090/metrics %s", `{"a":"b c"}`)))
}
