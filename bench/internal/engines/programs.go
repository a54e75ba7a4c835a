package engines

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
)

const (
	shards    = 4
	receivers = 2

	loopback = "127.0.0.1"
)

// programs are Thanos and the promlets.
type programs struct {
	receivers []*program
	query     *program
	shards    []*program
	asker     *program // scrapes nothing

	write     []string // addresses at which the receivers take samples
	shardWeb  []string // base URLs of the shards' pages
	asked     string   // base URL of the asker's API
	engineURL string   // Thanos query
}

// engine is what the shards write to and the asker queries.
func (p *programs) engine() []*program { return slices.Concat(p.receivers, []*program{p.query}) }

// promlets are the shards and the asker.
func (p *programs) promlets() []*program { return slices.Concat(p.shards, []*program{p.asker}) }

// options are the settings of the programs.
type options struct {
	promlet, thanos string // binaries
	replication     int
	strict          bool
	dir             string
}

func (o *options) path(name string) string { return filepath.Join(o.dir, name) }

func (o *options) objects() string { return o.path("objects") }

func (o *options) monitored() string { return o.path("monitored") }

// newPrograms returns the programs, which use the ports. Shards write to a URL. It starts none of them.
func newPrograms(o options, write string, ports []string) (*programs, error) {
	next := func() string {
		port := ports[0]
		ports = ports[1:]
		return port
	}
	address := func() string { return net.JoinHostPort(loopback, next()) }
	p := &programs{}
	stores := p.addReceivers(&o, address)
	p.addQuery(&o, address(), address(), stores)
	config := o.path("shard.yaml")
	text := fmt.Sprintf("remoteWrite: [{name: thanos, url: %q}]\nkeep: [%s]\n", write+"/api/v1/receive", gaugeMetric)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	for i := range shards {
		shard, web := o.promletProgram(fmt.Sprintf("shard-%d", i), next(), address(),
			"--manifests="+o.monitored(), fmt.Sprintf("--shard=%d/%d", i, shards), "--config="+config)
		p.shards = append(p.shards, shard)
		p.shardWeb = append(p.shardWeb, web)
	}
	api := next()
	p.asker, _ = o.promletProgram("asker", api, address(),
		"--manifests="+o.objects(), "--prometheus-url="+p.engineURL, "--metrics-relist-interval="+relistInterval.String())
	p.asked = "https://" + net.JoinHostPort(loopback, api)
	return p, nil
}

// addReceivers adds the members of the hashring, and returns the addresses at which their samples are read.
func (p *programs) addReceivers(o *options, address func() string) (stores []string) {
	for range receivers {
		stores = append(stores, address())
	}
	// Replication and queries use the same address of a receiver.
	hashring := fmt.Sprintf(`[{"endpoints": [{"address": %q}, {"address": %q}]}]`, stores[0], stores[1])
	for i, store := range stores {
		name, http, write := fmt.Sprintf("receiver-%d", i), address(), address()
		p.write = append(p.write, write)
		p.receivers = append(p.receivers, &program{
			name: name, binary: o.thanos, log: o.path(name + ".log"), ready: "http://" + http + "/-/ready",
			args: []string{
				"receive", "--grpc-address=" + store, "--http-address=" + http, "--remote-write.address=" + write,
				"--receive.capnproto-address=" + address(), "--tsdb.path=" + o.path(name),
				fmt.Sprintf("--label=receive_replica=%q", name), "--receive.hashrings=" + hashring,
				"--receive.hashrings-algorithm=ketama", "--receive.local-endpoint=" + store,
				fmt.Sprintf("--receive.replication-factor=%d", o.replication), "--http-grace-period=1s", "--grpc-grace-period=1s",
			},
		})
	}
	return stores
}

// addQuery adds Thanos query.
func (p *programs) addQuery(o *options, http, grpc string, stores []string) {
	p.engineURL = "http://" + http
	args := []string{
		"query", "--http-address=" + http, "--grpc-address=" + grpc, "--query.replica-label=receive_replica",
		// The default, penalty, leaves out samples that only one receiver has (thanos-io/thanos#7807).
		"--deduplication.func=chain", "--http-grace-period=1s", "--grpc-grace-period=1s",
	}
	flag := "--endpoint="
	if o.strict {
		flag = "--endpoint-strict="
		args = append(args, "--no-query.partial-response")
	}
	for _, store := range stores {
		args = append(args, flag+store)
	}
	p.query = &program{name: "query", binary: o.thanos, log: o.path("query.log"), ready: p.engineURL + "/-/ready", args: args}
}

// promletProgram returns a promlet that serves its API at a port and its pages at an address.
func (o *options) promletProgram(name, api, web string, args ...string) (p *program, pages string) {
	pages = "http://" + web
	return &program{
		name: name, binary: o.promlet, log: o.path(name + ".log"), ready: "https://" + net.JoinHostPort(loopback, api) + "/readyz",
		args: append([]string{
			"serve", "--data-dir=" + o.path(name), "--secure-port=" + api, "--web-listen-address=" + web,
			"--scrape-interval=" + scrapeInterval.String(), "--rate-window=" + rateWindow.String(),
		}, args...),
	}, pages
}
