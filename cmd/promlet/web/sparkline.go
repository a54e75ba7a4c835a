package web

import (
	"fmt"
	"html/template"
	"strings"
	"time"

	"github.com/promlet/promlet/adapter/autoscalers"
)

const (
	sparkWidth  = 260.0
	sparkHeight = 56.0
	sparkMargin = 4.0
	// sparkGap is the longest time between two values that are joined by a line.
	sparkGap = 75 * time.Second
)

// sparkline draws the values of the last hour, and the target as a line. It has only numbers, which need no escaping.
func sparkline(m *autoscalers.Metric, now time.Time) template.HTML {
	points := m.History
	if m.Value != nil {
		points = append(points[:len(points):len(points)], autoscalers.Point{At: now, Milli: *m.Value})
	}
	if len(points) == 0 {
		return ""
	}
	least, most := points[0].Milli, points[0].Milli
	for _, p := range points {
		least, most = min(least, p.Milli), max(most, p.Milli)
	}
	top := float64(max(most, m.Target, 1)) * 1.1
	bottom := min(0, float64(least)*1.1)
	x := func(at time.Time) float64 {
		return sparkMargin + (sparkWidth-2*sparkMargin)*max(0, 1-now.Sub(at).Hours())
	}
	y := func(v float64) float64 {
		return sparkHeight - sparkMargin - (sparkHeight-2*sparkMargin)*(v-bottom)/(top-bottom)
	}
	var path strings.Builder
	for i, p := range points {
		command := "L"
		if i == 0 || p.At.Sub(points[i-1].At) > sparkGap {
			command = "M"
		}
		fmt.Fprintf(&path, "%s%.1f %.1f", command, x(p.At), y(float64(p.Milli)))
	}
	label := fmt.Sprintf("The last hour: between %s and %s; the target is %s.", milli(least), milli(most), milli(m.Target))
	last := points[len(points)-1]
	return template.HTML(fmt.Sprintf( //nolint:gosec // numbers only
		`<svg class="spark" viewBox="0 0 %g %g" role="img" aria-label="%s"><title>%s</title>`+
			`<line class="goal" x1="%g" x2="%g" y1="%.1f" y2="%.1f"/><path d="%s"/><circle cx="%.1f" cy="%.1f" r="2.5"/></svg>`,
		sparkWidth, sparkHeight, label, label, sparkMargin, sparkWidth-sparkMargin, y(float64(m.Target)), y(float64(m.Target)),
		path.String(), x(last.At), y(float64(last.Milli))))
}
