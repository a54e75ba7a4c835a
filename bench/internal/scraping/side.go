package scraping

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	config_util "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	promscrape "github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/logging"

	"github.com/promlet/promlet/bench/internal/harness"
	"github.com/promlet/promlet/scrape"
)

const jobName = "app"

// side is a running scrape manager.
type side struct {
	targets func() map[string][]*promscrape.Target
	// stop ends it and waits.
	stop func()
}

// start starts the manager of a case on so many targets, whose address is always
// address.
func (c kase) start(b *body, targets int, address string, to storage.AppendableV2) (*side, error) {
	var keep []string
	if c.keeps == onePercentRelabelled || c.keeps == onePercentOnDemand && c.side == sidePrometheus {
		keep = b.kept
	}
	cfg, err := loadConfig(keep)
	if err != nil {
		return nil, err
	}
	groups := map[string][]*targetgroup.Group{jobName: {newGroup(targets)}}
	client := []config_util.HTTPClientOption{config_util.WithDialContextFunc(harness.DialTo(address))}
	if c.side == sidePrometheus {
		return startPrometheus(cfg, groups, client, to)
	}
	options := scrape.Options{
		Appendable:        to,
		Registerer:        prometheus.NewRegistry(),
		HTTPClientOptions: client,
		OnDemand:          c.keeps == onePercentOnDemand,
		Compression:       c.keeps != onePercentOnDemand, // as cmd/promlet has it
	}
	return startPromlet(options, b.kept, cfg, groups)
}

// startPromlet starts promlet's manager, as promlet does. On demand, the names kept are
// the demand.
func startPromlet(options scrape.Options, kept []string, cfg *config.Config, groups map[string][]*targetgroup.Group) (*side, error) {
	manager, err := scrape.NewManager(options)
	if err != nil {
		return nil, fmt.Errorf("make scrape manager: %w", err)
	}
	if options.OnDemand {
		wanted := func(name string) bool { return slices.Contains(kept, name) }
		if err := manager.SetDemand(context.Background(), scrape.Demand{Wanted: wanted}); err != nil {
			manager.Stop()
			return nil, err
		}
	}
	if err := manager.Apply(cfg.ScrapeConfigs, groups); err != nil {
		manager.Stop()
		return nil, fmt.Errorf("apply targets: %w", err)
	}
	return &side{targets: manager.TargetsActive, stop: manager.Stop}, nil
}

// startPrometheus starts Prometheus's manager, as Prometheus does.
func startPrometheus(cfg *config.Config, groups map[string][]*targetgroup.Group, client []config_util.HTTPClientOption, to storage.AppendableV2) (*side, error) {
	manager, err := promscrape.NewManager(&promscrape.Options{
		HTTPClientOptions:        client,
		DiscoveryReloadOnStartup: true, // or it would wait for five seconds
	}, slog.New(slog.DiscardHandler), logging.NewJSONFileLogger, nil, to, prometheus.NewRegistry())
	if err != nil {
		return nil, fmt.Errorf("make scrape manager: %w", err)
	}
	if err := manager.ApplyConfig(cfg); err != nil {
		return nil, fmt.Errorf("apply configuration: %w", err)
	}
	updates := make(chan map[string][]*targetgroup.Group)
	var wg sync.WaitGroup
	wg.Go(func() { _ = manager.Run(updates) }) // it has no errors
	updates <- groups
	return &side{targets: manager.TargetsActive, stop: func() {
		manager.Stop()
		wg.Wait()
	}}, nil
}

// loadConfig makes the configuration of the one job. Of its series those with the names
// to keep stay, or all.
func loadConfig(keep []string) (*config.Config, error) {
	text := fmt.Sprintf("scrape_configs:\n- job_name: %s\n  scrape_interval: %s\n  scrape_timeout: %s\n", jobName, interval, interval)
	if len(keep) > 0 {
		text += fmt.Sprintf("  metric_relabel_configs:\n  - {source_labels: [__name__], regex: %s, action: keep}\n", strings.Join(keep, "|"))
	}
	cfg, err := config.Load(text, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, fmt.Errorf("load configuration: %w", err)
	}
	return cfg, nil
}

// newGroup makes targets with the labels that a ServiceMonitor's have.
func newGroup(targets int) *targetgroup.Group {
	g := &targetgroup.Group{Source: "default/app", Labels: model.LabelSet{
		"namespace": "default", "service": "app", "endpoint": "web", "container": "app",
	}}
	for i := range targets {
		g.Targets = append(g.Targets, model.LabelSet{
			model.AddressLabel: model.LabelValue(fmt.Sprintf("10.244.%d.%d:8080", i/200, 1+i%200)),
			"pod":              model.LabelValue(fmt.Sprintf("app-7d4b9c6f5d-%05d", i)),
		})
	}
	return g
}
