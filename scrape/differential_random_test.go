package scrape

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// seeds are the seeds of the random sequences: 600 of them from 0 on, or those the
// environment variable SEEDS names: 1000+20000 are 20,000 from 1000 on.
func seeds(t testing.TB) (from, n uint64) {
	asked := os.Getenv("SEEDS")
	if asked == "" {
		return 0, 600
	}
	_, err := fmt.Sscanf(asked, "%d+%d", &from, &n)
	require.NoError(t, err, "SEEDS=%q is not FROM+COUNT", asked)
	return from, n
}

// bubbleStart is when a test in a bubble begins.
var bubbleStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// randomDifference makes a job and a sequence of answers. The same seed makes the
// same ones.
func randomDifference(seed uint64, chunks []answer) difference {
	rnd := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // The same every time.
	d := difference{name: fmt.Sprintf("seed %d", seed), memory: seed%20 != 0, allowed: refusedWhole}
	// Each setting in one job of four.
	optionsOf(&d, rnd.Uint32()&rnd.Uint32(), rnd.Uint64())
	if rnd.IntN(6) == 0 {
		d.ooo = time.Minute
	}
	if d.memory && rnd.IntN(6) == 0 {
		d.refsLast, d.allowed = 25*time.Second, newReferences
	}
	if rnd.IntN(10) == 0 {
		d.answers = changedChunks(rnd, chunks[rnd.IntN(len(chunks))])
		return d
	}
	format, x := rnd.IntN(3), &exposition{rnd: rnd}
	for range 4 + rnd.IntN(12) {
		x.change()
		if rnd.IntN(12) == 0 {
			format = rnd.IntN(3)
		}
		d.answers = append(d.answers, randomAnswer(rnd, x, format))
	}
	return d
}

// exporterChunks are beginnings of the bodies of real exporters.
func exporterChunks(t testing.TB) []answer {
	bodies := exporterAnswers(t)
	var out []answer
	for _, name := range slices.Sorted(maps.Keys(bodies)) {
		for _, size := range []int{1 << 10, 4 << 10, 16 << 10} {
			a := bodies[name]
			a.body = beginning(a, size)
			out = append(out, a)
		}
	}
	return out
}

// changedChunks changes a body from scrape to scrape: lines go, come back, move,
// and are there twice.
func changedChunks(rnd *rand.Rand, a answer) []answer {
	var out []answer
	all := pieces(a)
	for range 3 + rnd.IntN(5) {
		lines := slices.Clone(all)
		for range rnd.IntN(4) {
			i := rnd.IntN(len(lines))
			j := min(i+rnd.IntN(20), len(lines)-1)
			switch rnd.IntN(3) {
			case 0:
				lines = slices.Delete(lines, i, j)
			case 1:
				lines = slices.Insert(lines, rnd.IntN(len(lines)), lines[i:j]...)
			default:
				lines[i], lines[j] = lines[j], lines[i]
			}
		}
		b := a
		b.body = strings.Join(lines, "")
		if rnd.IntN(8) == 0 {
			b.body = damaged(rnd, b.body)
		}
		out = append(out, b)
	}
	return out
}

func randomAnswer(rnd *rand.Rand, x *exposition, format int) answer {
	a := answer{gzip: rnd.IntN(3) == 0}
	switch format {
	case 0:
		a.body = x.text(false)
	case 1:
		a.body, a.contentType = x.text(true), omType
	default:
		a.body, a.contentType = x.protobuf(bubbleStart.Add(setupTime)), pbType
	}
	if rnd.IntN(8) == 0 {
		a.body = damaged(rnd, a.body)
	}
	switch rnd.IntN(40) {
	case 0:
		a.status = []int{http.StatusNoContent, http.StatusNotFound, http.StatusBadGateway}[rnd.IntN(3)]
	case 1:
		a.contentType = []string{"-", "text/html", omType, textType, "text/plain;;"}[rnd.IntN(5)]
	case 2:
		a.cut = 1 + rnd.IntN(5)
	case 3:
		a.cut, a.hang = 1+rnd.IntN(5), true
	case 4:
		a.body = ""
	case 5:
		a.encoding = []string{"gzip", "zstd", "x"}[rnd.IntN(3)]
	}
	return a
}

// damaged changes the body in one place.
func damaged(rnd *rand.Rand, body string) string {
	if body == "" {
		return "\n"
	}
	i := rnd.IntN(len(body))
	lines := strings.SplitAfter(body, "\n")
	k := rnd.IntN(len(lines))
	switch rnd.IntN(6) {
	case 0:
		return body[:i]
	case 1:
		return body[:i] + string(rune(rnd.IntN(256))) + body[i:]
	case 2:
		return body[:i] + body[i+1:]
	case 3:
		return strings.Join(append(lines, lines[k]), "")
	case 4:
		lines[k], lines[0] = lines[0], lines[k]
		return strings.Join(lines, "")
	}
	lines[k] = "}{\n"
	return strings.Join(lines, "")
}

// Random jobs and sequences of bodies. SEEDS=SEED+1 repeats a failure.
func TestRandomSequencesSameAsPrometheus(t *testing.T) {
	t.Parallel()
	chunks := exporterChunks(t)
	from, n := seeds(t)
	const parts = 8
	for part := range uint64(parts) {
		t.Run(fmt.Sprint("part ", part), func(t *testing.T) {
			t.Parallel()
			for seed := from + part; seed < from+n; seed += parts {
				d := randomDifference(seed, chunks)
				// Each on its own, for its storages to be closed.
				t.Run(d.name, func(t *testing.T) {
					if diff := d.compare(t); diff != "" {
						t.Fatalf("SEEDS=%d+1, job:\n%s\nlabels %v, start timestamps %t, out of order %s, references for %s\n%s",
							seed, d.job, d.labels, d.parseST, d.ooo, d.refsLast, diff)
					}
				})
			}
		})
	}
}
