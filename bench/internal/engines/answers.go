package engines

import (
	"context"
	"fmt"
	"math"
	"time"
)

const (
	// accuracy is the greatest difference of a value from the true one, as a share of the true one.
	accuracy = 0.02
	// late is the share of pods whose values may still be wrong, because a sample that arrives late makes a rate too low.
	late = 0.01
)

// figures compare the answers about one metric with the truth.
type figures struct {
	// lowest and highest are the Services' values as shares of the true ones. They are NaN if no Service has a value.
	lowest, highest              float64
	services, servicesWrong      int // with a value; with a wrong one
	pods, podsWrong, podsUnknown int // pods with a value; with a wrong one; values of others
	sumsWrong                    int // Services whose pods' values do not add up to the truth
}

// answers are all values that the HPAs of all Services read at one time.
type answers struct {
	of      map[string]figures // by metric
	errors  []string
	slowest time.Duration
}

// right reports whether all values are present and true. It allows wrong values of the share late of the pods.
func (a *answers) right() bool {
	const pods = services * podsOfService
	for _, f := range a.of {
		if f.services != services || f.pods != pods || f.servicesWrong+f.sumsWrong+f.podsUnknown > 0 || float64(f.podsWrong) > late*pods {
			return false
		}
	}
	return true
}

// ask sends the requests of the HPAs of all Services, one after the other.
func ask(ctx context.Context, c *client, pods []pod) *answers {
	a := &answers{of: map[string]figures{}}
	timed := func(question string, answer func() error) {
		began := time.Now()
		if err := answer(); err != nil {
			a.errors = append(a.errors, question+": "+err.Error())
		}
		a.slowest = max(a.slowest, time.Since(began))
	}
	for _, metric := range metrics() {
		f := figures{lowest: math.NaN(), highest: math.NaN()}
		for i := range services {
			ofService := pods[i*podsOfService : (i+1)*podsOfService]
			service := ofService[0].service
			timed("services/"+service+"/"+metric, func() error {
				value, err := c.service(ctx, service, metric)
				if err == nil {
					f.addService(ofService, metric, value)
				}
				return err
			})
			timed(fmt.Sprintf("pods/*/%s of %s", metric, service), func() error {
				values, err := c.pods(ctx, service, metric)
				f.addPods(ofService, metric, values)
				return err
			})
		}
		a.of[metric] = f
	}
	return a
}

func (f *figures) addService(pods []pod, metric string, value float64) {
	truth := total(pods, metric)
	share := value / truth
	if f.services == 0 {
		f.lowest, f.highest = share, share
	}
	f.lowest, f.highest = min(f.lowest, share), max(f.highest, share)
	f.services++
	if isWrong(value, truth) {
		f.servicesWrong++
	}
}

func (f *figures) addPods(pods []pod, metric string, values map[string]float64) {
	known, sum := 0, 0.0
	for _, p := range pods {
		value, ok := values[p.name]
		if !ok {
			continue
		}
		known++
		sum += value
		if isWrong(value, p.value(metric)) {
			f.podsWrong++
		}
	}
	f.pods += known
	f.podsUnknown += len(values) - known
	if isWrong(sum, total(pods, metric)) {
		f.sumsWrong++
	}
}

// total returns the sum of the pods' true values.
func total(pods []pod, metric string) (sum float64) {
	for _, p := range pods {
		sum += p.value(metric)
	}
	return sum
}

func isWrong(value, truth float64) bool { return !(math.Abs(value-truth) <= accuracy*truth) }
