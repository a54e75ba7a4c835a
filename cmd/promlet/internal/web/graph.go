package web

import (
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"

	"github.com/promlet/promlet/adapter/autoscalers"
)

const (
	graphWidth  = 320.0
	graphHeight = 104.0
	graphMargin = 6.0
	graphLetter = 5.4 // width of a letter
	// graphFloor is the height of the space below the lines, which has the times.
	graphFloor = 18.0
	// replicasRoom scales the axis of the replicas. It keeps their line, which is mostly level, away from the target's.
	replicasRoom = 1.8
	// graphGap is the longest time between two values that are joined by a line.
	graphGap = 75 * time.Second
)

// graph is a picture of the values of a metric and of the replicas, over the recorded part of the last hour.
type graph struct {
	// SVG and Points have only numbers and fixed words, which need no escaping.
	SVG template.HTML
	// Points has three numbers for each point: the seconds since From, the value in milli-units and
	// the replicas. The script that shows the value under the pointer reads them.
	Points   string
	Width    string // of the area with the lines, in units of the SVG
	From     int64  // Unix time of the left end
	Zone     int    // offset of the shown times from UTC, in seconds to the east
	Seconds  int64  // from the left end to the right end
	Least    string // least value
	Greatest string // greatest value
	Replicas string // fewest and most replicas, such as "2 to 5"
}

// newGraph returns the graph of a metric of an HPA, nil if there are no values.
func newGraph(a *autoscalers.Autoscaler, m *autoscalers.Metric, now time.Time) *graph {
	values := slices.Clone(m.History)
	if m.Value != nil {
		values = append(values, autoscalers.Point{At: now, Milli: *m.Value})
	}
	if len(values) == 0 {
		return nil
	}
	replicas := slices.Concat(a.History, []autoscalers.Point{{At: now, Milli: int64(a.Replicas) * 1000}})
	from := now
	for _, points := range [][]autoscalers.Point{values, replicas} {
		if points[0].At.Before(from) {
			from = points[0].At
		}
	}
	goal := "target " + amount(*m, m.Target)
	d := drawing{span: max(now.Sub(from), time.Second), target: m.Target, targetLabel: goal}
	d.from, d.width = now.Add(-d.span), graphWidth-3*graphMargin-graphLetter*float64(len(goal))
	least, greatest := extremes(values)
	d.bottom, d.top = min(0, float64(least)*1.1), float64(max(greatest, m.Target, 1))*1.15
	fewest, most := extremes(replicas)
	g := &graph{Width: fmt.Sprintf("%.1f", d.width), From: d.from.Unix(), Seconds: int64(d.span.Seconds()), Least: amount(*m, least), Greatest: amount(*m, greatest), Replicas: milli(fewest)}
	_, g.Zone = now.Zone()
	if fewest != most {
		g.Replicas += " to " + milli(most)
	}
	g.Points = points(values, replicas, d.from)
	g.SVG = d.svg(values, replicas, now, fmt.Sprintf("From %s to %s: least %s, greatest %s, %s; replicas: %s.",
		d.from.Format(clock(d.span)), now.Format(clock(d.span)+" MST"), g.Least, g.Greatest, goal, g.Replicas), float64(max(most, 1000))*replicasRoom)
	return g
}

// clock returns the format of the times on an axis.
func clock(span time.Duration) string {
	if span < 10*time.Minute {
		return time.TimeOnly
	}
	return "15:04"
}

func extremes(points []autoscalers.Point) (least, greatest int64) {
	least, greatest = points[0].Milli, points[0].Milli
	for _, p := range points {
		least, greatest = min(least, p.Milli), max(greatest, p.Milli)
	}
	return least, greatest
}

// points returns graph.Points: each value with the replicas at its time.
func points(values, replicas []autoscalers.Point, from time.Time) string {
	var b strings.Builder
	at := 0
	for _, v := range values {
		for at+1 < len(replicas) && !replicas[at+1].At.After(v.At) {
			at++
		}
		fmt.Fprintf(&b, "%d,%d,%d ", int64(v.At.Sub(from).Seconds()), v.Milli, replicas[at].Milli/1000)
	}
	return strings.TrimSpace(b.String())
}

// drawing is the scale of a graph.
type drawing struct {
	from        time.Time
	span        time.Duration
	width       float64
	bottom, top float64 // values, in milli-units
	target      int64
	targetLabel string
}

