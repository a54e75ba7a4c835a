package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// options are the flags.
type options struct {
	promlet    string // path of the binary
	app        string // path of the binary
	manifests  string // directory
	rate       float64
	seconds    int
	securePort int
	web        string // HOST:PORT
	interval   time.Duration
	window     time.Duration
}

// maxRate is what two applications and a driver on the same small machine can take without the load
// becoming a test of the machine.
const maxRate = 5000

// parseFlags reports everything that is wrong at once, each with the mend.
func parseFlags(args []string, out io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.StringVar(&o.promlet, "promlet", "bin/promlet", "path of promlet")
	flags.StringVar(&o.app, "app", "bin/sample-metrics-app", "path of the sample application")
	flags.StringVar(&o.manifests, "manifests", "deploy/example", "directory with service.yaml, servicemonitor.yaml and hpa.yaml")
	// At 150, and a target of 100, the HPA would waver between 3 and 4 replicas.
	flags.Float64Var(&o.rate, "rate", 140, "requests per second at both applications together; the second gets twice as many as the first")
	flags.IntVar(&o.seconds, "seconds", 0, "seconds to run; 0 is until interrupted")
	flags.IntVar(&o.securePort, "secure-port", 6443, "port of promlet's API on 127.0.0.1")
	flags.StringVar(&o.web, "web-listen-address", "127.0.0.1:9090", "address of promlet's web pages")
	flags.DurationVar(&o.interval, "scrape-interval", 5*time.Second, "promlet's --scrape-interval")
	flags.DurationVar(&o.window, "rate-window", 20*time.Second, "promlet's --rate-window; a rate is right once the load has lasted as long")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	return o, o.check(flags.Args())
}

func (o options) check(rest []string) error {
	var errs []error
	wrong := func(bad bool, name string, value any, mend string) {
		if bad {
			errs = append(errs, fmt.Errorf("--%s=%v: %s", name, value, mend))
		}
	}
	wrong(!(o.rate > 0 && o.rate <= maxRate), "rate", o.rate, fmt.Sprintf("give a number above 0, up to %d", maxRate))
	wrong(o.seconds < 0, "seconds", o.seconds, "give 0 to run until interrupted, or the seconds to run")
	wrong(o.securePort < 1 || o.securePort > 65535, "secure-port", o.securePort, "give a port from 1 to 65535")
	_, _, err := net.SplitHostPort(o.web)
	wrong(err != nil || o.web == o.apiAddress(), "web-listen-address", o.web, "give HOST:PORT, other than that of the API")
	wrong(o.interval < time.Second, "scrape-interval", o.interval, "give at least 1s")
	wrong(o.window <= 0, "rate-window", o.window, "give a duration above 0, such as 20s")
	if len(rest) > 0 {
		errs = append(errs, fmt.Errorf("%q: only flags are understood", rest[0]))
	}
	return errors.Join(errs...)
}

// apiAddress is where promlet serves its API.
func (o options) apiAddress() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(o.securePort))
}
