package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus-operator/prometheus-operator/pkg/assets"
	operator "github.com/prometheus-operator/prometheus-operator/pkg/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	_ "github.com/prometheus/prometheus/discovery/kubernetes" // registers its configuration
	promscrape "github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/util/logging"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/promlet/promlet/bench/internal/sink"
)

// operatorConfig makes the configuration that prometheus-operator makes of monitors, for
// a Prometheus that asks the API server at a URL.
func operatorConfig(monitors []*monitoringv1.ServiceMonitor, apiServer string) (string, error) {
	p := &monitoringv1.Prometheus{ObjectMeta: metav1.ObjectMeta{Name: "figures", Namespace: namespace}}
	p.Spec.Version = "v3.8.0"
	p.Spec.ScrapeInterval, p.Spec.EvaluationInterval = "30s", "30s"
	p.Spec.APIServerConfig = &monitoringv1.APIServerConfig{Host: apiServer}
	p.Spec.ServiceDiscoveryRole = new(monitoringv1.EndpointSliceRole)
	generator, err := operator.NewConfigGenerator(nil, p, operator.WithEndpointSliceSupport())
	if err != nil {
		return "", fmt.Errorf("make config generator: %w", err)
	}
	byName := map[string]*monitoringv1.ServiceMonitor{}
	for _, m := range monitors {
		byName[m.Namespace+"/"+m.Name] = m
	}
	text, err := generator.GenerateServerConfiguration(
		p, byName, nil, nil, nil, assets.NewTestStoreBuilder(), nil, nil, nil, nil)
	if err != nil {
		return "", fmt.Errorf("generate configuration: %w", err)
	}
	// The operator leaves the shard's number to the pod's environment.
	return strings.ReplaceAll(string(text), "$(SHARD)", "0"), nil
}

// startPrometheus starts Prometheus's discovery and scraping, as Prometheus itself does.
func startPrometheus(parent context.Context, s *setup) (*side, error) {
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	cfg, err := config.Load(s.Config, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, fmt.Errorf("load configuration: %w", err)
	}
	s.Config = ""
	registry := prometheus.NewRegistry()
	metrics, err := discovery.CreateAndRegisterSDMetrics(registry)
	if err != nil {
		return nil, fmt.Errorf("register discovery metrics: %w", err)
	}
	ctx, cancel := context.WithCancel(parent)
	options := []func(*discovery.Manager){discovery.Name("scrape")}
	if s.Batch > 0 {
		options = append(options, discovery.Updatert(s.Batch))
	}
	discoverer := discovery.NewManager(ctx, logger, registry, metrics, options...)
	if discoverer == nil {
		cancel()
		return nil, errors.New("make discovery manager: see the log")
	}
	manager, err := promscrape.NewManager(&promscrape.Options{
		DiscoveryReloadInterval: model.Duration(s.Batch),
		HTTPClientOptions:       s.dialTargets(),
	}, logger, logging.NewJSONFileLogger, nil, &sink.Sink{}, registry)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("make scrape manager: %w", err)
	}
	if err := applyConfig(cfg, manager, discoverer); err != nil {
		cancel()
		return nil, err
	}
	failed := make(chan error, 2)
	var wg sync.WaitGroup
	wg.Go(func() { failed <- discoverer.Run() })
	wg.Go(func() { failed <- manager.Run(discoverer.SyncCh()) })
	return &side{
		active:  manager.TargetsActive,
		updates: func() (int, error) { return syncs(registry, cfg.ScrapeConfigs[0].JobName) },
		failed:  failed,
		stop: func() {
			cancel()
			manager.Stop()
			wg.Wait()
		},
	}, nil
}

func applyConfig(cfg *config.Config, manager *promscrape.Manager, discoverer *discovery.Manager) error {
	if err := manager.ApplyConfig(cfg); err != nil {
		return fmt.Errorf("apply scrape configuration: %w", err)
	}
	jobs := map[string]discovery.Configs{}
	for _, sc := range cfg.ScrapeConfigs {
		jobs[sc.JobName] = sc.ServiceDiscoveryConfigs
	}
	if err := discoverer.ApplyConfig(jobs); err != nil {
		return fmt.Errorf("apply discovery configuration: %w", err)
	}
	return nil
}

// syncs reads how often the targets of a job have been brought up to date.
func syncs(registry prometheus.Gatherer, job string) (int, error) {
	families, err := registry.Gather()
	if err != nil {
		return 0, err
	}
	for _, family := range families {
		if family.GetName() != "prometheus_target_scrape_pool_sync_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			if len(m.GetLabel()) == 1 && m.GetLabel()[0].GetValue() == job {
				return int(m.GetCounter().GetValue()), nil
			}
		}
	}
	return 0, nil
}
