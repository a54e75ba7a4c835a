package web

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/adapter/autoscalers"
)

func TestGraph(t *testing.T) {
	now := time.Date(2026, 3, 4, 14, 2, 0, 0, time.UTC)
	at := func(ago time.Duration, milli int64) autoscalers.Point {
		return autoscalers.Point{At: now.Add(-ago), Milli: milli}
	}
	hpa := func(replicas int, history ...autoscalers.Point) *autoscalers.Autoscaler {
		return &autoscalers.Autoscaler{Replicas: replicas, History: history}
	}
	require.Nil(t, newGraph(hpa(1), &autoscalers.Metric{Target: 5}, now), "no values")

	v := int64(-3000)
	g := newGraph(hpa(2, at(59*time.Minute, 5000), at(58*time.Minute+30*time.Second, 2000), at(time.Minute, 2000)),
		&autoscalers.Metric{Target: 1000, Value: &v, History: []autoscalers.Point{at(59*time.Minute, 0), at(58*time.Minute+30*time.Second, 10_000), at(time.Minute, 0)}}, now)
	svg := string(g.SVG)
	require.Contains(t, svg, `aria-label="From 13:03 to 14:02 UTC: least -3, greatest 10, target 1; replicas: 2 to 5."`)
	require.Contains(t, svg, ">13:03</text>")
	require.Contains(t, svg, ">14:02 UTC</text>")
	require.Contains(t, svg, ">target 1</text>")
	require.Equal(t, graph{
		SVG: g.SVG, Width: g.Width, From: now.Add(-59 * time.Minute).Unix(), Seconds: 59 * 60, Least: "-3", Greatest: "10", Replicas: "2 to 5",
		Points: "0,0,5 30,10000,2 3480,0,2 3540,-3000,2",
	}, *g)
	paths := regexp.MustCompile(`<path class="([a-z ]+)" d="([^"]*)"`).FindAllStringSubmatch(svg, -1)
	require.Len(t, paths, 3)
	require.Equal(t, []string{"replicas", "value", "value above"}, []string{paths[0][1], paths[1][1], paths[2][1]})
	require.Equal(t, 2, strings.Count(paths[0][2], "M"), "a gap is a gap")
	require.Contains(t, paths[0][2], "V", "replicas change at once")
	require.Equal(t, 2, strings.Count(paths[1][2], "M"), "a gap is a gap")
	require.Equal(t, 1, strings.Count(paths[2][2], "M"), "what is above the target is drawn apart")
	require.Contains(t, svg, `<circle cx=`, "the value now is below")
	require.NotContains(t, svg, "NaN")

	short := newGraph(hpa(1), &autoscalers.Metric{Value: new(int64), Target: -1, History: []autoscalers.Point{at(90*time.Second, 0)}}, now)
	require.Contains(t, string(short.SVG), ">14:00:30</text>", "over what there is, not an hour")
	require.Contains(t, string(short.SVG), `<circle class="above"`)
	require.Equal(t, "1", short.Replicas)
	single := newGraph(hpa(1), &autoscalers.Metric{Value: new(int64)}, now)
	require.NotContains(t, string(single.SVG), "NaN")
	require.Equal(t, "1,0,1", single.Points)
	require.Contains(t, string(single.SVG), `cx="264.8"`, "now is on the right")
}

// The values above the target have a line of another colour, which meets the other line at the target.
func TestGraphCrossesTheTarget(t *testing.T) {
	now := time.Now()
	var history []autoscalers.Point
	for i, milli := range []int64{0, 20, 0, 20, 0} {
		history = append(history, autoscalers.Point{At: now.Add(time.Duration(i-4) * time.Minute), Milli: milli})
	}
	d := drawing{from: history[0].At, span: 4 * time.Minute, top: 20, target: 10, width: 308}
	below, above := d.lines(history)
	require.Equal(t, 3, strings.Count(below, "M"), below)
	require.Equal(t, 2, strings.Count(above, "M"), above)
	require.Equal(t, "M6.0 86.0L44.5 46.0M121.5 46.0L160.0 86.0L198.5 46.0M275.5 46.0L314.0 86.0", below)
}