func (d *drawing) x(at time.Time) float64 {
	part := float64(at.Sub(d.from)) / float64(d.span)
	return graphMargin + d.width*min(1, max(0, part))
}

func (d *drawing) y(v float64) float64 { return height((v - d.bottom) / (d.top - d.bottom)) }

// height returns the y coordinate of a share of an axis: 0 is its bottom, 1 its top.
func height(share float64) float64 {
	return graphHeight - graphFloor - (graphHeight-graphFloor-graphMargin)*share
}

// svg draws the target as a line with its label, the values as a line, and the replicas as steps. label describes the
// picture for screen readers.
func (d *drawing) svg(values, replicas []autoscalers.Point, now time.Time, label string, mostReplicas float64) template.HTML {
	below, above := d.lines(values)
	last, goal := values[len(values)-1], d.y(float64(d.target))
	left, right := graphMargin, graphMargin+d.width
	return template.HTML(fmt.Sprintf( //nolint:gosec // numbers and fixed words only
		`<svg viewBox="0 0 %g %g" role="img" aria-label="%s"><line class="cursor" x1="-9" x2="-9" y1="0" y2="%g"/>`+
			`<path class="replicas" d="%s"/><line class="goal" x1="%g" x2="%.1f" y1="%.1f" y2="%.1f"/>`+
			`<path class="value" d="%s"/><path class="value above" d="%s"/><circle%s cx="%.1f" cy="%.1f" r="2.5"/>`+
			`<text x="%.1f" y="%.1f">%s</text><text x="%g" y="%g">%s</text><text class="end" x="%.1f" y="%g">%s</text></svg>`,
		graphWidth, graphHeight, label, graphHeight-graphFloor,
		d.steps(replicas, mostReplicas), left, right, goal, goal,
		below, above, class(last.Milli > d.target), d.x(last.At), d.y(float64(last.Milli)),
		right+graphMargin, goal+3.5, d.targetLabel,
		left, graphHeight-4, d.from.Format(clock(d.span)), right, graphHeight-4, now.Format(clock(d.span)+" MST")))
}

func class(above bool) string {
	if above {
		return ` class="above"`
	}
	return ""
}

// lines returns two paths: that of the values up to the target, and that of the values above it.
func (d *drawing) lines(values []autoscalers.Point) (below, above string) {
	var paths [2]strings.Builder
	pen := -1 // index of the path that ends at the previous point, -1 for none
	line := func(to int, x0, y0, x1, y1 float64) {
		if pen != to {
			fmt.Fprintf(&paths[to], "M%.1f %.1f", x0, y0)
		}
		fmt.Fprintf(&paths[to], "L%.1f %.1f", x1, y1)
		pen = to
	}
	side := func(milli int64) int {
		if milli > d.target {
			return 1
		}
		return 0
	}
	for i := 1; i < len(values); i++ {
		p, q := values[i-1], values[i]
		if q.At.Sub(p.At) > graphGap {
			pen = -1
			continue
		}
		x0, y0, x1, y1 := d.x(p.At), d.y(float64(p.Milli)), d.x(q.At), d.y(float64(q.Milli))
		if side(p.Milli) == side(q.Milli) {
			line(side(p.Milli), x0, y0, x1, y1)
			continue
		}
		part := float64(d.target-p.Milli) / float64(q.Milli-p.Milli)
		x, y := x0+(x1-x0)*part, d.y(float64(d.target))
		line(side(p.Milli), x0, y0, x, y)
		line(side(q.Milli), x, y, x1, y1)
	}
	return paths[0].String(), paths[1].String()
}

// steps returns the path of the replicas. They change from one number to the next without a slope.
func (d *drawing) steps(replicas []autoscalers.Point, most float64) string {
	var b strings.Builder
	for i, p := range replicas {
		y := height(float64(p.Milli) / most)
		switch last := i == len(replicas)-1; {
		case i == 0 || p.At.Sub(replicas[i-1].At) > graphGap:
			fmt.Fprintf(&b, "M%.1f %.1f", d.x(p.At), y)
		case last || p.Milli != replicas[i-1].Milli:
			fmt.Fprintf(&b, "H%.1fV%.1f", d.x(p.At), y)
		case i+1 < len(replicas) && replicas[i+1].At.Sub(p.At) > graphGap:
			fmt.Fprintf(&b, "H%.1f", d.x(p.At))
		}
	}
	return b.String()
}
